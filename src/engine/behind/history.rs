//! What was known of positions before they are read again: the stream, or the database, may be of an earlier time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::{Batch, News, KEPT};
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
    pub(super) fn confirm(&mut self, batch: &Batch, at: EntryId, now: Instant) {
        self.confirmed.insert(batch.identity.clone(), (at, now));
    }

    /// The database says that all up to `at` are written. What is new about that.
    pub(super) fn find(&mut self, batch: &Batch, at: EntryId) -> Vec<News> {
        let mut news = Vec::new();
        let is_ahead = batch.ends.is_some_and(|end| at > end);
        if is_ahead && self.found_older.insert(batch.identity.clone()) {
            news.push(News::FoundOlder);
        }
        let confirmed = self.confirmed.get(&batch.identity);
        // What was kept for too long is no sign of anything.
        if confirmed.is_some_and(|(before, told)| *before > at && told.elapsed() < KEPT) {
            self.confirmed.remove(&batch.identity);
            news.push(News::DatabaseOlder);
        }
        news
    }
}
