//! The queue, its workers, and what they need of the world: a [`Store`] and [`Completions`].

#[cfg(debug_assertions)]
mod failpoint;
pub mod health;
pub mod job;
pub mod lost;
mod parked;
mod queue;
pub mod stats;
mod worker;

use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::thread::JoinHandle;

pub use health::Health;
pub use job::{Answer, Completions, Image, Job, JobId, Row, RowState, Settled};
pub use lost::{Backend, Fate, Lost};
pub use stats::Stats;

use crate::batch::Form;
use crate::failure::{Failure, Refusal};
use crate::mapping::{Mapping, Mappings};
use queue::Queue;

/// A database, as one worker sees it.
pub trait Store: Send {
    /// Runs one statement for these rows, commits it, and tells what the database holds then, one
    /// outcome a row in the same order.
    fn apply(
        &mut self,
        mapping: &Mapping,
        form: &Form,
        rows: &[Row],
    ) -> Result<Vec<Outcome>, Trouble>;

    /// Finds out what became of a statement for these rows whose connection was lost, and makes sure
    /// that it does nothing any more.
    fn resolve(&mut self, lost: &Lost, mapping: &Mapping, rows: &[Row]) -> Result<Fate, Trouble>;

    /// The batch is done: the connection may serve others.
    fn release(&mut self);
}

/// What a committed statement did to one row: what the database holds (`None`: no such row; for a
/// delete, what it held), or why this row alone was left out.
pub type Outcome = Result<Option<Image>, Failure>;

/// Why a whole statement did nothing, or may have done nothing.
#[derive(Debug)]
pub enum Trouble {
    /// The database refused it: one of its rows is bad.
    Refused(Refusal),
    /// A conflict with another transaction; the same statement may succeed now.
    Conflict(Refusal),
    /// What it asks for can't be, whatever the row holds.
    Unfit(String),
    /// Somebody else holds a lock on one of its rows.
    Locked,
    /// It ran out of time in the database.
    Canceled,
    /// The table is not what the statement took it for; this is what it is now.
    Stale(Arc<Mappings>),
    /// No connection could be had; nothing was sent.
    Down(String),
    /// The connection is of no more use, or there is none just now. Nothing was written.
    Retry(String),
    /// The connection was lost after the statement was sent: its outcome is not known.
    Lost(Lost),
}

/// What the workers share.
pub struct Shared {
    /// Whether the database can be reached.
    pub health: Health,
    /// What happened.
    pub stats: Stats,
    /// This server follows another one: what was not sent is not written any more.
    pub demoted: AtomicBool,
    /// Writes in one batch at most.
    pub batch_max: usize,
}

/// The running workers.
pub struct Engine {
    queue: Arc<Queue>,
    workers: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Starts one worker a store.
    pub fn start(
        shared: &Arc<Shared>,
        completions: &Arc<dyn Completions>,
        stores: Vec<Box<dyn Store>>,
    ) -> std::io::Result<Engine> {
        let queue = Arc::new(Queue::new(stores.len()));
        let mut workers = Vec::with_capacity(stores.len());
        for (seat, store) in stores.into_iter().enumerate() {
            let (queue, shared) = (queue.clone(), shared.clone());
            let worker = worker::Worker::new(seat, queue, shared, completions.clone(), store);
            let thread = std::thread::Builder::new().name(format!("wt-worker-{seat}"));
            workers.push(thread.spawn(|| worker.run())?);
        }
        Ok(Engine { queue, workers })
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
        self.workers.iter().all(JoinHandle::is_finished)
    }
}
