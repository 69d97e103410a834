//! How far the entries of each identity are written, as far as a thread knows it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::history::History;
use super::{Batch, BehindStore, Moved, News, Position};
use crate::engine::{Permit, StoreError};
use crate::model::entry_id::EntryId;
use crate::model::failure::Failure;

/// Refused entries of an identity that are remembered, at most; past it the database is asked again.
const REFUSED_MAX: usize = 10_000;

/// Identities that are remembered, at most: servers that start, and slots of a cluster that come and go, make more.
const IDENTITIES_MAX: usize = 100_000;

/// By identity. Nobody else moves a position, but for a node of a cluster that has got its stream: then a step
/// from where it was fails.
#[derive(Default)]
pub(super) struct Positions {
    known: HashMap<Arc<str>, Position>,
    history: History,
}

impl Positions {
    /// Asks for those of a batch that aren't known. Returns what is new about them.
    pub(super) fn read(
        &mut self,
        store: &mut dyn BehindStore,
        permit: &Permit,
        batch: &Batch,
    ) -> Result<Vec<News>, StoreError> {
        let identities = batch.runs.iter().map(|run| &run.identity);
        let unknown = identities.filter(|identity| !self.known.contains_key(*identity));
        let unknown: Vec<Arc<str>> = unknown.cloned().collect();
        if unknown.is_empty() {
            return Ok(Vec::new());
        }
        self.known.extend(store.positions(permit, &batch.name, &unknown)?);
        let (mut older_streams, mut is_database_older) = (0, false);
        for run in batch.runs.iter().filter(|run| unknown.contains(&run.identity)) {
            let at = self.known[&run.identity].at;
            older_streams += usize::from(self.history.is_stream_older(run, at));
            is_database_older |= self.history.is_database_older(&run.identity, at);
        }
        let streams = (older_streams > 0).then_some(News::FoundOlder(older_streams));
        Ok(streams.into_iter().chain(is_database_older.then_some(News::DatabaseOlder)).collect())
    }

    /// Of a run's identity.
    pub(super) fn of(&self, batch: &Batch, run: usize) -> &Position {
        &self.known[&batch.runs[run].identity]
    }

    /// Steps to these entries of a batch's runs.
    pub(super) fn steps<'a>(&self, batch: &'a Batch, ends: &[(usize, EntryId)]) -> Vec<Moved<'a>> {
        let step = |&(run, to): &(usize, EntryId)| {
            let identity: &str = &batch.runs[run].identity;
            Moved { identity, from: self.of(batch, run).at, to }
        };
        ends.iter().map(step).collect()
    }

    /// They are done.
    pub(super) fn moved(&mut self, batch: &Batch, ends: &[(usize, EntryId)], now: Instant) {
        for &(run, to) in ends {
            let identity = &batch.runs[run].identity;
            if let Some(position) = self.known.get_mut(identity) {
                position.at = to;
            }
            self.history.confirm(identity, to, now);
        }
    }

    /// An entry was refused.
    pub(super) fn refused(&mut self, identity: &Arc<str>, id: EntryId, failure: Failure) {
        if let Some(position) = self.known.get_mut(identity) {
            position.refused.insert(id, failure);
            if position.refused.len() > REFUSED_MAX {
                self.known.remove(identity);
            }
        }
    }

    /// The database is asked again.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// A batch is done.
    pub(super) fn limit(&mut self) {
        if self.known.len() > IDENTITIES_MAX {
            self.known.clear();
        }
        self.history.limit(IDENTITIES_MAX);
    }
}
