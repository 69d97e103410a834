//! What a queue has for the next batch of its mapping.

use std::sync::Arc;
use std::time::Instant;

use super::queue::{Sent, State};
use super::queues::{self, with, QUEUES};
use super::stream::{self, Raw};
use super::unread::Unread;
use super::{attach, failed, held};
use crate::command::entry;
use crate::engine::behind::{Entry, Run};
use crate::host::ffi::Writable;
use crate::host::module::Module;
use crate::model::change::Change;
use crate::model::entry_id::EntryId;
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;
use crate::model::slot::Slot;

/// Entries that are read from a stream for one batch, at most: others wait for the server meanwhile, and then while
/// their hashes become the rows.
const READ: usize = 32;

/// Entries that are read ahead between two looks at the clock.
const AHEAD: usize = 16;

/// Reads entries of the next queue ahead, until the time is over: no batch has more than `most`. False when there are
/// more to be read.
pub fn read_ahead(
    ctx: &Writable,
    mapping: &Arc<Mapping>,
    slot: Slot,
    most: usize,
    until: Instant,
) -> bool {
    let name = mapping.name.as_bytes();
    loop {
        let next = with(name, slot, |queue| {
            let kept = queue.unread.len();
            let is_more = (kept as u64) < queue.unread_count() && kept < most;
            let wants = is_more && queue.state == State::Known && !queue.unread.is_full();
            let from = queue.unread.last().unwrap_or(queue.read_to).next();
            wants.then(|| (queue.stream(), from))
        });
        let Some((waiting, from)) = next.flatten() else { return true };
        let raw = stream::range(ctx, &waiting, from, None, AHEAD).unwrap_or_default();
        if raw.is_empty() {
            return true;
        }
        with(name, slot, |queue| {
            for raw in &raw {
                queue.unread.push(queue.unread.len() as u64, understand(mapping, raw));
            }
        });
        if Instant::now() >= until {
            return false;
        }
    }
}

/// Takes entries out of a queue that is due, at most so many.
pub fn gather(
    ctx: &Writable,
    module: &Module,
    mapping: &Arc<Mapping>,
    slot: Slot,
    most: usize,
) -> Vec<Run> {
    let name = mapping.name.as_bytes();
    let Some(waiting) = with(name, slot, |queue| queue.stream()) else { return Vec::new() };
    let entries = ctx.open(&waiting).len() as u64;
    let about = with(name, slot, |queue| {
        queue.is_due = false;
        let is_known = queue.state == State::Known;
        if is_known && entries != queue.entries.get() {
            // Somebody else has changed the stream: what it holds is what counts.
            queue.unread.clear();
            queue.entries.set(queue.entries.get().max(entries));
        }
        let is_earlier = !queue.is_ours && !queue.segments.is_empty();
        (is_known, is_earlier, queue.unread_count())
    });
    let Some((true, is_earlier, unread)) = about else { return Vec::new() };
    if is_earlier {
        // What the earlier server has made ends here. A stream that can't be changed now is asked again by the
        // next write.
        let _ = module.apply(|| attach::make_ours(ctx, module, &mapping.name, slot));
    }
    if unread == 0 {
        return module.apply(|| end_identities(ctx, name, slot));
    }
    let kept = with(name, slot, |queue| (queue.unread.take(most), queue.read_to.next()));
    let Some((mut entries, from)) = kept else { return Vec::new() };
    if entries.is_empty() {
        match stream::range(ctx, &waiting, from, None, most.min(READ)) {
            Some(raw) => entries = raw.iter().map(|raw| understand(mapping, raw)).collect(),
            // A node that is down, or has lost the slot, tells nothing.
            None => {
                queues::rest(&mapping.name, slot);
                return Vec::new();
            }
        }
    }
    if entries.is_empty() {
        recount(ctx, module, name, slot);
        return Vec::new();
    }
    take(ctx, module, mapping, slot, entries)
}

