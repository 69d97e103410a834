//! The queues, as the main thread knows them: which keys have entries that wait.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use super::unread::Kept;
use super::{drain, held};
use crate::engine::Settled;
use crate::host::ffi::{log, Blocked, KeyChange, Level, Str, Value};
use crate::host::module::{MainThread, Module};
use crate::model::entry_id::EntryId;

/// What the names of the streams begin with, before the mapping's.
const WAITING: &str = "{writethrough}:behind:";
/// The same of those that hold what was refused.
const FAILED: &str = "{writethrough}:failed:";

/// What is known of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing yet: the data set is another one than before.
    Unknown,
    /// The entries that were there are being read, up to `until`; those up to `done` were.
    Scanning { done: EntryId, until: EntryId },
    /// Each entry.
    Known,
}

/// The entries of one key that wait.
#[derive(Debug, Default)]
pub struct Entries {
    /// How many.
    pub count: u32,
    /// The last one deletes the row.
    pub is_deleted: bool,
    /// The hash may not be the row when they are written.
    pub is_doubtful: bool,
    /// The last one sets each column but the key's, and the hash was not changed since it was added.
    pub is_shown: bool,
}

/// An entry that the thread has, or had.
pub struct Sent {
    /// Its id.
    pub id: EntryId,
    /// The key.
    pub target: Arc<[u8]>,
    /// Where its acknowledgement goes.
    pub uuid: Vec<u8>,
}

/// Entries of one identity: those after `after`, up to the next one.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The name of the consumer group.
    pub identity: Arc<str>,
    /// It begins behind this entry.
    pub after: EntryId,
}

/// One mapping's.
pub struct Queue {
    /// The mapping's name.
    pub name: Arc<str>,
    /// The name of its stream, made once.
    stream: Str,
    /// False once these entries are not the queue's any more: it was emptied, or is another server's.
    pub live: Arc<AtomicBool>,
    pub state: State,
    /// In order.
    pub segments: Vec<Segment>,
    /// The last segment is of this server, and of now: entries may be added.
    pub is_ours: bool,
    /// The greatest id that the stream has had.
    pub last: EntryId,
    /// Entries in the stream.
    pub entries: u64,
    /// Up to which they were given to the thread.
    pub read_to: EntryId,
    /// Since when the others wait, about.
    pub unread_since: Option<Instant>,
    /// The first of the others.
    pub unread: Kept,
    /// Those that were and are not settled.
    pub sent: VecDeque<Sent>,
    /// Batches that the thread has.
    pub batches: usize,
    /// The same of entries that are not the queue's any more.
    pub earlier_batches: usize,
    /// By key.
    pub waiting: HashMap<Arc<[u8]>, Entries>,
    /// Who waits until all up to an entry are written.
    pub flushes: Vec<(EntryId, Blocked)>,
    /// Entries that were refused, in the other stream.
    pub failed: u64,
    /// Why the next entry can't be written.
    pub held: Option<String>,
}

impl Queue {
    fn new(name: &str) -> Queue {
        Queue {
            name: name.into(),
            stream: Str::new(format!("{WAITING}{name}").as_bytes()),
            live: Arc::new(AtomicBool::new(true)),
            state: State::Unknown,
            segments: Vec::new(),
            is_ours: false,
            last: EntryId::default(),
            entries: 0,
            read_to: EntryId::default(),
            unread_since: None,
            unread: Kept::default(),
            sent: VecDeque::new(),
            batches: 0,
            earlier_batches: 0,
            waiting: HashMap::new(),
            flushes: Vec::new(),
            failed: 0,
            held: None,
        }
    }

    /// Its stream.
    pub fn stream(&self) -> Str {
        self.stream.share()
    }

    /// The stream of what was refused.
    pub fn failed_stream(&self) -> Str {
        Str::new(format!("{FAILED}{}", self.name).as_bytes())
    }

    /// Which identity made an entry, and where its entries end.
    pub fn segment_of(&self, id: EntryId) -> Option<(&Segment, Option<EntryId>)> {
        let at = self.segments.iter().rposition(|segment| segment.after < id)?;
        Some((&self.segments[at], self.segments.get(at + 1).map(|next| next.after)))
    }

    /// Entries that the thread doesn't have.
    pub fn unread_count(&self) -> u64 {
        self.entries.saturating_sub(self.sent.len() as u64)
    }

    /// An entry waits. Returns what is known of its key, to be completed.
    pub fn add(&mut self, target: &Arc<[u8]>) -> &mut Entries {
        let entries = self.waiting.entry(target.clone()).or_default();
        entries.count += 1;
        (entries.is_deleted, entries.is_shown) = (false, false);
        entries
    }

    /// One waits no more. Returns what is known of the key, where it was the last one.
    pub fn settle(&mut self, target: &[u8]) -> Option<Entries> {
        self.entries = self.entries.saturating_sub(1);
        let entries = self.waiting.get_mut(target)?;
        entries.count = entries.count.saturating_sub(1);
        (entries.count == 0).then(|| self.waiting.remove(target))?
    }

