//! The way to the database: the URL, TLS, sockets, sessions and the pool.

pub mod begin;
pub mod connect_error;
pub mod connections;
pub mod dsn;
pub mod earlier_sessions;
pub mod greeting;
pub mod own_schema;
pub mod parameters;
pub mod pool;
pub mod pooler;
pub mod read_only;
pub mod servers;
pub mod session;
pub mod settings;
pub mod socket;
pub mod timeline;
pub mod tls;
pub mod tls_error;
pub mod transport;
pub mod verifier;
pub mod wire;
