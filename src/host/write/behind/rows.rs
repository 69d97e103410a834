//! Entries that are written: they leave the stream, and their hashes become the rows.

use std::sync::Arc;
use std::time::Instant;

use super::queue::{Entries, Flush, Queue};
use super::queues::with;
use super::{held, place, stream};
use crate::engine::behind::{Source, WrittenRow, WrittenRows};
use crate::engine::RowState;
use crate::host::ffi::{Kind, Str, Value, Writable};
use crate::host::module::Module;
use crate::host::write::acknowledge::Acknowledgement;
use crate::host::write::pending::pending;
use crate::host::write::{compare, touched};
use crate::model::entry_id::EntryId;
use crate::model::slot::Slot;

/// Entries that are settled between two looks at the clock.
const STEP: usize = 32;

/// Entries of one queue that wait no more.
#[derive(Default)]
struct Settled {
    /// The last one.
    up_to: Option<EntryId>,
    /// No others were to be settled.
    is_all: bool,
    /// Keys of which none waits any more.
    keys: Vec<(Arc<[u8]>, Entries)>,
    /// Who is to be told.
    acknowledged: Vec<(Arc<[u8]>, Vec<u8>)>,
}

/// In each of these queues all up to an entry are written: they are settled until the time is over. Returns false when
/// some are left, with what is known of them.
pub fn written(
    ctx: &Writable,
    module: &Module,
    name: &str,
    ends: &mut Vec<(Source, EntryId)>,
    rows: &mut WrittenRows,
    until: Instant,
) -> bool {
    while let Some((source, up_to)) = ends.last() {
        let (slot, up_to) = (source.slot, *up_to);
        if !settle(ctx, module, name, slot, up_to, rows, until) {
            return false;
        }
        ends.pop();
        if Instant::now() >= until {
            break;
        }
    }
    ends.is_empty()
}

/// The same of one queue.
fn settle(
    ctx: &Writable,
    module: &Module,
    name: &str,
    slot: Slot,
    up_to: EntryId,
    rows: &mut WrittenRows,
    until: Instant,
) -> bool {
    let name = name.as_bytes();
    let mut last = None;
    let is_all = loop {
        let Some(settled) = with(name, slot, |queue| next(queue, up_to)) else { return true };
        last = settled.up_to.or(last);
        for (target, uuid) in settled.acknowledged {
            Acknowledgement::of(&target, &uuid).send(ctx, module, &Value::OK);
        }
        for (target, entries) in settled.keys {
            // What is being read of it may be older.
            pending().evicted(&target);
            touched::note(&target);
            match rows.remove(&target) {
                Some(row) if !entries.is_doubtful && !module.catalog.is_reshaped(&row.mapping) => {
                    become_row(ctx, module, &target, &row, entries.is_shown);
                }
                _ => module.stale_keys.add(&target),
            }
            held::release(module, &target);
        }
        if settled.is_all || Instant::now() >= until {
            break settled.is_all;
        }
    };
    let rest = with(name, slot, |queue| {
        if place::is_cluster() {
            queue.shrink();
        }
        (queue.stream(), queue.flushed())
    });
    let Some((waiting, flushed)) = rest else { return true };
    // An entry that was refused may be the last one, and gone already.
    if let Some(last) = if is_all { Some(up_to) } else { last } {
        stream::trim(ctx, &waiting, last);
    }
    flushed.into_iter().for_each(Flush::done);
    is_all
}

/// Settles the next entries of a queue.
fn next(queue: &mut Queue, up_to: EntryId) -> Settled {
    let mut settled = Settled::default();
    for _ in 0..STEP {
        if queue.sent.front().is_none_or(|sent| sent.id > up_to) {
            break;
        }
        let Some(sent) = queue.sent.pop_front() else { break };
        settled.up_to = Some(sent.id);
        if !sent.uuid.is_empty() {
            settled.acknowledged.push((sent.target.clone(), sent.uuid));
        }
        if let Some(entries) = queue.settle(&sent.target) {
            settled.keys.push((sent.target, entries));
        }
    }
    settled.is_all = queue.sent.front().is_none_or(|sent| sent.id > up_to);
    settled
}

/// No entry of the key waits: its hash is to be the row that was written.
fn become_row(ctx: &Writable, module: &Module, target: &[u8], row: &WrittenRow, is_shown: bool) {
    let WrittenRow { mapping, state, is_as_sent } = row;
    let key = Str::new(target);
    // A key that is not there is not wrong.
    if ctx.open(&key).kind() == Kind::Empty {
        return;
    }
    match state {
        RowState::Present(image) => {
            let known = match is_shown && *is_as_sent {
                true => compare::Known::AllButKey,
                false => compare::Known::Nothing,
            };
            compare::make_row(ctx, module, (&key, target), mapping, (image, known));
        }
        RowState::Deleted | RowState::Absent => {
            let called = ctx.call(c"UNLINK", &[&key]);
            module.stale_keys.check(target, &called);
        }
        RowState::Unchanged => {}
        RowState::Unknown => module.stale_keys.add(target),
    }
}
