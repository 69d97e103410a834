//! What the module keeps in the database: triggers, tokens of WT.ONCE, and positions of queues.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::{Monitor, WATCH_TIMEOUT};
use crate::model::mapping::Mapping;
use crate::pg::connect::connections::Connections;
use crate::pg::connect::session::Session;
use crate::pg::error::explain;
use crate::pg::follow::{self, Made};
use crate::pg::statement::{behind, once};

impl Monitor {
    /// What has changed before it was made is not in it.
    pub(super) fn doubt_journal(&self, is_new: bool) {
        if is_new {
            self.journal_reader.doubt();
        }
    }

    /// Makes the triggers by which other programs' writes are noted, where they are missing. What can't be made
    /// is told once.
    pub(super) fn make_triggers(&self, session: &mut Session) {
        let Ok(mappings) = self.catalog.mappings() else { return };
        if !self.journal_reader.follows() || !self.shared.terms.is_master() {
            return;
        }
        for mapping in mappings.iter() {
            let mut missing = self.triggers_missing.lock().unwrap_or_else(PoisonError::into_inner);
            let problem = match follow::make(session, mapping) {
                Ok((Made::All, tables)) => {
                    self.note_what_has_left(session, mapping, tables);
                    // Whoever has made them may not have noted that it may all have changed.
                    if missing.contains(&mapping.name) && follow::note_all(session, mapping).is_ok()
                    {
                        missing.remove(&mapping.name);
                    }
                    continue;
                }
                Ok((Made::WhatMayBeMade, tables)) => {
                    self.note_what_has_left(session, mapping, tables);
                    "some of them only the tables' owner can make: without them what logical \
                     replication writes, and sessions with session_replication_role = replica, \
                     isn't noticed"
                        .to_string()
                }
                Err(error) => {
                    format!("{}; other programs' writes aren't noticed", explain(&error))
                }
            };
            if missing.insert(mapping.name.clone()) {
                (self.log)(&format!(
                    "the triggers that follow {:?} can't be made: {problem} until somebody makes them: \
                     WT.TRIGGERS prints the SQL",
                    mapping.name
                ));
            }
        }
    }

    /// Rows that leave with a partition, detached or dropped, fire no trigger. Where that can't be noted now, it is
    /// when the tables are looked at again.
    fn note_what_has_left(
        &self,
        session: &mut Session,
        mapping: &Mapping,
        tables: BTreeSet<String>,
    ) {
        let mut all = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let has_left = all.get(&mapping.name).is_some_and(|before| !before.is_subset(&tables));
        if !has_left || follow::note_all(session, mapping).is_ok() {
            all.insert(mapping.name.clone(), tables);
        }
    }

    /// Deletes tokens of WT.ONCE whose time is up, and positions of queues that have gone for good. False when
    /// there may be more, or it could not be done.
    pub(super) fn trim(&self, connections: &Connections) -> bool {
        if !self.shared.terms.is_master() {
            return true;
        }
        let Ok(mut session) = connections.get(WATCH_TIMEOUT) else { return false };
        let trimmed = once::trim(&mut session)
            .and_then(|has_more| Ok(behind::trim(&mut session)? || has_more));
        match trimmed {
            Ok(has_more) => !has_more,
            Err(error) => {
                self.shared.stats.set_last_error(explain(&error));
                session.retire();
                true
            }
        }
    }
}
