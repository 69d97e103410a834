//! writethrough: `HSET __{users:1} …` waits for PostgreSQL, and then `users:1` holds the row.
//!
//! Direction of knowledge: `host → engine → pure ← pg`. Pure code knows neither Redis nor
//! PostgreSQL and is tested without either. Follow a write from top to bottom: `host::filter`,
//! `host::commands`, `engine::queue`, `engine::worker`, [`batch`], [`sql`], `pg::store`,
//! `host::completion`.
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
