//! What a write or a read of a row asks of its queue.

use super::held;
use super::place::slot_of;
use super::queue::{Queue, State};
use super::queues::{any, with, QUEUES};
use crate::engine::Settled;
use crate::host::module::Module;

fn name_of(target: &[u8]) -> &[u8] {
    &target[..target.iter().position(|&b| b == b':').unwrap_or(target.len())]
}

/// True when entries of this final key wait, or may.
pub fn is_waiting(target: &[u8]) -> bool {
    any()
        && QUEUES.get().get(name_of(target)).is_some_and(|queues| {
            !queues.is_found()
                || queues.by_slot.get(&slot_of(target)).is_some_and(|queue| {
                    queue.state != State::Known
                        || queue.earlier_batches > 0
                        || queue.waiting.contains_key(target)
                })
        })
}

/// The hash is newer than what was read or written of its row. Where it is written through, an entry is known: on
/// a guess no write is answered and not shown.
pub fn is_newer(settled: &Settled, is_changed: bool) -> bool {
    let target = &settled.target[..];
    let has_entry = |queue: &mut Queue| queue.waiting.contains_key(target);
    match settled.mapping.is_behind {
        true => is_waiting(target) || is_changed,
        false => any() && with(name_of(target), slot_of(target), has_entry) == Some(true),
    }
}

/// Whether the last entry of a missing key deletes its row: then there is no row when it is written.
pub fn is_deleted(target: &[u8]) -> bool {
    let is_deleted = |queue: &mut Queue| {
        queue.state == State::Known
            && queue.earlier_batches == 0
            && queue.waiting.get(target).is_some_and(|entries| entries.is_deleted)
    };
    with(name_of(target), slot_of(target), is_deleted) == Some(true)
}

/// What was read of this key is older than its entries. Where its hash was compared, that is done again.
pub fn overtaken(module: &Module, target: &[u8], compares: bool) {
    let is_later = with(name_of(target), slot_of(target), |queue| {
        queue.waiting.get_mut(target).map(|entries| entries.is_doubtful |= compares).is_some()
    });
    if is_later != Some(true) {
        module.stale_keys.add_later(target, held::LOOK_AGAIN);
    }
}

/// The hash is not what its last entry has made of it.
pub fn changed(key: &[u8]) {
    with(name_of(key), slot_of(key), |queue| {
        if let Some(entries) = queue.waiting.get_mut(key) {
            entries.is_shown = false;
        }
    });
}
