//! The integration tests: a real redis-server with the built module, a real PostgreSQL.
//!
//! One binary, so that all tests share one PostgreSQL; each test has a database and a
//! redis-server of its own, and they run in parallel. What drives them is in `support`.
//!
//! `WT_PG_BIN` (PostgreSQL's bin folder), `WT_REDIS_SERVER` and `WT_MODULE` say which programs
//! and which module to test; without them they are found.

mod support;

/// Writes name the staged key.
const KEYS: support::Keys = support::Keys::Staged;

/// Tests that `tests/plain_keys` leaves out: they look at the staged key itself, or make the cache wrong by
/// a plain write.
macro_rules! of_the_staged_key {
    ($($test:item)*) => { $($test)* };
}

mod clients;
mod clients_compiled;
mod clients_give_up;
mod clients_once;
mod clients_page;
mod harness;
mod packaging;
mod pages;
mod readme;
mod rooms;
mod schema;
mod scripts;

// The write itself.
mod bad_input;
mod errors;
mod full_rows;
mod load;
mod loaded_twice;
mod mapping;
mod options;
mod sync_path;
mod types;
mod values;
mod writes;

// A write to the plain key.
mod plain_deletes;
mod plain_libraries;
mod plain_programs;
mod plain_writes;
mod replaced;

// A write that PostgreSQL gets afterwards.
mod behind;
mod behind_batch;
mod behind_cache;
mod behind_forgotten;
mod behind_makers;
mod behind_order;
mod behind_transfers;

// A read of a row that is not cached.
mod read_edges;
mod read_order;
mod read_through;
mod reads_like_rows;

// The other commands on a staged key.
mod atomic_multi;
mod batch_command;
mod counter_batches;
mod counters;
mod del;
mod hdel;
mod hsetnx;
mod kept_fields;
mod mixed_commands;
mod new_database;
mod once;
mod other_ways;
mod rgsync;
mod sync_commands;
mod transactions;
mod transactions_lost;
mod transactions_tables;

// What the database makes of a write.
mod database_decides;
mod ddl;
mod ddl_constraints;
mod ddl_values;
mod disclosure;
mod json_paths;
mod key_types;
mod like_psql;
mod relations;
mod swallowed;

// Administration.
mod config;
mod dashboard;
mod document_reload;
mod documented;
mod load_all;
mod monitoring;
mod observability;
mod refresh;
mod refresh_many;
mod reload;
mod verify;
mod verify_meanwhile;

// Many writes, and what happens around them.
mod abandoned;
mod acl;
mod admin;
mod all_at_once;
mod batches;
mod cluster;
mod cluster_behind;
mod cluster_behind_failover;
mod cluster_behind_moves;
mod cluster_node;
mod cluster_reads;
mod consistency;
mod demotion;
mod disturbed;
mod failover;
mod follow;
mod follow_lost;
mod follow_preload;
mod follow_replica;
mod following;
mod host;
mod in_flight;
mod in_sync;
mod journal;
mod locked;
mod lost;
mod migrate;
mod misspelt;
mod one_by_one;
mod outage;
mod paused;
mod persistence;
mod pooler;
mod read_only;
mod replication;
mod retry;
mod sessions;

// Where it runs: docs/deployment.md and its files.
mod cluster_of_six;
mod deployment;
mod kubernetes;
mod sentinel;

// Safety: the way to the database, secrets, what comes from outside.
mod hostile_client;
mod hostile_database;
mod hostile_names;
mod rights;
mod role;
mod secrets;
mod tls;
