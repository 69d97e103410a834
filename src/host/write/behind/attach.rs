//! Queues that nothing is known of are looked at: who made which entries, and which keys they are of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::place::{self, Which};
use super::queue::{Queue, State};
use super::queues::{self, with, QUEUES};
use super::{held, known, stream};
use crate::command::entry::{self, Op};
use crate::config::WriteMode;
use crate::host::ffi::{Ctx, Kind, Str, Value, Writable, TRY_AGAIN};
use crate::host::module::Module;
use crate::model::entry_id::EntryId;
use crate::model::slot::Slot;

/// How long one turn looks.
const TURN: Duration = Duration::from_millis(1);

/// Entries that are read by one call.
const TOGETHER: usize = 200;

/// Slots that are looked into for streams, one after the other.
const SLOTS: usize = 64;

/// When a queue is looked at again that another node has, or that is on its way.
pub const PAUSE: Duration = Duration::from_millis(100);

/// Looks at the queues that nothing is known of. Returns when there is more to look at.
pub fn step(ctx: &Ctx, module: &Module) -> Option<Duration> {
    let is_open = |queues: &queues::Queues| {
        !queues.is_found() || !queues.unknown.is_empty() || !queues.flushes.is_empty()
    };
    let names: Vec<Box<[u8]>> = {
        let all = QUEUES.get();
        all.iter().filter(|(_, queues)| is_open(queues)).map(|(name, _)| name.clone()).collect()
    };
    if names.is_empty() {
        return None;
    }
    let until = Instant::now() + TURN;
    let is_done = names.iter().all(|name| step_of(ctx, module, name, until));
    held::release_all(module);
    if !is_done {
        return Some(Duration::ZERO);
    }
    let is_unknown = QUEUES.get().values().any(|queues| !queues.unknown.is_empty());
    is_unknown.then_some(PAUSE)
}

/// The same of one mapping. False when the time is over.
fn step_of(ctx: &Ctx, module: &Module, name: &[u8], until: Instant) -> bool {
    while find(ctx, name) {
        if Instant::now() > until {
            return false;
        }
    }
    let unknown: Vec<Slot> = {
        let all = QUEUES.get();
        let Some(queues) = all.get(name) else { return true };
        queues.unknown.iter().copied().collect()
    };
    for slot in unknown {
        let rests = |queue: &mut Queue| queue.rests_until.is_some_and(|at| at > Instant::now());
        if with(name, slot, rests) == Some(true) {
            continue;
        }
        if with(name, slot, |queue| queue.state == State::Unknown) == Some(true) {
            look(ctx, module, name, slot);
        }
        while scan(ctx, name, slot) {
            if Instant::now() > until {
                return false;
            }
        }
        if Instant::now() > until {
            return false;
        }
    }
    if let Some(queues) = QUEUES.get().get_mut(name) {
        queues.begin_flushes();
    }
    let configs = module.catalog.configs();
    let is_behind = configs
        .iter()
        .any(|config| config.name().as_bytes() == name && config.write == WriteMode::Behind);
    let has_nothing = QUEUES
        .get()
        .get(name)
        .is_some_and(|queues| queues.by_slot.is_empty() && queues.batches == 0);
    if !is_behind && has_nothing {
        queues::remove(name);
    }
    true
}

/// True when entries of this final key wait. A queue that nothing is known of is looked at: who asks can't wait.
pub fn waits(ctx: &Ctx, module: &Module, target: &[u8]) -> bool {
    known::is_waiting(target) && {
        step(ctx, module);
        known::is_waiting(target)
    }
}

/// Looks into some slots for streams. False when it was looked into all.
fn find(ctx: &Ctx, name: &[u8]) -> bool {
    let (name, from) = {
        let all = QUEUES.get();
        let Some(queues) = all.get(name).filter(|queues| !queues.is_found()) else { return false };
        (queues.name.clone(), queues.found)
    };
    let slots = Slot::all().take(place::slots()).skip(from).take(SLOTS);
    let is_there =
        |which, slot: Slot| ctx.open(&place::stream(which, &name, slot)).kind() != Kind::Empty;
    let has_stream =
        |slot: &Slot| is_there(Which::Waiting, *slot) || is_there(Which::Failed, *slot);
    let found: Vec<Slot> = slots.filter(has_stream).collect();
    let mut all = QUEUES.get();
    let Some(queues) = all.get_mut(name.as_bytes()) else { return false };
    found.into_iter().for_each(|slot| queues.look_at(slot));
    queues.found = from + SLOTS;
    true
}

/// Looks at a queue: it is known afterwards, or its entries are to be read, unless another node has the slot.
fn look(ctx: &Ctx, module: &Module, name: &[u8], slot: Slot) {
    let streams = with(name, slot, |queue| (queue.stream(), queue.failed_stream()));
    let Some((waiting, failed)) = streams else { return };
    if !place::is_here(&waiting) {
        return leave(name, slot);
    }
    let found = match ctx.open(&waiting).kind() {
        Kind::Empty => None,
        _ => stream::look(ctx, &waiting),
    };
    let refused = stream::len(ctx, &failed);
    let entries = if found.is_some() { stream::len(ctx, &waiting) } else { 0 };
    let mut all = QUEUES.get();
    let Some(queues) = all.get_mut(name) else { return };
    let Some(queue) = queues.by_slot.get_mut(&slot) else { return };
    let (last, segments) = found.unwrap_or_default();
    (queue.last, queue.segments, queue.failed) = (last, segments, refused);
    queue.entries.set(entries);
    let gone = std::mem::take(&mut queue.gone);
    let has_come = std::mem::take(&mut queue.has_come);
    queues::count_lost(module, &queue.name, gone);
    let state = match entries {
        0 => State::Known,
        _ => State::Scanning { done: EntryId::default(), until: last },
    };
    queues.became(slot, state);
    drop(all);
    if has_come && place::is_cluster() {
        compare_all(module, name, slot);
    }
}

