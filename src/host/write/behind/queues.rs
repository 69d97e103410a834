//! The queues of all mappings, and what happens to them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use super::place::{self, Which};
use super::queue::{Flush, Queue, State};
use super::share::Sums;
use super::unread::Unread;
use super::{attach::PAUSE, drain, known};
use crate::host::ffi::{self, log, KeyChange, Level};
use crate::host::module::{MainThread, Module};
use crate::model::entry_id::EntryId;
use crate::model::map::Map;
use crate::model::slot::Slot;

/// One mapping's.
pub struct Queues {
    /// The mapping's name.
    pub name: Arc<str>,
    /// In so many slots it was looked for streams. Until it was in all, each key may have entries.
    pub found: usize,
    /// Those that have a stream.
    pub by_slot: HashMap<Slot, Queue>,
    /// Those that are to be looked at: not [`State::Known`].
    pub unknown: BTreeSet<Slot>,
    /// Those that have something for the thread, in this order.
    pub due: VecDeque<Slot>,
    /// Since when the entries of these wait, about.
    pub due_since: Option<Instant>,
    /// Batches that the thread has.
    pub batches: usize,
    /// What all of them have together.
    pub sums: Sums,
    /// Why the next entry can't be written.
    pub held: Option<String>,
    /// Clients of WT.FLUSH: it isn't known yet what they wait for.
    pub flushes: Vec<Flush>,
}

impl Queues {
    fn new(name: &str) -> Queues {
        Queues {
            name: name.into(),
            found: 0,
            by_slot: HashMap::new(),
            unknown: BTreeSet::new(),
            due: VecDeque::new(),
            due_since: None,
            batches: 0,
            sums: Sums::default(),
            held: None,
            flushes: Vec::new(),
        }
    }

    /// It was looked for all streams.
    pub fn is_found(&self) -> bool {
        self.found >= place::slots()
    }

    /// A slot may have a stream that nothing is known of.
    pub fn look_at(&mut self, slot: Slot) {
        let new = || Queue::new(&self.name, slot, &self.sums);
        let queue = self.by_slot.entry(slot).or_insert_with(new);
        if queue.state != State::Known {
            self.unknown.insert(slot);
        }
    }

    /// What is known of a queue is wrong, or will be: it is looked at again.
    pub fn forget(&mut self, slot: Slot) {
        if let Some(queue) = self.by_slot.get_mut(&slot) {
            queue.forget();
            self.unknown.insert(slot);
        }
    }

    /// The data set is another one.
    fn forget_all(&mut self) {
        let slots: Vec<Slot> = self.by_slot.keys().copied().collect();
        for slot in slots {
            self.forget(slot);
            if let Some(queue) = self.by_slot.get_mut(&slot) {
                (queue.gone, queue.has_come) = (0, false);
            }
        }
    }

    /// More is known of a queue. One that has nothing is not kept.
    pub fn became(&mut self, slot: Slot, state: State) {
        let Some(queue) = self.by_slot.get_mut(&slot) else { return };
        queue.state = state;
        if state != State::Known {
            return;
        }
        self.unknown.remove(&slot);
        match queue.is_nothing() {
            true => drop(self.by_slot.remove(&slot)),
            false => self.make_due(slot),
        }
    }

    /// A queue may have something for the thread.
    pub fn make_due(&mut self, slot: Slot) {
        if let Some(queue) = self.by_slot.get_mut(&slot) {
            if !std::mem::replace(&mut queue.is_due, true) {
                if self.due.is_empty() {
                    self.due_since = Some(Instant::now());
                }
                self.due.push_back(slot);
            }
        }
    }

    /// There are entries for a batch of this size.
    pub fn is_full(&self, size: u64) -> bool {
        let due = self.due.iter().filter_map(|slot| self.by_slot.get(slot));
        let mut queues = due.clone().filter(|queue| !queue.flushes.is_empty());
        queues.next().is_some() || due.map(Queue::unread_count).sum::<u64>() >= size
    }

    /// Those that are not known are looked at in the next turn.
    pub fn look_now(&mut self) {
        for slot in &self.unknown {
            if let Some(queue) = self.by_slot.get_mut(slot) {
                queue.rests_until = None;
            }
        }
    }

    /// It is known now what the clients of WT.FLUSH wait for: what other nodes have is not meant.
    pub fn begin_flushes(&mut self) {
        let is_to_come =
            |slot: &Slot| self.by_slot.get(slot).is_some_and(|queue| queue.rests_until.is_none());
        if self.flushes.is_empty() || !self.is_found() || self.unknown.iter().any(is_to_come) {
            return;
        }
        for flush in std::mem::take(&mut self.flushes) {
            let with_entries = self.by_slot.values_mut().filter(|queue| queue.entries.get() > 0);
            with_entries.for_each(|queue| queue.flushes.push((queue.last, flush.clone())));
            flush.done();
        }
    }

