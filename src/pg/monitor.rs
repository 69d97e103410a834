//! The thread that finds the way to the database: it reads the catalog when that could not be done
//! at load, and probes while the database is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::catalog::{Catalog, CatalogError};
use super::connect::connect_error::ConnectError;
use super::connect::connections::Connections;
use super::connect::pool::Manager;
use super::connect::session::Session;
use super::journal;
use super::journal::reader::JournalReader;
use crate::config::ConfigError;
use crate::engine::throttle::{more_since, Throttle};
use crate::engine::Shared;
use crate::model::failure::Outage;

mod upkeep;

/// The pause between two probes.
const PROBE_PAUSE: Duration = Duration::from_millis(100);

/// The pause before a document that does not fit the tables is checked again: somebody may be
/// about to create them.
const RECHECK_PAUSE: Duration = Duration::from_secs(1);

/// How often the tables' definitions are looked at.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// How often the journal, the tokens of WT.ONCE and the positions of queues are trimmed.
const TRIM_PAUSE: Duration = Duration::from_secs(60);

/// How often the triggers are looked at.
const TRIGGERS_PAUSE: Duration = Duration::from_secs(5);

/// How long these wait for a connection that the workers leave.
const WATCH_TIMEOUT: Duration = Duration::from_millis(20);

/// Finds the way to the database.
pub struct Monitor {
    /// Makes the connections for probing, outside the pool.
    pub manager: Manager,
    /// Where the checked mappings go.
    pub catalog: Arc<Catalog>,
    /// Where it says whether the database can be reached.
    pub shared: Arc<Shared>,
    /// Where it tells which keys have changed.
    pub journal_reader: Arc<JournalReader>,
    /// Tells the operator what changed.
    pub log: fn(&str),
    /// Seldom enough.
    pub outages: Throttle,
    /// Mappings whose triggers are missing and can't be made, as the log says.
    pub triggers_missing: Mutex<BTreeSet<String>>,
    /// By mapping, the table and its partitions when they were looked at last.
    pub partitions: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Monitor {
    /// One attempt: connects, and reads the catalog where that was not done. `Err` when the
    /// document does not fit the tables.
    pub fn attempt(&self) -> Result<(), ConfigError> {
        if self.finds_the_way()? {
            self.shared.health.report_up();
        }
        Ok(())
    }

    /// False when the database is away.
    fn finds_the_way(&self) -> Result<bool, ConfigError> {
        let mut session = match self.manager.open() {
            Ok(session) => session,
            Err(ConnectError::Document(error)) => {
                self.catalog.refuse(&error);
                return Err(error);
            }
            Err(error) => {
                self.away(&error.to_string());
                return Ok(false);
            }
        };
        if self.catalog.mappings().is_err() {
            let ready = match self.journal_reader.has_journal() {
                true => journal::create(&mut session.client).map(|made| self.doubt_journal(made)),
                false => Ok(()),
            };
            match ready.and_then(|()| self.catalog.read(&mut session.client)) {
                Ok(_) => {}
                Err(CatalogError::Mapping(error)) => return Err(error),
                Err(error @ CatalogError::Database(_)) => {
                    self.away(&error.to_string());
                    return Ok(false);
                }
            }
        }
        self.make_triggers(&mut session);
        Ok(true)
    }

    fn away(&self, reason: &str) {
        self.shared.stats.set_last_error(reason.to_string());
        self.shared.health.report_down(reason);
    }

    /// Probes while the database is away, and looks after the catalog while it is up, until the
    /// module is closed.
    pub fn run(mut self, connections: Connections) {
        let shared = self.shared.clone();
        let health = &shared.health;
        let mut pause = PROBE_PAUSE;
        // Since when the database is away, and whether the log says so; it did at load.
        let mut outage = (!health.is_up()).then(|| (Instant::now(), true));
        let mut told = health.kind();
        let (mut watched, mut trimmed) = (Instant::now(), None);
        // The journal_reader's connection: it must not wait for the workers'.
        let mut session = None;
        let mut others_trimmed: Option<Instant> = None;
        let mut triggers_looked_at = Instant::now();
        while health.wait_to_probe(pause, self.journal_reader.pause().unwrap_or(WATCH_PAUSE)) {
            if health.is_up() {
                // First what writes may wait for: a connection of the workers' may be to a process
                // that is stopped.
                session = self
                    .journal_reader
                    .pause()
                    .and_then(|_| self.serve(session.take(), &mut trimmed));
                if watched.elapsed() >= WATCH_PAUSE {
                    watched = Instant::now();
                    self.watch(&connections);
                }
                if triggers_looked_at.elapsed() >= TRIGGERS_PAUSE && self.journal_reader.follows() {
                    triggers_looked_at = Instant::now();
                    if let Ok(mut session) = connections.get(WATCH_TIMEOUT) {
                        self.make_triggers(&mut session);
                    }
                }
                let is_due = others_trimmed.is_none_or(|at| at.elapsed() >= TRIM_PAUSE);
                if is_due && self.trim(&connections) {
                    others_trimmed = Some(Instant::now());
                }
                continue;
            }
            session = None;
            if outage.is_none() {
                told = health.kind();
                outage = Some((Instant::now(), self.log_outage()));
            } else if health.kind() != told && health.kind() != Outage::Away {
                // It was away, as the log says, and has come back like this.
                told = health.kind();
                self.log_reason("");
                outage = outage.map(|(since, _)| (since, true));
            }
            let before = self.catalog.mappings().err().flatten();
            pause = match self.finds_the_way() {
                Ok(true) => {
                    // The pool may pause after a failure, and would tell it once more.
                    if health.kind() != Outage::Away {
                        connections.renew();
                    }
                    health.report_up();
                    PROBE_PAUSE
                }
                // That is no moment's matter, and to look takes two connections.
                Ok(false) if health.kind() == Outage::Pooled => RECHECK_PAUSE,
                Ok(false) => PROBE_PAUSE,
                Err(error) => {
                    if before != Some(error.to_string()) {
                        (self.log)(&format!("{error}; writes are refused until it fits"));
                    }
                    RECHECK_PAUSE
                }
            };
            if let Some((since, is_told)) = outage.take_if(|_| health.is_up()) {
                if is_told {
                    let took = since.elapsed().as_secs_f64();
                    (self.log)(&format!(
                        "the database answers after {took:.1} s; writes go through"
                    ));
                }
            }
        }
    }

    /// Feeds the main thread, and trims the journal. Returns the connection; without one, what
    /// failed is tried again with another.
    fn serve(&self, session: Option<Session>, trimmed: &mut Option<Instant>) -> Option<Session> {
        let mappings = self.catalog.mappings().ok()?;
        let mut session = session.or_else(|| self.manager.open().ok())?;
        if self.journal_reader.serve(&mut session, &mappings).is_err() {
            // Somebody may have dropped the journal, or restored a database without it.
            if self.journal_reader.has_journal() {
                let _ = journal::create(&mut session.client);
                self.doubt_journal(true);
            }
            return None;
        }
        let is_master = self.shared.terms.is_master();
        if is_master
            && self.journal_reader.has_journal()
            && trimmed.is_none_or(|at| at.elapsed() >= TRIM_PAUSE)
        {
            let has_more = journal::trim(&mut session.client).ok()?;
            if !has_more {
                *trimmed = Some(Instant::now());
            }
        }
        Some(session)
    }

    /// False when it is too early to say the same again.
    fn log_outage(&mut self) -> bool {
        let Some(more) = self.outages.admit(Instant::now()) else { return false };
        self.log_reason(&more_since(more, "outages"));
        true
    }

    fn log_reason(&self, more: &str) {
        let health = &self.shared.health;
        let reason = health.away().map(|(_, reason)| reason).unwrap_or_default();
        let (what, until) = match health.kind() {
            Outage::ReadOnly => ("the database takes no writes:", "it takes them"),
            Outage::Pooled => ("the database can't be used:", "it can be"),
            Outage::Away => ("the database is away:", "it is back"),
        };
        let pause = if health.kind() == Outage::Pooled { RECHECK_PAUSE } else { PROBE_PAUSE };
        (self.log)(&format!(
            "{what} {reason}; writes are answered with WTDOWN until {until}, and it is tried every \
             {} ms{more}",
            pause.as_millis(),
        ));
    }

    /// A table whose statements still work may have changed all the same: a trigger, a constraint.
    fn watch(&self, connections: &Connections) {
        // All busy: next time. And what can't be read now is found by the next write.
        let Ok(mut session) = connections.get(WATCH_TIMEOUT) else { return };
        let Ok(mappings) = self.catalog.mappings() else { return };
        for mapping in mappings.iter() {
            match self.catalog.watch(&mut session, mapping) {
                Ok(None) => {}
                Ok(Some(_)) => {
                    let (schema, table) = &mapping.table;
                    return (self.log)(&format!(
                        "table {schema}.{table} has changed; the catalog was read again"
                    ));
                }
                Err(_) => return,
            }
        }
    }
}