    /// Nothing is known any more. What the thread has is given up, and what it has written by then counts no more.
    fn forget(&mut self) {
        self.live.store(false, Ordering::Release);
        let earlier = self.earlier_batches + self.batches;
        let flushes = std::mem::take(&mut self.flushes);
        for (_, client) in flushes {
            client.answer(Value::error("ERR writethrough: the queue is another one now"));
        }
        *self = Queue { earlier_batches: earlier, ..Queue::new(&self.name) };
    }

    /// The first entry that waits.
    pub fn oldest(&self) -> Option<EntryId> {
        self.sent.front().map(|sent| sent.id)
    }
}

/// By the mappings' names.
pub static QUEUES: MainThread<HashMap<Box<[u8]>, Queue>> = MainThread::new();

/// There is one: each write asks.
static ANY: AtomicBool = AtomicBool::new(false);

/// Some mapping is written behind, or was.
pub fn any() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// Looks at the streams of all mappings, soon.
pub fn start(module: &Module) {
    {
        let mut queues = QUEUES.get();
        for config in module.catalog.configs().iter() {
            let name = config.name();
            queues.entry(name.as_bytes().into()).or_insert_with(|| Queue::new(name));
        }
    }
    ANY.store(true, Ordering::Relaxed);
    drain::soon();
}

/// No entry of such a mapping is there, and none is to come.
pub fn remove(name: &[u8]) {
    let mut queues = QUEUES.get();
    if queues.get(name).is_some_and(|queue| queue.earlier_batches == 0) {
        queues.remove(name);
    }
    ANY.store(!queues.is_empty(), Ordering::Relaxed);
}

/// The data set is another one: a load, a new role, a swap.
pub fn reset_all(module: &Module) {
    QUEUES.get().values_mut().for_each(Queue::forget);
    start(module);
}

/// The data set was emptied, and the streams with it; or one of them was deleted.
pub fn emptied(module: &Module, name: Option<&[u8]>) {
    if !any() {
        return;
    }
    for queue in QUEUES.get().values_mut() {
        if name.is_some_and(|name| name != queue.name.as_bytes()) {
            continue;
        }
        if queue.entries > 0 {
            module.shared.stats.behind_lost.add(queue.entries as usize);
            log(
                Level::Warning,
                &format!(
                    "the queue of {:?} is gone, and with it {} entries that were not written",
                    &*queue.name, queue.entries
                ),
            );
        }
        queue.forget();
    }
    drain::soon();
}

/// A key has changed: one of the streams, or a hash.
pub fn notice(module: &Module, change: &KeyChange) {
    if !any() {
        return;
    }
    let is_gone = || matches!(change.event, b"del" | b"expired" | b"rename_from" | b"move_from");
    let is_ours = |_: &&[u8]| is_gone() && change.db() == module.config.db;
    if let Some(name) = change.key.strip_prefix(WAITING.as_bytes()).filter(is_ours) {
        emptied(module, Some(name));
    } else if let Some(queue) = QUEUES.get().get_mut(name_of(change.key)) {
        if let Some(entries) = queue.waiting.get_mut(change.key) {
            entries.is_shown = false;
        }
    }
}

fn name_of(target: &[u8]) -> &[u8] {
    &target[..target.iter().position(|&b| b == b':').unwrap_or(target.len())]
}

/// True when entries of this final key wait, or may.
pub fn is_waiting(target: &[u8]) -> bool {
    any()
        && QUEUES.get().get(name_of(target)).is_some_and(|queue| {
            queue.state != State::Known
                || queue.earlier_batches > 0
                || queue.waiting.contains_key(target)
        })
}

/// The hash is newer than what was read or written of its row. Where it is written through, an entry is known: on
/// a guess no write is answered and not shown.
pub fn is_newer(settled: &Settled, is_changed: bool) -> bool {
    let has_entry = |queue: &Queue| queue.waiting.contains_key(&settled.target[..]);
    match settled.mapping.is_behind {
        true => is_waiting(&settled.target) || is_changed,
        false => any() && QUEUES.get().get(name_of(&settled.target)).is_some_and(has_entry),
    }
}

/// Whether the last entry of a missing key deletes its row: then there is no row when it is written.
pub fn is_deleted(target: &[u8]) -> bool {
    QUEUES.get().get(name_of(target)).is_some_and(|queue| {
        queue.state == State::Known
            && queue.earlier_batches == 0
            && queue.waiting.get(target).is_some_and(|entries| entries.is_deleted)
    })
}

/// What was read of this key is older than its entries. Where its hash was compared, that is done again.
pub fn overtaken(module: &Module, target: &[u8], compares: bool) {
    let is_later = QUEUES.get().get_mut(name_of(target)).is_some_and(|queue| {
        queue.waiting.get_mut(target).map(|entries| entries.is_doubtful |= compares).is_some()
    });
    if !is_later {
        module.stale_keys.add_later(target, held::LOOK_AGAIN);
    }
}
