//! One queue, as the main thread knows it: which keys have entries that wait.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::place::{self, Which};
use super::share::{Share, Sums};
use super::unread::Kept;
use crate::engine::behind::Source;
use crate::host::ffi::{Blocked, Str, Value};
use crate::model::entry_id::EntryId;
use crate::model::map::Map;
use crate::model::slot::Slot;

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

/// A client of WT.FLUSH, which waits for several queues.
#[derive(Clone)]
pub struct Flush(Arc<Mutex<Option<Blocked>>>);

impl Flush {
    pub fn new(client: Blocked) -> Flush {
        Flush(Arc::new(Mutex::new(Some(client))))
    }

    /// A queue has written what the client waits for. It is answered when all have.
    pub fn done(self) {
        if let Some(client) = Arc::into_inner(self.0) {
            let client = client.into_inner().unwrap_or_else(PoisonError::into_inner);
            client.into_iter().for_each(|client| client.answer(Value::OK));
        }
    }

    /// What the client waits for will not be known.
    fn fail(self) {
        let client = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(client) = client {
            client.answer(Value::error("ERR writethrough: the queue is another one now"));
        }
    }
}

/// One mapping's, in a cluster one mapping's and slot's.
pub struct Queue {
    /// The mapping's name.
    pub name: Arc<str>,
    /// Its slot.
    pub slot: Slot,
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
    pub entries: Share,
    /// Up to which they were given to the thread.
    pub read_to: EntryId,
    /// The first of the others.
    pub unread: Kept,
    /// Those that were and are not settled.
    pub sent: VecDeque<Sent>,
    /// It is among those that have something for the thread.
    pub is_due: bool,
    /// Batches that the thread has with entries of it.
    pub batches: usize,
    /// The same of entries that are not the queue's any more.
    pub earlier_batches: usize,
    /// By key.
    pub waiting: Map<Arc<[u8]>, Entries>,
    /// Who waits until all up to an entry are written.
    pub flushes: Vec<(EntryId, Flush)>,
    /// Entries that were refused, in the other stream.
    pub failed: u64,
    /// The stream has gone, with so many entries: it isn't known yet whether to another node.
    pub gone: u64,
    /// The stream has come by RESTORE: from another node of the cluster, as a rule.
    pub has_come: bool,
    /// It is not looked at before.
    pub rests_until: Option<Instant>,
}

impl Queue {
    /// Nothing is known of it.
    pub fn new(name: &Arc<str>, slot: Slot, sums: &Sums) -> Queue {
        Queue {
            name: name.clone(),
            slot,
            stream: place::stream(Which::Waiting, name, slot),
            live: Arc::new(AtomicBool::new(true)),
            state: State::Unknown,
            segments: Vec::new(),
            is_ours: false,
            last: EntryId::default(),
            entries: sums.entries.share(),
            read_to: EntryId::default(),
            unread: Kept::of(&sums.kept),
            sent: VecDeque::new(),
            is_due: false,
            batches: 0,
            earlier_batches: 0,
            waiting: Map::default(),
            flushes: Vec::new(),
            failed: 0,
            gone: 0,
            has_come: false,
            rests_until: None,
        }
    }

    /// Its stream.
    pub fn stream(&self) -> Str {
        self.stream.share()
    }

    /// The stream of what was refused.
    pub fn failed_stream(&self) -> Str {
        place::stream(Which::Failed, &self.name, self.slot)
    }

    /// What a batch calls it.
    pub fn source(&self) -> Source {
        Source { slot: self.slot, live: self.live.clone() }
    }

    /// Entries that the thread doesn't have.
    pub fn unread_count(&self) -> u64 {
        self.entries.get().saturating_sub(self.sent.len() as u64)
    }

    /// It may be one of thousands.
    pub fn shrink(&mut self) {
        self.unread.shrink();
        self.sent.shrink_to(8);
        self.waiting.shrink_to(8);
    }

    /// There is no stream of it, and no batch: a queue that isn't there is no other.
    pub fn is_nothing(&self) -> bool {
        self.state == State::Known
            && self.segments.is_empty()
            && self.entries.get() + self.failed == 0
            && self.batches + self.earlier_batches == 0
    }

    /// Which identity made an entry, and where its entries end.
    pub fn segment_of(&self, id: EntryId) -> Option<(&Segment, Option<EntryId>)> {
        let at = self.segments.iter().rposition(|segment| segment.after < id)?;
        Some((&self.segments[at], self.segments.get(at + 1).map(|next| next.after)))
    }

    /// Behind which entry the next identity begins, and whether no entry had this id: of two that begin behind the
    /// same one nobody could tell later whose the next one is.
    pub fn beginning(&self) -> (EntryId, bool) {
        match self.segments.last() {
            Some(newest) if newest.after >= self.last => (newest.after.next(), true),
            _ => (self.last, false),
        }
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
        self.entries.set(self.entries.get().saturating_sub(1));
        let entries = self.waiting.get_mut(target)?;
        entries.count = entries.count.saturating_sub(1);
        (entries.count == 0).then(|| self.waiting.remove(target))?
    }

    /// The clients of WT.FLUSH for whom nothing waits any more. The greatest id that the stream has had need not be
    /// an entry's.
    pub fn flushed(&mut self) -> Vec<Flush> {
        let first = match self.sent.front() {
            Some(sent) => Some(sent.id),
            None => (self.unread_count() > 0).then(|| self.read_to.next()),
        };
        let is_done = |of: EntryId| first.is_none_or(|first| of < first);
        self.flushes.extract_if(.., |(of, _)| is_done(*of)).map(|(_, flush)| flush).collect()
    }

    /// Nothing is known any more. What the thread has is given up, and what it has written by then counts no more.
    pub fn forget(&mut self) {
        self.live.store(false, Ordering::Release);
        self.flushes.drain(..).for_each(|(_, flush)| flush.fail());
        let sums = Sums { entries: self.entries.sum().clone(), kept: self.unread.sum().clone() };
        *self = Queue {
            earlier_batches: self.earlier_batches + self.batches,
            gone: self.gone,
            has_come: self.has_come,
            is_due: self.is_due,
            ..Queue::new(&self.name, self.slot, &sums)
        };
    }

    /// The first entry that waits.
    pub fn oldest(&self) -> Option<EntryId> {
        self.sent.front().map(|sent| sent.id)
    }
}
