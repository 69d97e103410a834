//! One worker's view of the database: a pooled connection for each batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use r2d2::PooledConnection;

use super::resolve;
use super::transact;
use super::transaction;
use crate::config::limits::Limits;
use crate::engine::{
    job, At, Job, Lost, Once, Outcome, Permit, Resolution, Row, Store, StoreError, Transacted,
    Undone, Way,
};
use crate::model::failure::{Refusal, READ_ONLY};
use crate::model::form::Form;
use crate::model::mapping::Mapping;
use crate::pg::catalog::Catalog;
use crate::pg::connect::connect_error::too_late;
use crate::pg::connect::connections::Connections;
use crate::pg::connect::pool::Manager;
use crate::pg::error::{classify_connect, explain};
use crate::plan::group::Group;

/// How often the pool is asked why there is no connection yet.
const POOL_SLICE: Duration = Duration::from_millis(50);

/// A [`Store`] on the pool.
pub struct PgStore {
    connections: Connections,
    limits: Arc<Limits>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) session: Option<PooledConnection<Manager>>,
}

impl PgStore {
    /// A store that has no connection yet.
    pub fn new(connections: Connections, limits: Arc<Limits>, catalog: Arc<Catalog>) -> PgStore {
        PgStore { connections, limits, catalog, session: None }
    }

    /// The batch's connection, or one from the pool that is alive.
    pub(super) fn connect(&mut self) -> Result<PooledConnection<Manager>, StoreError> {
        if let Some(session) = self.session.take() {
            return Ok(session);
        }
        let until = Instant::now() + self.connections.limit();
        loop {
            let pool = self.connections.number();
            let reason = match self.connections.get(POOL_SLICE) {
                Ok(mut session) => {
                    let is_of_now = self.connections.is_of_now(&session);
                    if is_of_now && session.is_alive() && session.follow().is_ok() {
                        return Ok(session);
                    }
                    // A dead one, or one of an earlier term, leaves the pool when it is dropped.
                    session.retire();
                    continue;
                }
                Err(error) => error.to_string(),
            };
            // What kept the old pool from connecting may be over.
            if self.connections.number() != pool {
                continue;
            }
            // The pool goes on trying; its last error is known before its time is up.
            let cause = reason.strip_prefix("timed out waiting for connection: ");
            let is_late = Instant::now() >= until && !self.connections.are_all_used();
            if let Some(cause) = cause {
                return Err(classify_connect(cause));
            }
            if is_late {
                return Err(StoreError::Down(too_late(self.limits.connect_timeout())));
            }
        }
    }

    /// What a failure means, with the connection that it came by. `is_final`: a client is about to be told, or
    /// the statement itself is what is wrong.
    pub(super) fn explain(
        &mut self,
        mut session: PooledConnection<Manager>,
        error: StoreError,
        mapping: &Mapping,
        is_final: bool,
    ) -> StoreError {
        let error = match error {
            // The connection leaves the pool when it is dropped.
            StoreError::Lost(_) | StoreError::Retry(_) => {
                session.retire();
                return error;
            }
            // Somebody else's session, then. None of it was done: it names what isn't there, or is.
            StoreError::Refused(refusal) | StoreError::Conflict(refusal)
                if !session.is_direct && is_other_session(&refusal) =>
            {
                session.retire();
                self.connections.distrust();
                return StoreError::Retry(refusal.to_string());
            }
            StoreError::Refused(refusal) if refusal.sqlstate == READ_ONLY => {
                match session.why_read_only() {
                    // Only what a trigger or a foreign table writes to is.
                    Ok(None) => StoreError::Refused(refusal),
                    // All others may be so, too. A new connection finds the server that takes writes.
                    Ok(Some(_)) | Err(_) => {
                        session.retire();
                        self.connections.renew();
                        return StoreError::Retry(refusal.to_string());
                    }
                }
            }
            StoreError::Conflict(_) => {
                // The statement itself may be what is out of date.
                session.forget_statements();
                error
            }
            // Before a client is told, make sure that it is not we who are out of date.
            error if is_final => match self.catalog.newer(&mut session, mapping) {
                Ok(Some(mappings)) => StoreError::Stale(mappings),
                _ => error,
            },
            other => other,
        };
        self.session = Some(session);
        error
    }
}