/// What an entry of the stream does to its row.
fn understand(mapping: &Arc<Mapping>, raw: &Raw) -> Unread {
    let fields = raw.fields();
    let target: Arc<[u8]> = attach::target(&mapping.name, &fields).into();
    let write = entry::parse(mapping, &fields).map_err(Failure::Input);
    let uuid = write.as_ref().map(|write| write.uuid.clone()).unwrap_or_default();
    let change = write.map(|write| Change::of(mapping, target.clone(), write.action));
    Unread { id: raw.id, target, uuid, change }
}

/// Takes what is of one identity. What is of none can't be told from what was written: it is set aside.
fn take(
    ctx: &Writable,
    module: &Module,
    mapping: &Arc<Mapping>,
    slot: Slot,
    mut entries: Vec<Unread>,
) -> Vec<Run> {
    let name = mapping.name.as_bytes();
    let first = entries[0].id;
    let found = with(name, slot, |queue| {
        let of = queue.segment_of(first).map(|(segment, end)| (segment.identity.clone(), end));
        if !matches!(of, Some((_, None))) {
            // What isn't sent is read again.
            queue.unread.clear();
        }
        of
    });
    let Some((identity, end)) = found.flatten() else {
        let problem = "the entry was not added by the module: nobody knows whether it was written";
        let failure = Failure::Input(problem.into());
        module.apply(|| failed::set_aside(ctx, module, &mapping.name, slot, first, &failure));
        if let Some(queues) = QUEUES.get().get_mut(name) {
            queues.make_due(slot);
        }
        return Vec::new();
    };
    if let Some(end) = end {
        entries.retain(|entry| entry.id <= end);
    }
    let run = with(name, slot, |queue| {
        let mut sent = Vec::with_capacity(entries.len());
        for Unread { id, target, uuid, change } in entries {
            queue.sent.push_back(Sent { id, target, uuid });
            sent.push(Entry { id, change });
            queue.read_to = id;
        }
        queue.batches += 1;
        let run = Run { source: queue.source(), identity, entries: sent, ends: end };
        (run, queue.unread_count() > 0)
    });
    let Some((run, has_more)) = run else { return Vec::new() };
    if has_more {
        if let Some(queues) = QUEUES.get().get_mut(name) {
            queues.make_due(slot);
        }
    }
    vec![run]
}

/// The stream has fewer entries than were counted: somebody has taken some out.
fn recount(ctx: &Writable, module: &Module, name: &[u8], slot: Slot) {
    let waiting = with(name, slot, |queue| queue.sent.is_empty().then(|| queue.stream()));
    let Some(waiting) = waiting.flatten() else { return };
    let entries = stream::len(ctx, &waiting);
    let done = with(name, slot, |queue| {
        let lost = queue.entries.get().saturating_sub(entries);
        module.shared.stats.behind_lost.add(lost as usize);
        queue.entries.set(entries);
        queue.read_to = EntryId::default();
        if entries > 0 {
            return Vec::new();
        }
        queue.waiting.clear();
        std::mem::take(&mut queue.flushes)
    });
    done.into_iter().flatten().for_each(|(_, flush)| flush.done());
    held::release_all(module);
}

/// All is written: the database is asked how far it is with what earlier servers have made, and these identities
/// are not needed any more.
fn end_identities(ctx: &Writable, name: &[u8], slot: Slot) -> Vec<Run> {
    let ended = with(name, slot, |queue| {
        let has_ended = queue.is_ours && queue.segments.len() > 1;
        if !has_ended || queue.batches > 0 || queue.entries.get() > 0 {
            return None;
        }
        let ours = queue.segments.len() - 1;
        let ends: Vec<EntryId> = queue.segments[1..].iter().map(|next| next.after).collect();
        let ended: Vec<_> = queue.segments.drain(..ours).collect();
        queue.batches += ended.len();
        Some((queue.stream(), queue.source(), ended, ends))
    });
    let Some((waiting, source, ended, ends)) = ended.flatten() else { return Vec::new() };
    let runs = ended.into_iter().zip(ends).map(|(segment, end)| {
        stream::forget_identity(ctx, &waiting, &segment.identity);
        let (source, identity) = (source.clone(), segment.identity);
        Run { source, identity, entries: Vec::new(), ends: Some(end) }
    });
    runs.collect()
}
