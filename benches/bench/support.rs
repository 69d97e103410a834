//! The tests' servers and clients: each server ends when this process does, however that is.
#![allow(dead_code)]

#[path = "../../tests/it/support/certificates.rs"]
pub mod certificates;
#[path = "../../tests/it/support/eventually.rs"]
pub mod eventually;
#[path = "../../tests/it/support/find.rs"]
pub mod find;
#[path = "../../tests/it/support/keys.rs"]
pub mod keys;
#[path = "../../tests/it/support/ports.rs"]
pub mod ports;
#[path = "../../tests/it/support/redis_server.rs"]
pub mod redis_server;
#[path = "../../tests/it/support/resp.rs"]
pub mod resp;
#[path = "../../tests/it/support/supervisor.rs"]
pub mod supervisor;
