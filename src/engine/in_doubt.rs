//! Statements whose connection was lost before their outcome was known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use super::Outcome;
use super::Shared;

/// A statement whose connection was lost.
#[derive(Debug)]
pub struct Lost {
    /// How it was lost.
    pub reason: String,
    /// Who ran it.
    pub backend: Arc<Backend>,
    /// Where only the answer to COMMIT is missing: the transaction.
    pub commit: Option<Commit>,
}

/// A process of the database server's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backend {
    /// Its number, which is given again one day.
    pub pid: i32,
    /// When it was started.
    pub started: String,
    /// The timeline of the database (see `pg::connect::timeline`); empty for a standby.
    pub timeline: String,
    /// Another one after each crash of the server: what had not reached the disk is gone, and
    /// numbers of transactions are given again.
    pub period: String,
}

/// A transaction that was ready to commit.
#[derive(Debug)]
pub struct Commit {
    /// Its number.
    pub xid: String,
    /// What it did, one outcome a row of each of its statements, in order.
    pub outcomes: Vec<Outcome>,
}

/// What became of a lost statement.
#[derive(Debug)]
pub enum Resolution {
    /// It was committed, with these outcomes.
    Committed(Vec<Outcome>),
    /// It was not.
    NotCommitted,
    /// It has ended, and can't do anything any more. Whether it was committed isn't known.
    Ended,
    /// It may still be running.
    Running,
}

/// What the writes of a lost statement have in common until they are settled.
pub struct InDoubt {
    /// The statement.
    pub lost: Lost,
    is_over: AtomicBool,
    shared: Arc<Shared>,
}

impl InDoubt {
    /// It counts as unsettled until it is dropped.
    pub fn new(shared: &Arc<Shared>, lost: Lost) -> InDoubt {
        shared.stats.unsettled.add(1);
        InDoubt { lost, is_over: AtomicBool::new(false), shared: shared.clone() }
    }

    /// The statement has ended: its rows can be read, and written, again.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// True after [`InDoubt::end`].
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for InDoubt {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.lost.fmt(f)
    }
}

impl Drop for InDoubt {
    fn drop(&mut self) {
        self.shared.stats.unsettled.sub(1);
    }
}
