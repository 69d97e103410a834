//! Tests of `tests/it` whose writes name the plain key, `users:1`, in place of the staged one.

// What only the tests use that are left out here.
#![allow(dead_code, unused_imports)]

#[path = "../it/support/mod.rs"]
mod support;

/// Writes name the plain key.
const KEYS: support::Keys = support::Keys::Plain;

/// Tests that look at the staged key itself, or that make the cache wrong by a plain write.
macro_rules! of_the_staged_key {
    ($($test:item)*) => {};
}

#[path = "../it/abandoned.rs"]
mod abandoned;
#[path = "../it/all_at_once.rs"]
mod all_at_once;
#[path = "../it/batches.rs"]
mod batches;
#[path = "../it/cluster.rs"]
mod cluster;
#[path = "../it/consistency.rs"]
mod consistency;
#[path = "../it/counter_batches.rs"]
mod counter_batches;
#[path = "../it/counters.rs"]
mod counters;
#[path = "../it/database_decides.rs"]
mod database_decides;
#[path = "../it/ddl.rs"]
mod ddl;
#[path = "../it/ddl_constraints.rs"]
mod ddl_constraints;
#[path = "../it/ddl_values.rs"]
mod ddl_values;
#[path = "../it/del.rs"]
mod del;
#[path = "../it/demotion.rs"]
mod demotion;
#[path = "../it/disclosure.rs"]
mod disclosure;
#[path = "../it/disturbed.rs"]
mod disturbed;
#[path = "../it/errors.rs"]
mod errors;
#[path = "../it/hdel.rs"]
mod hdel;
#[path = "../it/hostile_client.rs"]
mod hostile_client;
#[path = "../it/hsetnx.rs"]
mod hsetnx;
#[path = "../it/in_flight.rs"]
mod in_flight;
#[path = "../it/in_sync.rs"]
mod in_sync;
#[path = "../it/journal.rs"]
mod journal;
#[path = "../it/json_paths.rs"]
mod json_paths;
#[path = "../it/kept_fields.rs"]
mod kept_fields;
#[path = "../it/key_types.rs"]
mod key_types;
#[path = "../it/like_psql.rs"]
mod like_psql;
#[path = "../it/load.rs"]
mod load;
#[path = "../it/locked.rs"]
mod locked;
#[path = "../it/lost.rs"]
mod lost;
#[path = "../it/mixed_commands.rs"]
mod mixed_commands;
#[path = "../it/one_by_one.rs"]
mod one_by_one;
#[path = "../it/other_ways.rs"]
mod other_ways;
#[path = "../it/outage.rs"]
mod outage;
#[path = "../it/paused.rs"]
mod paused;
#[path = "../it/persistence.rs"]
mod persistence;
#[path = "../it/read_edges.rs"]
mod read_edges;
#[path = "../it/read_only.rs"]
mod read_only;
#[path = "../it/read_order.rs"]
mod read_order;
#[path = "../it/read_through.rs"]
mod read_through;
#[path = "../it/reads_like_rows.rs"]
mod reads_like_rows;
#[path = "../it/relations.rs"]
mod relations;
#[path = "../it/replication.rs"]
mod replication;
#[path = "../it/retry.rs"]
mod retry;
#[path = "../it/rgsync.rs"]
mod rgsync;
#[path = "../it/swallowed.rs"]
mod swallowed;
#[path = "../it/sync_commands.rs"]
mod sync_commands;
#[path = "../it/sync_path.rs"]
mod sync_path;
#[path = "../it/types.rs"]
mod types;
#[path = "../it/values.rs"]
mod values;
#[path = "../it/writes.rs"]
mod writes;
