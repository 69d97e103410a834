//! Entries that are written: they leave the stream, and their hashes become the rows.

use std::collections::HashMap;

use super::queue::Flush;
use super::queues::with;
use super::{held, place, stream};
use crate::engine::behind::WrittenRow;
use crate::engine::RowState;
use crate::host::ffi::{Kind, Str, Value, Writable};
use crate::host::module::Module;
use crate::host::write::acknowledge::Acknowledgement;
use crate::host::write::pending::pending;
use crate::host::write::{compare, touched};
use crate::model::entry_id::EntryId;
use crate::model::slot::Slot;

/// In each of these queues all entries up to this one are written.
pub fn written(
    ctx: &Writable,
    module: &Module,
    name: &str,
    ends: &[(Slot, EntryId)],
    rows: Vec<WrittenRow>,
) {
    let (mut done, mut acknowledged, mut flushed) = (Vec::new(), Vec::new(), Vec::new());
    for &(slot, up_to) in ends {
        let waiting = with(name.as_bytes(), slot, |queue| {
            while queue.sent.front().is_some_and(|sent| sent.id <= up_to) {
                let Some(sent) = queue.sent.pop_front() else { break };
                if !sent.uuid.is_empty() {
                    acknowledged.push((sent.target.clone(), sent.uuid));
                }
                if let Some(entries) = queue.settle(&sent.target) {
                    done.push((sent.target, entries));
                }
            }
            flushed.extend(queue.flushed());
            if place::is_cluster() {
                queue.shrink();
            }
            queue.stream()
        });
        waiting.iter().for_each(|waiting| stream::trim(ctx, waiting, up_to));
    }
    for (target, uuid) in acknowledged {
        Acknowledgement::of(&target, &uuid).send(ctx, module, &Value::OK);
    }
    flushed.into_iter().for_each(Flush::done);
    let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (row.target.clone(), row)).collect();
    for (target, entries) in done {
        // What is being read of it may be older.
        pending().evicted(&target);
        touched::note(&target);
        match rows.remove(&target) {
            Some(row) if !entries.is_doubtful && !module.catalog.is_reshaped(&row.mapping) => {
                become_row(ctx, module, &row, entries.is_shown);
            }
            _ => module.stale_keys.add(&target),
        }
        held::release(module, &target);
    }
}

/// No entry of the key waits: its hash is to be the row that was written.
fn become_row(ctx: &Writable, module: &Module, row: &WrittenRow, is_shown: bool) {
    let WrittenRow { target, mapping, state, is_as_sent } = row;
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
