//! The queue, its workers, and what they need of the world: a [`Store`] and [`Completions`].

pub mod behind;
pub mod claim;
#[cfg(debug_assertions)]
mod failpoint;
pub mod health;
pub mod in_doubt;
pub mod job;
mod lock_wait;
mod mailbox;
mod numbers;
pub mod once;
pub mod percentiles;
pub mod progress;
mod queue;
pub mod stats;
pub mod term;
pub mod throttle;
pub mod transaction;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

pub use claim::Claim;
pub use health::Health;
pub use in_doubt::{Backend, Lost, Resolution};
pub use job::{Answer, Completions, Image, Job, JobId, Limited, Row, RowState, Settled};
pub use mailbox::Mailbox;
pub use numbers::Numbered;
pub use once::{Once, Said};
pub use progress::{Progress, Stage};
pub use stats::Stats;
pub use term::{Demoted, Permit, Tag, Term, Terms};
pub use transaction::Transaction;

use crate::config::limits::{Limit, Limits};
use crate::model::failure::{Failure, Refusal};
use crate::model::form::Form;
use crate::model::mapping::{Mapping, Mappings};
use crate::plan::group::Group;
use queue::Queue;

/// A database, as one worker sees it.
pub trait Store: Send {
    /// Runs one statement for these rows, commits it, and tells what the database holds then, one
    /// outcome a row in the same order. The permit is asked immediately before the statement, and
    /// before a COMMIT: a connection may have been waited for.
    fn apply(
        &mut self,
        permit: &Permit,
        mapping: &Mapping,
        form: &Form,
        rows: &[Row],
    ) -> Result<Vec<Outcome>, StoreError>;

    /// Runs statements in order in one transaction, and commits all of it or nothing. `once`: what is done
    /// once, of whose writes each is a statement.
    fn transact(
        &mut self,
        permit: &Permit,
        groups: &[Group<Job>],
        way: Way,
        once: Option<&Once>,
    ) -> Result<Transacted, Undone>;

    /// Finds out what became of statements whose connection was lost, and makes sure that they do
    /// nothing any more.
    fn resolve(&mut self, lost: &Lost, groups: &[Group<Job>]) -> Result<Resolution, StoreError>;

    /// The batch is done: the connection may serve others.
    fn release(&mut self);
}

/// What a committed statement did to one row: what the database holds (`None`: no such row; for a
/// delete, what it held), or why this row alone was left out.
pub type Outcome = Result<Option<Image>, Failure>;

/// How the writes of a transaction become statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In as few as it takes: in any order they do the same.
    Together,
    /// One after the other, as their client has given them; before the first, all rows are locked in the
    /// order of their keys.
    InOrder,
    /// The same without these locks, which a role may not be allowed.
    Unlocked,
}

/// A transaction that is done.
#[derive(Debug)]
pub enum Transacted {
    /// It was committed: the outcomes of each statement, one a row, and the reply where it is stored.
    Now(Vec<Vec<Outcome>>, Option<Vec<u8>>),
    /// It was done before, with this reply. Nothing was done now.
    Before(Vec<u8>),
}

/// A transaction that did nothing, or may have done nothing.
#[derive(Debug)]
pub struct Undone {
    /// Where it failed.
    pub at: At,
    /// Why.
    pub error: Box<StoreError>,
}

/// A part of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Before the first statement.
    Start,
    /// The statement of this number.
    Statement(usize),
    /// After the last one: what is deferred decides at the COMMIT.
    Commit,
}

/// Why a whole statement did nothing, or may have done nothing.
#[derive(Debug)]
pub enum StoreError {
    /// The database refused it: one of its rows is bad.
    Refused(Refusal),
    /// A conflict with another transaction; the same statement may succeed now.
    Conflict(Refusal),
    /// What it asks for can't be, whatever the row holds.
    Unfit(String),
    /// It was rolled back: one of its rows is another one than its write names, or was left out. One
    /// by one they tell which.
    Apart,
    /// A row is not what its transaction expects.
    Unmet(String),
    /// Somebody else holds a lock on one of its rows.
    Locked,
    /// It ran out of time in the database.
    Canceled,
    /// The table is not what the statement took it for; this is what it is now.
    Stale(Arc<Mappings>),
    /// No connection could be had; nothing was sent.
    Down(String),
    /// This server follows another one now. Nothing was written.
    Demoted,
    /// Some of its writes were given up before it was sent: it was not.
    GivenUp,
    /// The connection is of no more use, or there is none just now. Nothing was written.
    Retry(String),
    /// The connection was lost after the statement was sent: its outcome is not known.
    Lost(Lost),
}

impl StoreError {
    /// The same error where COMMIT has not been sent, or was refused: what is lost was not committed.
    pub fn uncommitted(self) -> StoreError {
        match self {
            StoreError::Lost(lost) => StoreError::Retry(lost.reason),
            error => error,
        }
    }
}

/// What the workers share.
pub struct Shared {
    /// Whether the database can be reached.
    pub health: Health,
    /// What happened.
    pub stats: Stats,
    /// Whether this server may write, and since when.
    pub terms: Arc<Terms>,
    /// The options that can change.
    pub limits: Arc<Limits>,
}

/// Makes a worker's [`Store`].
pub type NewStore = Box<dyn Fn() -> Box<dyn Store> + Send + Sync>;

/// The running workers.
pub struct Engine {
    shared: Arc<Shared>,
    completions: Arc<dyn Completions>,
    new_store: NewStore,
    queue: Arc<Queue>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Engine {
    /// Starts as many workers as [`Limit::PoolSize`] says.
    pub fn start(
        shared: &Arc<Shared>,
        completions: &Arc<dyn Completions>,
        new_store: NewStore,
    ) -> std::io::Result<Engine> {
        let engine = Engine {
            shared: shared.clone(),
            completions: completions.clone(),
            new_store,
            queue: Arc::new(Queue::new(Limit::PoolSize.range().1 as usize)),
            workers: Mutex::default(),
        };
        engine.resize(shared.limits.get(Limit::PoolSize) as usize)?;
        Ok(engine)
    }

    /// There shall be so many workers. Those that are too many do what they have begun, and leave.
    /// An error when a thread can't be started: then there are fewer.
    pub fn resize(&self, wanted: usize) -> std::io::Result<()> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|worker| !worker.is_finished());
        let mut result = Ok(());
        for slot in self.queue.resize(wanted) {
            let (queue, shared) = (self.queue.clone(), self.shared.clone());
            let (completions, store) = (self.completions.clone(), (self.new_store)());
            let worker = worker::Worker::new(slot, queue, shared, completions, store);
            let thread = std::thread::Builder::new().name(format!("wt-worker-{slot}"));
            match thread.spawn(|| worker.run()) {
                Ok(worker) => workers.push(worker),
                Err(error) => {
                    self.queue.vacate(slot);
                    result = Err(error);
                }
            }
        }
        result
    }

    /// Hands over writes of one key, in order. No earlier write of the key may be on its way: any
    /// worker takes any write. A worker begins at the next [`Engine::wake`], so that writes that
    /// have come together share a statement.
    pub fn submit(&self, jobs: impl IntoIterator<Item = Job>) {
        self.queue.push(jobs);
    }

    /// Starts a worker for the writes that wait, where one is needed.
    pub fn wake(&self) {
        self.queue.wake();
    }

    /// Ends the workers when they have done what waits.
    pub fn close(&self) {
        self.queue.close();
    }

    /// True when every worker has ended.
    pub fn is_finished(&self) -> bool {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().all(JoinHandle::is_finished)
    }
}
