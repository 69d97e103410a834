//! Entries go to the thread that writes them, and what became of them comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::{self, Queue, Sent, State, QUEUES};
use super::stream::{self, Raw};
use super::unread::Unread;
use super::{attach, failed, held, reports};
use crate::command::entry;
use crate::config::limits::Limit;
use crate::engine::behind::{Batch, Entry};
use crate::host::ffi::{self, Closed, Ctx, Str, Value, Writable, ASK_AGAIN};
use crate::host::module::{module, MainThread, Module};
use crate::model::change::Change;
use crate::model::entry_id::EntryId;
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;

/// Batches that a thread has at once: one that it writes, and the next.
const BATCHES: usize = 2;

/// Entries that are read from the stream for one batch, at most: others wait for the server meanwhile, and then while
/// their hashes become the rows.
const READ: usize = 64;

/// When the entries are looked at again that the database can't take now.
const PAUSE: Duration = Duration::from_millis(100);

/// The queues are looked at so often at most: what comes in between shares a turn, its trim and its batch.
const PACE: Duration = Duration::from_millis(1);

/// The timer.
#[derive(Default)]
struct Timer {
    /// When the next one goes off.
    due: Option<Instant>,
    /// When the last one did.
    was: Option<Instant>,
}

static TIMER: MainThread<Timer> = MainThread::new();

/// The queues are looked at in the next turn of the event loop. Also a one-shot.
pub fn soon() {
    after(Duration::ZERO);
}

fn after(pause: Duration) {
    let mut timer = TIMER.get();
    let now = Instant::now();
    let is_soon = timer.was.is_some_and(|was| now.duration_since(was) < PACE);
    let pause = if is_soon { pause.max(PACE) } else { pause };
    // One that goes off later finds nothing to do.
    if timer.due.is_none_or(|due| due > now + pause) {
        timer.due = Some(now + pause);
        ffi::timer(pause, run);
    }
}

fn run(ctx: &Ctx) {
    *TIMER.get() = Timer { due: None, was: Some(Instant::now()) };
    let Some(module) = module() else { return };
    if !ctx.select(module.config.db) {
        return;
    }
    if let Some(pause) = turn(ctx, module) {
        after(pause);
    }
}

/// The server waits for a write, in the context of its client: what it waits for may be an entry.
pub fn serve(ctx: &Writable, module: &Module) {
    if queue::any() && ctx.db() == module.config.db {
        turn(ctx, module);
    }
}

/// Takes what has become of entries, and hands over more. Returns when to come again.
fn turn(ctx: &Ctx, module: &Module) -> Option<Duration> {
    if !queue::any() {
        return None;
    }
    let ctx = match ctx.writable() {
        Ok(ctx) => ctx,
        Err(Closed::Paused) => {
            // Reads go on during a pause: it has to be known which of them wait.
            attach::step(ctx, module);
            return Some(ASK_AGAIN);
        }
        Err(Closed::Following) => {
            module.drains.reports.take().iter().for_each(|report| {
                reports::count_batch(report);
            });
            held::release_for_ever(module);
            return None;
        }
    };
    if attach::step(&ctx, module) {
        return Some(Duration::ZERO);
    }
    module.apply(|| {
        for report in module.drains.reports.take() {
            reports::take(&ctx, module, report);
        }
    });
    make_ours(&ctx, module);
    let names: Vec<Box<[u8]>> = QUEUES.get().keys().cloned().collect();
    names.iter().filter_map(|name| hand_over(&ctx, module, name)).min()
}

/// Streams that earlier servers have made get an identity of this one: what the earlier ones have made ends there.
fn make_ours(ctx: &Writable, module: &Module) {
    let earlier: Vec<Arc<str>> = {
        let queues = QUEUES.get();
        let is_earlier = |queue: &&Queue| {
            queue.state == State::Known && !queue.is_ours && !queue.segments.is_empty()
        };
        queues.values().filter(is_earlier).map(|queue| queue.name.clone()).collect()
    };
    for name in earlier {
        // A stream that can't be changed now is asked again by the next write.
        let _ = module.apply(|| attach::make_ours(ctx, module, &name));
    }
}