    /// An entry was added. `entry`: what it does, where that is known.
    pub fn added(&mut self, slot: Slot, id: EntryId, entry: Option<Unread>) {
        if let Some(queue) = self.by_slot.get_mut(&slot) {
            if let Some(entry) = entry {
                queue.unread.push(queue.unread_count(), entry);
            }
            queue.entries.set(queue.entries.get() + 1);
            queue.last = id;
            self.make_due(slot);
        }
    }

    /// A queue's stream is gone.
    fn lost(&mut self, module: &Module, slot: Slot) {
        let Some(queue) = self.by_slot.get_mut(&slot) else { return };
        let entries = queue.entries.get();
        match place::is_cluster() {
            true => queue.gone += entries,
            false => count_lost(module, &self.name, entries),
        }
        self.forget(slot);
    }
}

/// Entries are gone that were not written.
pub fn count_lost(module: &Module, name: &str, entries: u64) {
    if entries > 0 {
        module.shared.stats.behind_lost.add(entries as usize);
        let text = format!(
            "the queue of {name:?} is gone, and with it {entries} entries that were not written"
        );
        log(Level::Warning, &text);
    }
}

/// By the mappings' names.
pub static QUEUES: MainThread<Map<Box<[u8]>, Queues>> = MainThread::new();

/// There is one: each write asks.
static ANY: AtomicBool = AtomicBool::new(false);

/// Some mapping is written behind, or was.
pub fn any() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// Does something with a queue that is there.
pub fn with<T>(name: &[u8], slot: Slot, run: impl FnOnce(&mut Queue) -> T) -> Option<T> {
    QUEUES.get().get_mut(name)?.by_slot.get_mut(&slot).map(run)
}

/// Looks for the streams of all mappings, soon.
pub fn start(module: &Module) {
    {
        let mut queues = QUEUES.get();
        for config in module.catalog.configs().iter() {
            let name = config.name();
            queues.entry(name.as_bytes().into()).or_insert_with(|| Queues::new(name));
        }
    }
    ANY.store(true, Ordering::Relaxed);
    drain::soon();
}

/// No entry of such a mapping is there, and none is to come.
pub fn remove(name: &[u8]) {
    let mut queues = QUEUES.get();
    queues.remove(name);
    ANY.store(!queues.is_empty(), Ordering::Relaxed);
}

/// The data set is another one: a load, a new role, a swap.
pub fn reset_all(module: &Module) {
    for queues in QUEUES.get().values_mut() {
        queues.found = 0;
        queues.forget_all();
    }
    start(module);
}

/// The data set was emptied, and the streams with it.
pub fn emptied(module: &Module) {
    if !any() {
        return;
    }
    for queues in QUEUES.get().values_mut() {
        count_lost(module, &queues.name, queues.sums.entries.get());
        queues.forget_all();
    }
    drain::soon();
}

/// The stream of this queue is gone, whatever was told of it.
pub fn lost(module: &Module, name: &str, slot: Slot) {
    if let Some(queues) = QUEUES.get().get_mut(name.as_bytes()) {
        queues.lost(module, slot);
    }
    drain::soon();
}

/// Nothing can be done with this queue for a while. It is read again then.
pub fn rest(name: &str, slot: Slot) {
    if let Some(queues) = QUEUES.get().get_mut(name.as_bytes()) {
        queues.forget(slot);
        if let Some(queue) = queues.by_slot.get_mut(&slot) {
            queue.rests_until = Some(Instant::now() + PAUSE);
        }
    }
    drain::soon();
}

/// A key has changed: one of the streams, or a hash.
pub fn notice(module: &Module, change: &KeyChange) {
    if !any() {
        return;
    }
    known::changed(change.key);
    // All is looked at when this server is a master.
    if module.is_applying() || ffi::server_flags().is_following() {
        return;
    }
    let of = place::of_stream(change.key).filter(|_| change.db() == module.config.db);
    if let Some(of) = of {
        stream_changed(module, change.event, of);
    }
}

/// Somebody else has changed one of the streams: it has gone, or come from another node.
fn stream_changed(module: &Module, event: &[u8], (which, name, slot): (Which, &str, Slot)) {
    let is_gone = matches!(event, b"del" | b"expired" | b"rename_from" | b"move_from");
    // It may come by what makes a stream, in place of RESTORE.
    let comes = event == b"restore" || place::is_cluster();
    if !is_gone && !comes {
        return;
    }
    if let Some(queues) = QUEUES.get().get_mut(name.as_bytes()) {
        if !is_gone {
            queues.look_at(slot);
        }
        match which {
            Which::Waiting if is_gone => queues.lost(module, slot),
            _ => queues.forget(slot),
        }
        if let Some(queue) = queues.by_slot.get_mut(&slot) {
            queue.has_come |= !is_gone;
            if event == b"restore" && which == Which::Waiting {
                // What had gone was with another node, and comes back.
                queue.gone = 0;
            }
        }
    }
    drain::soon();
}
