//! What is written behind: batches of entries on their way, one after the other for each mapping, and what
//! became of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::job::{Job, RowState};
use super::{Mailbox, Outcome, Permit, Shared, StoreError, Term};
use crate::model::change::Change;
use crate::model::entry_id::EntryId;
use crate::model::failure::Failure;
use crate::model::map::Map;
use crate::model::mapping::Mapping;
use crate::model::slot::Slot;
use crate::plan::group::Group;

mod drain;
mod errors;
mod history;
mod positions;
mod states;
mod tried;

/// For so long it is kept how far the entries of an identity are written that nobody asks for.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// A database, as the thread sees it that writes one mapping's queue.
pub trait BehindStore: Send {
    /// Up to where the entries of each of these identities are written, and which of them were refused. No
    /// position can move until this is answered.
    fn positions(
        &mut self,
        permit: &Permit,
        name: &str,
        identities: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Position>, StoreError>;

    /// In one transaction: the positions move, and the statements are run in order. Nothing is done where a
    /// position is not [`Moved::from`]: [`StoreError::Retry`].
    fn write(
        &mut self,
        permit: &Permit,
        moved: &[Moved],
        groups: &[Group<Job>],
    ) -> Result<Vec<Vec<Outcome>>, StoreError>;

    /// Notes that an entry was refused: when the position has passed it, it is not taken for a written one.
    fn refuse(
        &mut self,
        permit: &Permit,
        identity: &str,
        id: EntryId,
        failure: &Failure,
    ) -> Result<(), StoreError>;

    /// The batch is done: the connection may serve others.
    fn release(&mut self);
}

/// How far the entries of one identity are written.
#[derive(Debug, Clone, Default)]
pub struct Position {
    /// The last entry.
    pub at: EntryId,
    /// Of entries before this one that are not behind `at` nobody knows whether they were written.
    pub since: EntryId,
    /// Entries before it that were refused, and why.
    pub refused: HashMap<EntryId, Failure>,
}

/// A step of the position.
#[derive(Debug, Clone, Copy)]
pub struct Moved<'a> {
    /// Whose entries.
    pub identity: &'a str,
    /// Where it is.
    pub from: EntryId,
    /// Where it is to be.
    pub to: EntryId,
}

/// An entry: its id and what it does, or why that can't be done.
#[derive(Debug)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// What it does.
    pub change: Result<Change, Failure>,
}

/// A queue of a mapping: it has one, and in a cluster one for each slot.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its slot.
    pub slot: Slot,
    /// Whether the queue still holds the entries that are spoken of.
    pub live: Arc<AtomicBool>,
}

/// Entries of one identity, in order.
pub struct Run {
    /// Their queue.
    pub source: Source,
    /// Who made the entries.
    pub identity: Arc<str>,
    /// They themselves.
    pub entries: Vec<Entry>,
    /// No more entries of this identity follow: the last one that the stream holds, or held.
    pub ends: Option<EntryId>,
}

/// Entries of one mapping that may be written together.
pub struct Batch {
    /// The mapping's name.
    pub name: Arc<str>,
    /// In which term they were read.
    pub term: Term,
    /// Those of one queue are in order.
    pub runs: Vec<Run>,
}

impl Batch {
    fn sources(&self) -> Vec<Source> {
        self.runs.iter().map(|run| run.source.clone()).collect()
    }
}

/// Rows that entries were written of, by their final keys.
pub type WrittenRows = Map<Arc<[u8]>, WrittenRow>;

/// One of them.
#[derive(Debug)]
pub struct WrittenRow {
    /// By which it was written.
    pub mapping: Arc<Mapping>,
    /// What it is now.
    pub state: RowState,
    /// Each column that the last entry sets holds what the entry says, to the letter.
    pub is_as_sent: bool,
}

/// What became of entries.
#[derive(Debug)]
pub struct Report {
    /// The mapping's name.
    pub name: Arc<str>,
    /// What became of them.
    pub news: News,
}

/// See [`Report`].
#[derive(Debug)]
pub enum News {
    /// All up to these are written, but for those that were refused; and what their rows are now.
    Written(Vec<(Source, EntryId)>, WrittenRows),
    /// This one was refused.
    Refused(Source, EntryId, Failure),
    /// The database can't write the next one now, for this reason; it is tried again.
    Held(String),
    /// Of so many identities the database has more entries than the stream held.
    FoundOlder(usize),
    /// The database has fewer entries of an identity than it had confirmed: it is one of an earlier time.
    DatabaseOlder,
    /// The batch has ended.
    End(Vec<Source>),
}

/// Where the reports go.
pub type Reports = Mailbox<Report>;

/// Makes a thread's [`BehindStore`].
pub type NewBehindStore = Box<dyn Fn() -> Box<dyn BehindStore> + Send + Sync>;

/// Where its batches are sent, and the thread.
type Thread = (Sender<Batch>, JoinHandle<()>);

/// The threads, one for each mapping that has had entries.
pub struct Drains {
    shared: Arc<Shared>,
    new_store: NewBehindStore,
    /// What they have done.
    pub reports: Arc<Reports>,
    closed: Arc<AtomicBool>,
    threads: Mutex<HashMap<Arc<str>, Thread>>,
}

impl Drains {
    /// No thread yet. `look` is called, by any thread, when there is a report.
    pub fn new(shared: Arc<Shared>, new_store: NewBehindStore, look: fn()) -> Drains {
        let (reports, (closed, threads)) = (Arc::new(Reports::new(look)), Default::default());
        Drains { shared, new_store, reports, closed, threads }
    }

    /// Hands over a batch, behind those of its mapping. Where no thread can be started it has ended.
    pub fn submit(&self, batch: Batch) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let name = batch.name.clone();
        let is_there = threads.get(&name).is_some_and(|(_, thread)| !thread.is_finished());
        if !is_there {
            let (sender, batches) = channel();
            let drain = drain::Drain::new(
                self.shared.clone(),
                (self.new_store)(),
                self.reports.clone(),
                self.closed.clone(),
            );
            let thread = std::thread::Builder::new().name("wt-behind".into());
            match thread.spawn(move || drain.run(&batches)) {
                Ok(thread) => drop(threads.insert(name.clone(), (sender, thread))),
                Err(_) => return self.end(&batch),
            }
        }
        let Some((sender, _)) = threads.get(&name) else { return };
        if let Err(unsent) = sender.send(batch) {
            self.end(&unsent.0);
        }
    }

    fn end(&self, batch: &Batch) {
        let (name, news) = (batch.name.clone(), News::End(batch.sources()));
        self.reports.push([Report { name, news }]);
    }

    /// Ends the threads when they have done what they are at.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        // A thread that waits for a batch sees that there is nobody who sends one.
        threads.values_mut().for_each(|(sender, _)| *sender = channel().0);
    }

    /// True when every thread has ended.
    pub fn is_finished(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.values().all(|(_, thread)| thread.is_finished())
    }
}
