//! What was known of positions before they are read again: the stream, or the database, may be of an earlier time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::{Run, KEPT};
use crate::model::entry_id::EntryId;

/// By identity.
#[derive(Default)]
pub(super) struct History {
    /// Up to where the database has confirmed entries, and when.
    confirmed: HashMap<Arc<str>, (EntryId, Instant)>,
    /// Those of which the database was found to have more entries than the stream.
    found_older: HashSet<Arc<str>>,
}

impl History {
    /// The database has confirmed all up to this entry.
    pub(super) fn confirm(&mut self, identity: &Arc<str>, at: EntryId, now: Instant) {
        self.confirmed.insert(identity.clone(), (at, now));
    }

    /// The database has more entries of it, up to `at`, than the stream holds, or held; and that is new.
    pub(super) fn is_stream_older(&mut self, run: &Run, at: EntryId) -> bool {
        run.ends.is_some_and(|end| at > end) && self.found_older.insert(run.identity.clone())
    }

    /// The database has entries up to `at`, which is less than it had confirmed.
    pub(super) fn is_database_older(&mut self, identity: &Arc<str>, at: EntryId) -> bool {
        let confirmed = self.confirmed.get(identity);
        // What was kept for too long is no sign of anything.
        let is_older =
            confirmed.is_some_and(|(before, told)| *before > at && told.elapsed() < KEPT);
        if is_older {
            self.confirmed.remove(identity);
        }
        is_older
    }

    /// So many identities are too many.
    pub(super) fn limit(&mut self, most: usize) {
        if self.confirmed.len() > most {
            *self = History::default();
        }
    }
}
