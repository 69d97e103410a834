//! PostgreSQL: connections, the catalog, statements, and what its errors mean.

pub mod catalog;
pub mod connections;
pub mod error;
pub mod monitor;
pub mod pool;
pub mod store;
mod wire;
