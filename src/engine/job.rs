//! A write on its way: the change, its client's time, and the ticket that answers the client.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::claim::Claim;
use super::in_doubt::InDoubt;
use super::progress::Progress;
use super::term::Term;
use super::transaction::Transaction;
use crate::model::change::Change;
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;
use crate::plan::group;

/// Identifies a write between the worker and the server's main thread.
pub type JobId = u64;

/// One write on its way to the database.
#[derive(Debug)]
pub struct Job {
    /// What it does.
    pub change: Change,
    /// When its client is told that its time is up.
    pub deadline: Instant,
    /// In which term it was taken: it is written in no other.
    pub term: Term,
    /// What it waits for, with the other writes of its row.
    pub progress: Progress,
    /// A statement with this write was lost: it may be committed.
    pub in_doubt: Option<Arc<InDoubt>>,
    /// With these other writes, or not at all.
    pub transaction: Option<Arc<Transaction>>,
    /// How many tries have failed.
    pub tries: u32,
    /// Whether it may still be sent, or given up.
    pub claim: Arc<Claim>,
    /// What its deadline is made of, as its client reads it: `timeout_ms = 3000`.
    pub limit: Limited,
    ticket: Ticket,
}

/// How long somebody waits, and the option that says so.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limited(pub Option<(&'static str, Duration)>);

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Some((option, time)) => write!(f, "within {option} = {}", time.as_millis()),
            None => f.write_str("in time"),
        }
    }
}

/// A row of a statement, made of jobs.
pub type Row = group::Row<Job>;

/// Where the outcomes of writes go. `push` is called by worker threads.
pub trait Completions: Send + Sync {
    /// Hands over what was settled, in order.
    fn push(&self, settled: Vec<Settled>);
}

/// The outcome of the writes that were one row of a statement.
#[derive(Debug)]
pub struct Settled {
    /// The final key.
    pub target: Arc<[u8]>,
    /// By which reading of the catalog the row's columns are numbered.
    pub mapping: Arc<Mapping>,
    /// Each write with its answer, in order.
    pub answers: Vec<(JobId, Answer)>,
    /// What is known of the row now.
    pub state: RowState,
    /// The only write set every column that the row has besides its key, each to the very text that
    /// came back.
    pub as_written: bool,
    /// A first try may have done before what this one found done.
    pub in_doubt: bool,
    /// The next one is of the same transaction: both are shown at once.
    pub is_followed: bool,
}

/// A write's answer: what later writes of the same statement have added to the number that it
/// answers with (0 but for increments), or why it failed.
pub type Answer = Result<i64, Failure>;

/// What is known of a row.
#[derive(Debug)]
pub enum RowState {
    /// The database holds this.
    Present(Image),
    /// The database held the row, and it was deleted.
    Deleted,
    /// The database holds no such row.
    Absent,
    /// Nothing new: the write changed nothing.
    Unchanged,
    /// The write may have been committed; what the cache holds can't be trusted.
    Unknown,
}

/// A row as the database returned it: the text of every mapped column in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    bytes: Vec<u8>,
    cells: Vec<Option<Range<usize>>>,
}

impl Image {
    /// The number of cells.
    pub fn width(&self) -> usize {
        self.cells.len()
    }

    /// Adds the next column's value; `None` is NULL.
    pub fn push(&mut self, value: Option<&[u8]>) {
        self.cells.push(value.map(|value| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(value);
            start..self.bytes.len()
        }));
    }

    /// The value of a column of the mapping.
    pub fn get(&self, column: usize) -> Option<&[u8]> {
        self.cells[column].clone().map(|range| &self.bytes[range])
    }
}

/// Some of the rows' writes were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp;

/// Claims the writes of a statement for it: to be called immediately before it is sent, when there is
/// a connection. All or none.
pub fn claim(rows: &[Row]) -> Result<(), GivenUp> {
    let all = || rows.iter().flat_map(|row| &row.members);
    for (at, job) in all().enumerate() {
        if !job.claim.send() {
            all()
                .take(at)
                .filter(|job| job.in_doubt.is_none())
                .for_each(|job| job.claim.take_back());
            return Err(GivenUp);
        }
    }
    Ok(())
}

impl AsRef<Change> for Job {
    fn as_ref(&self) -> &Change {
        &self.change
    }
}

impl Job {
    /// A write that answers through `completions`.
    pub fn new(
        id: JobId,
        change: Change,
        deadline: Instant,
        term: Term,
        completions: Arc<dyn Completions>,
    ) -> Job {
        let ticket = Ticket {
            id,
            target: change.target.clone(),
            mapping: change.mapping.clone(),
            completions: Some(completions),
        };
        Job {
            change,
            deadline,
            term,
            progress: Progress::default(),
            in_doubt: None,
            transaction: None,
            tries: 0,
            claim: Arc::default(),
            limit: Limited::default(),
            ticket,
        }
    }

    /// It stays together with this one: they are of one key, or of one transaction.
    pub fn goes_with(&self, other: &Job) -> bool {
        match (&self.transaction, &other.transaction) {
            (Some(one), Some(another)) => one.id == another.id,
            (None, None) => self.change.target == other.change.target,
            _ => false,
        }
    }

    /// Its number; later writes have higher ones.
    pub fn id(&self) -> JobId {
        self.ticket.id
    }

    /// Ends the job; the caller owes the answer now.
    pub fn finish(mut self) -> JobId {
        self.ticket.completions = None;
        self.ticket.id
    }
}

/// Answers the client with an error when it is dropped unanswered, so that a worker that panics
/// leaves no client waiting.
#[derive(Debug)]
struct Ticket {
    id: JobId,
    target: Arc<[u8]>,
    mapping: Arc<Mapping>,
    completions: Option<Arc<dyn Completions>>,
}

impl fmt::Debug for dyn Completions {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Completions")
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(completions) = self.completions.take() {
            let failure = Failure::TimedOut(
                "the worker stopped before the outcome was known; the write may be committed"
                    .into(),
            );
            completions.push(vec![Settled {
                target: self.target.clone(),
                mapping: self.mapping.clone(),
                answers: vec![(self.id, Err(failure))],
                state: RowState::Unknown,
                as_written: false,
                in_doubt: true,
                is_followed: false,
            }]);
        }
    }
}
