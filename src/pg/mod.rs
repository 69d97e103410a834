//! PostgreSQL: connections, the catalog, statements, and what its errors mean.

pub mod catalog;
pub mod error;
pub mod feed;
pub mod history;
pub mod journal;
pub mod monitor;
pub mod pool;
mod resolve;
pub mod store;
mod transaction;
mod wire;
