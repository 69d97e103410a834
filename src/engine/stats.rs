//! Counters that any thread adds to and INFO shows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A number that many threads change.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Relaxed);
    }

    /// Takes `n` away; for gauges.
    pub fn sub(&self, n: usize) {
        self.0.fetch_sub(n as u64, Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What happened since the module was loaded.
#[derive(Default, Debug)]
pub struct Stats {
    /// Writes whose client was told that they are committed.
    pub acknowledged: Counter,
    /// Writes that PostgreSQL refused.
    pub refused: Counter,
    /// Writes whose client was told that its time is up.
    pub timed_out: Counter,
    /// Writes refused because the database was away.
    pub down: Counter,
    /// Writes refused because too many were waiting.
    pub busy: Counter,
    /// Writes refused before the database: bad input.
    pub bad_input: Counter,
    /// Writes for which the server waited: MULTI, scripts, RENAME and its like.
    pub sync: Counter,
    /// Writes that wait in a queue now.
    pub waiting: Counter,
    /// Writes that may be committed or not: their connection was lost.
    pub unsettled: Counter,
    /// Batches that workers took.
    pub batches: Counter,
    /// Statements that were committed.
    pub statements: Counter,
    /// Rows in committed statements.
    pub rows: Counter,
    /// Statements that were tried again.
    pub retries: Counter,
    last_error: Mutex<String>,
}

impl Stats {
    /// Remembers what went wrong last. It must hold no row's values.
    pub fn set_last_error(&self, error: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// What went wrong last, or nothing.
    pub fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