impl Store for PgStore {
    fn apply(
        &mut self,
        permit: &Permit,
        mapping: &Mapping,
        form: &Form,
        rows: &[Row],
    ) -> Result<Vec<Outcome>, StoreError> {
        if let Some(mappings) = self.catalog.successors(mapping) {
            return Err(StoreError::Stale(mappings));
        }
        let mut session = self.connect()?;
        if let Some(problem) = unfit(mapping, form) {
            let newer = self.catalog.newer(&mut session, mapping);
            self.session = Some(session);
            return Err(newer.ok().flatten().map_or(StoreError::Unfit(problem), StoreError::Stale));
        }
        if job::claim(rows).is_err() {
            self.session = Some(session);
            return Err(StoreError::GivenUp);
        }
        match transaction::apply(&mut session, permit, mapping, form, rows) {
            Ok(outcomes) => {
                self.session = Some(session);
                Ok(outcomes)
            }
            Err(error) => {
                let is_final = is_final(&error, rows.len());
                Err(self.explain(session, error, mapping, is_final))
            }
        }
    }

    fn transact(
        &mut self,
        permit: &Permit,
        groups: &[Group<Job>],
        way: Way,
        once: Option<&Once>,
    ) -> Result<Transacted, Undone> {
        let undone = |at, error: StoreError| Undone { at, error: error.into() };
        let newer = groups.iter().find_map(|group| self.catalog.successors(&group.mapping));
        if let Some(mappings) = newer {
            return Err(undone(At::Start, StoreError::Stale(mappings)));
        }
        let mut session = self.connect().map_err(|error| undone(At::Start, error))?;
        let problems = groups.iter().map(|group| unfit(&group.mapping, &group.form)).enumerate();
        for (at, problem) in problems {
            let Some(problem) = problem else { continue };
            let newer = self.catalog.newer(&mut session, &groups[at].mapping);
            self.session = Some(session);
            let error = newer.ok().flatten().map_or(StoreError::Unfit(problem), StoreError::Stale);
            return Err(undone(At::Statement(at), error));
        }
        if groups.iter().any(|group| job::claim(&group.rows).is_err()) {
            self.session = Some(session);
            return Err(undone(At::Start, StoreError::GivenUp));
        }
        match transact::run(&mut session, permit, groups, way, once) {
            Ok(transacted) => {
                self.session = Some(session);
                Ok(transacted)
            }
            Err(Undone { at, error }) => {
                let mapping = match at {
                    At::Statement(at) => &groups[at].mapping,
                    At::Start | At::Commit => &groups[0].mapping,
                };
                let is_final = way != Way::Together && is_final(&error, 1);
                Err(undone(at, self.explain(session, *error, mapping, is_final)))
            }
        }
    }

    fn resolve(&mut self, lost: &Lost, groups: &[Group<Job>]) -> Result<Resolution, StoreError> {
        let mut session = self.connect()?;
        let resolution = resolve::what_became_of(&mut session, lost, groups)
            .map_err(|error| StoreError::Down(explain(&error)))?;
        self.session = Some(session);
        Ok(resolution)
    }

    fn release(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.used();
        }
    }
}

/// Why no row can take such a statement.
pub(super) fn unfit(mapping: &Mapping, form: &Form) -> Option<String> {
    let Form::Add(column) = form else { return None };
    let info = &mapping.columns[*column].info;
    (!info.numeric).then(|| {
        format!(
            "column {:?} is of type {}; a number can be added to a numeric column only",
            info.name, info.type_name,
        )
    })
}

/// A statement that this session has prepared is unknown in it, or one is there that it hasn't.
fn is_other_session(refusal: &Refusal) -> bool {
    ["26000", "42P05"].contains(&&*refusal.sqlstate)
}

/// Nobody takes the statement of so many rows apart any more, or the statement itself is what is wrong.
pub(super) fn is_final(error: &StoreError, rows: usize) -> bool {
    match error {
        StoreError::Refused(refusal) => rows == 1 || !names_a_row(refusal),
        StoreError::Unfit(_) => true,
        _ => false,
    }
}

/// Class 22 and 23 are about a row's values, and PL/pgSQL's about what a trigger thinks of it; all
/// others are about the statement.
fn names_a_row(refusal: &Refusal) -> bool {
    ["22", "23", "P0"].contains(&refusal.sqlstate.get(..2).unwrap_or_default())
}
