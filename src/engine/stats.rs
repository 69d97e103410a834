//! Counters that any thread adds to and INFO shows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::percentiles::Percentiles;
use crate::model::failure::Class;

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
#[derive(Default)]
pub struct Stats {
    /// Writes whose client was told that they are committed.
    pub acknowledged: Counter,
    /// Writes that PostgreSQL refused, by the class of the SQLSTATE.
    refused: [Counter; Class::ALL.len()],
    /// Writes whose client was told that its time is up.
    pub timed_out: Counter,
    /// Writes that were never sent, since their client had gone.
    pub abandoned: Counter,
    /// Writes refused because the database was away.
    pub down: Counter,
    /// Of these, the ones because it answers, and takes no writes.
    pub read_only: Counter,
    /// Writes refused because too many were waiting.
    pub busy: Counter,
    /// Writes refused before the database: bad input.
    pub bad_input: Counter,
    /// Transactions that did nothing, since a row was not what one of their commands expects.
    pub unmet: Counter,
    /// Transactions that were committed.
    pub transactions: Counter,
    /// Writes for which the server waited: MULTI, scripts, RENAME and its like.
    pub sync: Counter,
    /// Writes that wait in a queue now.
    pub waiting: Counter,
    /// Writes that may be committed or not: their connection was lost.
    pub unsettled: Counter,
    /// Rows that were loaded for a read, or found not to be there.
    pub loads: Counter,
    /// Of these, those that were not there.
    pub load_misses: Counter,
    /// Reads that waited for a row that was being loaded already.
    pub load_shared: Counter,
    /// Loads and reads that ended in an error.
    pub load_errors: Counter,
    /// Reads of a row that was known not to be there.
    pub negative_hits: Counter,
    /// From the read of a missing row to the row.
    pub load: Timing,
    /// Entries of queues that are written behind that PostgreSQL has.
    pub behind_written: Counter,
    /// Of such entries, those that it has refused.
    pub behind_refused: Counter,
    /// Of such entries, those that were gone before they were written: FLUSHALL, DEL of the stream.
    pub behind_lost: Counter,
    /// How often a queue was found older than the table.
    pub behind_found_older: Counter,
    /// How often the database was found at an earlier time than it had confirmed.
    pub behind_database_older: Counter,
    /// Batches that workers took.
    pub batches: Counter,
    /// Statements that were committed.
    pub statements: Counter,
    /// Rows in committed statements.
    pub rows: Counter,
    /// Statements that were tried again.
    pub retries: Counter,
    /// Statements that ended in a deadlock or a serialization failure, or were out of date.
    pub conflicts: Counter,
    /// Statements that met a row that somebody else had locked.
    pub locked: Counter,
    /// Statements that ran out of time in the database.
    pub canceled: Counter,
    /// Connections that were lost with a statement under way.
    pub lost: Counter,
    /// Statements for which no connection could be had.
    pub unconnected: Counter,
    /// How long committed statements took, in microseconds.
    pub commit: Timing,
    /// How long clients waited for a committed write, in microseconds.
    pub write: Timing,
    /// Rows in a committed statement.
    pub statement_rows: Percentiles,
    last_error: Mutex<String>,
}

/// How long something took: the last minute, and all of it.
#[derive(Default)]
pub struct Timing {
    /// The last minute, in microseconds.
    pub percentiles: Percentiles,
    /// The sum since the module was loaded, in microseconds.
    pub total: Counter,
    /// The longest since somebody has asked, in microseconds.
    peak: AtomicU64,
}

impl Timing {
    /// Something ended `now`.
    pub fn record(&self, now: Instant, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.percentiles.record(now, took);
        self.total.0.fetch_add(took, Relaxed);
        if took > self.peak.load(Relaxed) {
            self.peak.fetch_max(took, Relaxed);
        }
    }

    /// The longest since the last call.
    pub fn take_peak(&self) -> Duration {
        match self.peak.load(Relaxed) {
            0 => Duration::ZERO,
            _ => Duration::from_micros(self.peak.swap(0, Relaxed)),
        }
    }
}

impl Stats {
    /// A statement of so many rows was committed.
    pub fn committed(&self, rows: usize, now: Instant, took: Duration) {
        self.statements.add(1);
        self.rows.add(rows);
        self.statement_rows.record(now, rows as u64);
        self.commit.record(now, took);
    }

    /// PostgreSQL refused a write.
    pub fn refuse(&self, class: Class) {
        self.refused[class as usize].add(1);
    }

    /// How many writes PostgreSQL refused for this class of reasons.
    pub fn refused(&self, class: Class) -> u64 {
        self.refused[class as usize].get()
    }

    /// Remembers what went wrong last. It must hold no row's values.
    pub fn set_last_error(&self, error: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// What went wrong last, or nothing.
    pub fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
