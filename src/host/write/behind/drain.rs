//! Entries go to the thread that writes them, and what became of them comes back.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::queue::{self, Queue, Sent, State, QUEUES};
use super::stream::{self, Raw};
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

/// When the entries are looked at again that the database can't take now.
const PAUSE: Duration = Duration::from_millis(100);

/// When the next timer goes off.
static DUE: MainThread<Option<Instant>> = MainThread::new();

/// The queues are looked at in the next turn of the event loop. Also a one-shot.
pub fn soon() {
    after(Duration::ZERO);
}

fn after(pause: Duration) {
    let at = Instant::now() + pause;
    let mut due = DUE.get();
    // One that goes off later finds nothing to do.
    if due.is_none_or(|due| due > at) {
        *due = Some(at);
        ffi::timer(pause, run);
    }
}

/// The timer.
fn run(ctx: &Ctx) {
    *DUE.get() = None;
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

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Hands entries over to the thread. Returns when to come again for those that wait for more.
fn hand_over(ctx: &Writable, module: &Module, name: &[u8]) -> Option<Duration> {
    loop {
        let (waiting, from) = {
            let mut queues = QUEUES.get();
            let queue = queues.get_mut(name)?;
            let unread = queue.entries.saturating_sub(queue.sent.len() as u64);
            if queue.state != State::Known || queue.batches >= BATCHES {
                return None;
            }
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
            (queue.stream(), queue.read_to.next())
        };
        let mappings = module.catalog.mappings().ok();
        let Some(mapping) = mappings.and_then(|mappings| mappings.get(name).cloned()) else {
            return Some(PAUSE);
        };
        let most = module.shared.limits.get(Limit::BatchMax) as usize;
        let raw = stream::range(ctx, &waiting, from, None, most);
        if raw.is_empty() {
            recount(ctx, module, name, &waiting);
            return None;
        }
        if !send(ctx, module, name, &mapping, raw) {
            return None;
        }
    }
}

/// Sends what is of one identity. What is of none can't be told from what was written: it is set aside. False
/// when the queue is gone.
fn send(
    ctx: &Writable,
    module: &Module,
    name: &[u8],
    mapping: &Arc<Mapping>,
    mut raw: Vec<Raw>,
) -> bool {
    let found = {
        let queues = QUEUES.get();
        let Some(queue) = queues.get(name) else { return false };
        let of = queue.segment_of(raw[0].id);
        of.map(|(segment, end)| (segment.identity.clone(), end))
    };
    let Some((identity, end)) = found else {
        let problem = "the entry was not added by the module: nobody knows whether it was written";
        let failure = Failure::Input(problem.into());
        let of = Arc::<str>::from(&*mapping.name);
        module.apply(|| failed::set_aside(ctx, module, &of, raw[0].id, &failure));
        return true;
    };
    if let Some(end) = end {
        raw.retain(|raw| raw.id <= end);
    }
    let mut queues = QUEUES.get();
    let Some(queue) = queues.get_mut(name) else { return false };
    let mut entries = Vec::with_capacity(raw.len());
    for raw in &raw {
        let fields = raw.fields();
        let target: Arc<[u8]> = attach::target(&queue.name, &fields).into();
        let write = entry::parse(mapping, &fields).map_err(Failure::Input);
        let uuid = write.as_ref().map(|write| write.uuid.clone()).unwrap_or_default();
        queue.sent.push_back(Sent { id: raw.id, target: target.clone(), uuid });
        let change = write.map(|write| Change::new(mapping, &target, write.action));
        entries.push(Entry { id: raw.id, change });
        queue.read_to = raw.id;
    }
    queue.batches += 1;
    queue.unread_since = Some(Instant::now());
    let batch = Batch {
        name: queue.name.clone(),
        identity,
        live: queue.live.clone(),
        term: module.shared.terms.now(),
        entries,
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
