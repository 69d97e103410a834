//! What the tests stand on. [`Stack`] is the door: it starts what a test needs and asks it.
//!
//! No test sleeps in place of a condition: [`eventually`] polls one, with a deadline that only
//! a broken server meets.

// Each test module uses its own part of this.
#![allow(dead_code, unused_imports)]

mod builder;
mod cached;
mod certificates;
mod cluster;
mod database;
mod eventually;
mod find;
mod hold;
mod keys;
mod nested;
mod pooler;
mod ports;
mod postgres_server;
mod proxy;
mod proxy_faults;
mod random;
mod read_history;
mod read_load;
mod read_replies;
mod redis_server;
mod refused;
mod resp;
mod stack;
mod stopped;
mod supervisor;
mod tls_postgres;
mod users;

pub use builder::Builder;
pub use certificates::{self_signed, Authority, Pair};
pub use cluster::{cluster_node, make_cluster};
pub use database::{Database, OpenTransaction};
pub use eventually::{eventually, eventually_some, DEADLINE};
pub use find::{module_path, monitoring_program, postgres_program, redis_server};
pub use hold::Held;
pub use keys::Keys;
pub use nested::{batch_of, transaction_of};
pub use pooler::Pooler;
pub use ports::free_port;
pub use postgres_server::{signal_process, PostgresServer, PASSWORD, PASSWORD_USER};
pub use proxy::Proxy;
pub use proxy_faults::{Cut, Evil, Mood};
pub use random::Lcg;
pub use read_history::check;
pub use read_load::{key_of, ReadLoad, Ways, READ_SQL, READ_TABLES, ROWS};
pub use redis_server::{quoted, RedisServer};
pub use resp::{bulk, error, int, ok, transaction, Conn, Reply};
pub use stack::{hash, Hash, Stack};
pub use stopped::Stopped;
pub use supervisor::{server_dir, Supervisor};
pub use tls_postgres::TlsPostgres;
pub use users::{user_row, users_mapping, USERS_SQL};
