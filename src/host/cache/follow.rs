//! What other programs write, as far as it has been followed.

use std::time::Instant;

use crate::host::ffi::Ctx;
use crate::host::module::{MainThread, Module};
use crate::host::read::memory;
use crate::host::write::importing_slots;
use crate::model::mapping::Mapping;

#[derive(Default)]
struct Followed {
    /// Keys that the journal has named.
    entries: u64,
    /// Rows that were read because of it.
    rows: u64,
    /// The cache holds what the database held then.
    until: Option<Instant>,
}

static FOLLOWED: MainThread<Followed> = MainThread::new();

/// The journal has named so many keys.
pub fn named(keys: usize) {
    FOLLOWED.get().entries += keys as u64;
}

/// A row is read because of it.
pub fn reads_one() {
    FOLLOWED.get().rows += 1;
}

/// It isn't known yet what has changed. How far the cache is behind is counted from now, where nothing is known.
pub fn begins() {
    FOLLOWED.get().until.get_or_insert_with(Instant::now);
}

/// The cache holds what the database held at this time.
pub fn reached(asked: Instant) {
    FOLLOWED.get().until = Some(asked);
}

/// A row that isn't cached may be loaded: there is memory, and in a cluster its slot is this node's.
pub fn may_load(ctx: &Ctx, module: &Module, mapping: &Mapping, key: &[u8]) -> bool {
    memory::has_room(ctx, mapping.ttl.is_some()) && !importing_slots::is_moving(ctx, module, key)
}

/// For INFO: keys named, rows read, and how far the cache is behind, in milliseconds.
pub fn numbers() -> (u64, u64, u64) {
    let followed = FOLLOWED.get();
    let behind = followed.until.map_or(0, |until| until.elapsed().as_millis() as u64);
    (followed.entries, followed.rows, behind)
}
