//! writethrough: `HSET __{users:1} …` waits for PostgreSQL, and then `users:1` holds the row.
//!
//! Each folder knows those below it, never those above: `host` and `pg`, `engine`, then `sql`,
//! [`plan`], [`command`], [`model`], [`config`], which know neither Redis nor PostgreSQL. Follow a
//! write from top to bottom: `host::filter`, `host::write::command`, `host::write::submit`,
//! `engine::queue`, `engine::worker`, [`plan`], [`sql`], `pg::statement`, `host::write::completion`.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod command;
pub mod config;
pub mod engine;
#[cfg(feature = "host")]
mod host;
pub mod model;
pub mod pg;
pub mod plan;
pub mod sql;
