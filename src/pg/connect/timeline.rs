//! The database's timeline: a failover or a recovery begins a new one.
//!
//! What was committed in one timeline may be missing in the next: the standby that became the
//! primary had not received it. Then no cached hash can be trusted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The timeline's name: cluster, database and timeline. NULL on a standby, which has no say. Where
/// commits don't wait for the disk, a crash can lose some; it resets the statistics.
pub const SQL: &str = "CASE WHEN pg_is_in_recovery() THEN NULL ELSE
    (SELECT system_identifier FROM pg_control_system())
    || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())
    || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
    || CASE WHEN current_setting('synchronous_commit') = 'off'
       THEN '/' || (SELECT extract(epoch FROM stats_reset) FROM pg_stat_bgwriter) ELSE '' END END";

/// Where the server doesn't tell.
pub const HIDDEN: &str = "hidden";

/// What the connections have seen.
#[derive(Debug)]
pub struct Timeline {
    known: Mutex<Option<String>>,
    changes: AtomicU64,
    notify: fn(),
}

impl Timeline {
    /// Nothing is known; `notify` is called at each change. By any thread.
    pub fn new(notify: fn()) -> Timeline {
        Timeline { known: Mutex::default(), changes: AtomicU64::new(0), notify }
    }

    /// A new connection says so. It is noted before a statement runs on it.
    /// A standby says nothing.
    pub fn note(&self, told: &str) {
        if told.is_empty() {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() == Some(told) {
            return;
        }
        if known.replace(told.to_string()).is_some() {
            self.doubt();
        }
    }

    /// What was committed is missing, as somebody has found who had written it.
    pub fn doubt(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        (self.notify)();
    }

    /// How often it was another one.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_timeline_is_a_change() {
        let timeline = Timeline::new(|| ());
        timeline.note("7/5/00000001");
        timeline.note("");
        timeline.note("7/5/00000001");
        assert_eq!(timeline.changes(), 0);
        timeline.note("7/5/00000002");
        assert_eq!(timeline.changes(), 1);
    }
}
