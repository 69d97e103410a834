//! writethrough: `HSET __{users:1} …` waits for PostgreSQL, and then `users:1` holds the row.
//!
//! Direction of knowledge: `host → engine → pure ← pg`. Pure code knows neither Redis nor
//! PostgreSQL and is tested without either. Follow a write from top to bottom: `host::filter`,
//! `host::commands`, `engine::queue`, `engine::worker`, [`batch`], [`sql`], `pg::store`,
//! `host::completion`.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod args;
pub mod batch;
pub mod certain;
pub mod change;
pub mod command;
pub mod config;
pub mod disclosure;
pub mod engine;
pub mod failure;
#[cfg(feature = "host")]
mod host;
pub mod key;
pub mod limits;
pub mod literal;
pub mod mapping;
pub mod mixed;
pub mod pg;
pub mod range;
pub mod rewrite;
pub mod settings;
pub mod shape;
pub mod sql;
pub mod suggest;
pub mod suspects;
pub mod table;
pub mod throttle;