/// Hands entries over to the thread. Returns when to come again for those that wait for more.
fn hand_over(ctx: &Writable, module: &Module, name: &[u8]) -> Option<Duration> {
    loop {
        let waiting = QUEUES.get().get(name)?.stream();
        let entries = ctx.open(&waiting).len() as u64;
        let from = {
            let mut queues = QUEUES.get();
            let queue = queues.get_mut(name)?;
            if queue.state != State::Known || queue.batches >= BATCHES {
                return None;
            }
            if entries != queue.entries {
                // Somebody else has changed the stream: what it holds is what counts.
                queue.unread.clear();
                queue.entries = queue.entries.max(entries);
            }
            let unread = queue.unread_count();
            if unread == 0 {
                drop(queues);
                end_identities(ctx, module, name);
                return None;
            }
            let delay = module.shared.limits.time(Limit::BehindDelay);
            let age = queue.unread_since.map_or(delay, |since| since.elapsed());
            let is_early = age < delay && queue.flushes.is_empty();
            if is_early && unread < module.shared.limits.get(Limit::BatchMax) {
                return Some(delay - age);
            }
            queue.read_to.next()
        };
        let mappings = module.catalog.mappings().ok();
        let Some(mapping) = mappings.and_then(|mappings| mappings.get(name).cloned()) else {
            return Some(PAUSE);
        };
        let most = module.shared.limits.get(Limit::BatchMax) as usize;
        let kept = QUEUES.get().get_mut(name).map(|queue| queue.unread.take(most));
        let entries = match kept.filter(|kept| !kept.is_empty()) {
            Some(kept) => kept,
            None => {
                let raw = stream::range(ctx, &waiting, from, None, most.min(READ));
                raw.iter().map(|raw| understand(&mapping, raw)).collect()
            }
        };
        if entries.is_empty() {
            recount(ctx, module, name, &waiting);
            return None;
        }
        if !send(ctx, module, name, entries) {
            return None;
        }
    }
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

/// Sends what is of one identity. What is of none can't be told from what was written: it is set aside. False
/// when the queue is gone.
fn send(ctx: &Writable, module: &Module, name: &[u8], mut entries: Vec<Unread>) -> bool {
    let first = entries[0].id;
    let found = {
        let mut queues = QUEUES.get();
        let Some(queue) = queues.get_mut(name) else { return false };
        let of = queue.segment_of(first).map(|(segment, end)| (segment.identity.clone(), end));
        if !matches!(of, Some((_, None))) {
            // What isn't sent is read again.
            queue.unread.clear();
        }
        of.ok_or_else(|| queue.name.clone())
    };
    let (identity, end) = match found {
        Ok(found) => found,
        Err(of) => {
            let problem =
                "the entry was not added by the module: nobody knows whether it was written";
            let failure = Failure::Input(problem.into());
            module.apply(|| failed::set_aside(ctx, module, &of, first, &failure));
            return true;
        }
    };
    if let Some(end) = end {
        entries.retain(|entry| entry.id <= end);
    }
    let mut queues = QUEUES.get();
    let Some(queue) = queues.get_mut(name) else { return false };
    let mut sent = Vec::with_capacity(entries.len());
    for Unread { id, target, uuid, change } in entries {
        queue.sent.push_back(Sent { id, target, uuid });
        sent.push(Entry { id, change });
        queue.read_to = id;
    }
    queue.batches += 1;
    queue.unread_since = Some(Instant::now());
    let batch = Batch {
        name: queue.name.clone(),
        identity,
        live: queue.live.clone(),
        term: module.shared.terms.now(),
        entries: sent,
        ends: end,
    };
    drop(queues);
    module.drains.submit(batch);
    true
}

/// The stream has fewer entries than were counted: somebody has taken some out.
fn recount(ctx: &Writable, module: &Module, name: &[u8], waiting: &Str) {
    let entries = stream::len(ctx, waiting);
    {
        let mut queues = QUEUES.get();
        let Some(queue) = queues.get_mut(name) else { return };
        if !queue.sent.is_empty() {
            return;
        }
        let lost = queue.entries.saturating_sub(entries);
        module.shared.stats.behind_lost.add(lost as usize);
        queue.entries = entries;
        queue.read_to = EntryId::default();
        if entries == 0 {
            queue.waiting.clear();
            let flushes = std::mem::take(&mut queue.flushes);
            flushes.into_iter().for_each(|(_, client)| client.answer(Value::OK));
        }
    }
    held::release_all(module);
}

/// All is written: the database is asked how far it is with what earlier servers have made, and these identities
/// are not needed any more.
fn end_identities(ctx: &Writable, module: &Module, name: &[u8]) {
    let (waiting, ended, live) = {
        let mut queues = QUEUES.get();
        let Some(queue) = queues.get_mut(name) else { return };
        if !queue.is_ours || queue.segments.len() < 2 || queue.batches > 0 || queue.entries > 0 {
            return;
        }
        let ours = queue.segments.len() - 1;
        let ended: Vec<_> = queue.segments.drain(..ours).collect();
        queue.batches += ended.len();
        (queue.stream(), ended, queue.live.clone())
    };
    let ends = ended.iter().skip(1).map(|next| next.after);
    let ours = QUEUES.get().get(name).and_then(|queue| queue.segments.first().map(|s| s.after));
    let ends: Vec<Option<EntryId>> = ends.map(Some).chain([ours]).collect();
    for (segment, ends) in ended.iter().zip(ends) {
        stream::forget_identity(ctx, &waiting, &segment.identity);
        module.drains.submit(Batch {
            name: String::from_utf8_lossy(name).into(),
            identity: segment.identity.clone(),
            live: live.clone(),
            term: module.shared.terms.now(),
            entries: Vec::new(),
            ends,
        });
    }
}