/// The other node may have written entries of hashes that had left it: they were compared with no row.
fn compare_all(module: &Module, name: &[u8], slot: Slot) {
    let prefix = [name, b":"].concat();
    let keys = place::keys_of(slot);
    keys.iter().filter(|key| key.starts_with(&prefix)).for_each(|key| module.stale_keys.add(key));
}

/// The queue is another node's, or will be. While keys of its slot are here, they are not to become rows that
/// lack its entries.
fn leave(name: &[u8], slot: Slot) {
    let is_empty = place::keys_in(slot) == 0;
    let mut all = QUEUES.get();
    let Some(queues) = all.get_mut(name) else { return };
    let Some(queue) = queues.by_slot.get_mut(&slot) else { return };
    match is_empty && queue.batches + queue.earlier_batches == 0 {
        true => {
            queues.by_slot.remove(&slot);
            queues.unknown.remove(&slot);
        }
        false => queue.rests_until = Some(Instant::now() + PAUSE),
    }
}

/// Reads some entries. True when there are more.
fn scan(ctx: &Ctx, name: &[u8], slot: Slot) -> bool {
    let part = with(name, slot, |queue| match queue.state {
        State::Scanning { done, until } => Some((queue.stream(), done.next(), until)),
        _ => None,
    });
    let Some((waiting, from, until)) = part.flatten() else { return false };
    let Some(entries) = stream::range(ctx, &waiting, from, Some(until), TOGETHER) else {
        with(name, slot, |queue| queue.rests_until = Some(Instant::now() + PAUSE));
        return false;
    };
    let mut all = QUEUES.get();
    let Some(queues) = all.get_mut(name) else { return false };
    let Some(queue) = queues.by_slot.get_mut(&slot) else { return false };
    for raw in &entries {
        // What is no entry is of no key: it is set aside when its turn comes.
        let target: Arc<[u8]> = target(&queue.name, &raw.fields()).into();
        let is_deleted = matches!(entry::head(&raw.fields()), Ok((Op::Delete, _)));
        queue.add(&target).is_deleted = is_deleted;
    }
    match entries.last() {
        Some(last) if entries.len() == TOGETHER => {
            queue.state = State::Scanning { done: last.id, until };
            true
        }
        _ => {
            queues.became(slot, State::Known);
            false
        }
    }
}

/// The final key of an entry; of what is none, one that no row has.
pub fn target(name: &str, fields: &[&[u8]]) -> Vec<u8> {
    let id = entry::head(fields).map_or(&b""[..], |(_, id)| id);
    [name.as_bytes(), b":", id].concat()
}

/// True when this row's queue is another node's, or on its way.
pub fn is_elsewhere(target: &[u8]) -> bool {
    place::is_cluster() && !place::is_here(&Str::new(target))
}

/// What a client reads of such a row.
pub fn elsewhere() -> Value {
    Value::error(TRY_AGAIN)
}

/// The stream of this queue, to which entries may be added: they are of this server and of now. An error is what
/// the client reads.
pub fn make_ours(ctx: &Writable, module: &Module, name: &str, slot: Slot) -> Result<Str, Value> {
    let bytes = name.as_bytes();
    let ours = with(bytes, slot, |queue| queue.is_ours.then(|| queue.stream()));
    if let Some(stream) = ours.flatten() {
        return Ok(stream);
    }
    if !QUEUES.get().contains_key(bytes) {
        queues::start(module);
    }
    if !with(bytes, slot, |queue| queue.state != State::Unknown).unwrap_or_default() {
        if let Some(queues) = QUEUES.get().get_mut(bytes) {
            queues.look_at(slot);
        }
        look(ctx, module, bytes, slot);
    }
    let (state, (after, is_skipped)) = with(bytes, slot, |queue| (queue.state, queue.beginning()))
        .unwrap_or((State::Known, (EntryId::default(), false)));
    let waiting = place::stream(Which::Waiting, name, slot);
    // On the way of a slot a stream could be made twice, and one of them couldn't move any more.
    if state == State::Unknown || !place::is_here(&waiting) {
        return Err(elsewhere());
    }
    if is_skipped {
        stream::skip(ctx, &waiting, after)?;
    }
    let segment = stream::identify(ctx, &waiting, after)?;
    let mut all = QUEUES.get();
    let Some(queues) = all.get_mut(bytes) else {
        return Err(Value::error("ERR writethrough: the mapping is not written behind any more"));
    };
    queues.look_at(slot);
    if let Some(queue) = queues.by_slot.get_mut(&slot) {
        queue.segments.push(segment);
        (queue.last, queue.is_ours) = (after, true);
    }
    queues.became(slot, state);
    Ok(waiting)
}
