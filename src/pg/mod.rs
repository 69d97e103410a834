//! PostgreSQL: connections, the catalog, statements, and what its errors mean.

pub mod catalog;
pub mod dsn;
pub mod error;
mod link;
pub mod monitor;
pub mod pool;
pub mod store;
pub mod tls;
mod tls_error;
mod verifier;
mod wire;
