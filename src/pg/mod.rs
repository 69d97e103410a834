//! PostgreSQL: connections, the catalog, statements, and what its errors mean.

pub mod catalog;
pub mod connect;
pub mod error;
pub mod follow;
pub mod journal;
pub mod monitor;
pub mod statement;
