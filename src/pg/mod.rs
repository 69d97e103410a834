//! PostgreSQL: connections, the catalog, statements, and what its errors mean.

pub mod catalog;
pub mod connections;
mod describe;
pub mod dsn;
mod earlier;
pub mod error;
pub mod feed;
pub mod history;
pub mod journal;
mod link;
pub mod monitor;
mod parameters;
pub mod pool;
mod resolve;
mod returned;
pub mod session;
pub mod settings;
pub mod shape;
mod steps;
pub mod store;
pub mod tls;
mod tls_error;
mod transaction;
mod types;
mod verifier;
mod wire;
