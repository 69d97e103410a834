//! One connection: its prepared statements, its time limits, and whether it is of use.

use std::array;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::error::SqlState;
use postgres::{Client, SimpleQueryMessage, Statement};

use super::begin::Begin;
use super::connect_error::ConnectError;
use super::read_only;
use super::settings::SessionSettings;
use super::socket::ReadTimeout;
use super::timeline;
use crate::config::limits::{Limit, Limits};
use crate::config::ConfigError;
use crate::engine::{Backend, Tag, Term};
use crate::model::form::Form;
use crate::model::mapping::Mapping;
use crate::pg::error::{explain, is_missing};
use crate::sql::{self, Shape};

/// Prepared statements that one connection keeps; past it all are dropped and made anew.
const STATEMENTS_MAX: usize = 256;

/// What a statement's values may take, one way, for its connection to be kept: its buffers never
/// shrink. Twice what a batch takes.
const BUFFERS_MAX: usize = 16 << 20;

/// How long a statement waits for a row that somebody else has locked, before its batch is taken
/// apart and the row is set aside: other rows' writes wait no longer than this.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_millis(20);

/// Whose a session is.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// In which term it was made.
    pub term: Term,
    /// The term's tag. The session holds an advisory lock of this number, and signs with it what it
    /// notes in the journal.
    pub tag: Tag,
    /// It notes the keys that it changes in the journal.
    pub has_journal: bool,
}

/// One connection and the statements prepared on it.
pub struct Session {
    /// The connection.
    pub client: Client,
    statements: HashMap<(u64, Form, Shape), Statement>,
    texts: HashMap<&'static str, Statement>,
    last_used: Instant,
    limits: Arc<Limits>,
    /// The time limit of its statements, in milliseconds.
    timeout: u64,
    read_timeout: Arc<ReadTimeout>,
    begin: Begin,
    /// The server's process that serves it.
    pub backend: Arc<Backend>,
    /// What gives its values their text.
    pub settings: Arc<SessionSettings>,
    /// Whose it is.
    pub mark: Mark,
    /// There is no pooler in between.
    pub is_direct: bool,
    /// It leaves the pool: it doesn't answer, the server is of no use any more, or its buffers have
    /// grown past [`BUFFERS_MAX`] and stay so.
    spent: bool,
}

impl Session {
    /// Sets a new connection up.
    pub fn set_up(
        mut client: Client,
        limits: &Arc<Limits>,
        read_timeout: Arc<ReadTimeout>,
        begin: Begin,
        settings: &Arc<SessionSettings>,
        mark: Mark,
    ) -> Result<Session, ConnectError> {
        let timeout = limits.get(Limit::Timeout);
        let told = client.simple_query(BACKEND)?;
        let text = |at| cell(&told, at).unwrap_or_default().to_string();
        let (pid, started, period) = (text(0).parse().unwrap_or(0), text(1), text(2));
        let timeline = match client.simple_query(&format!("SELECT {}", timeline::SQL)) {
            Ok(told) => cell(&told, 0).unwrap_or_default().to_string(),
            // A service that is no plain PostgreSQL may hide it.
            Err(error) if error.as_db_error().is_some() => timeline::HIDDEN.into(),
            Err(error) => return Err(error.into()),
        };
        set(&mut client, timeout, settings, mark.tag)?;
        read_timeout.started(answer_limit(limits));
        let backend = Arc::new(Backend { pid, started, timeline, period });
        Ok(Session {
            client,
            statements: HashMap::new(),
            texts: HashMap::new(),
            last_used: Instant::now(),
            limits: limits.clone(),
            timeout,
            read_timeout,
            begin,
            backend,
            settings: settings.clone(),
            mark,
            is_direct: false,
            spent: false,
        })
    }

    /// The prepared statement for a group of this form.
    pub fn prepare(
        &mut self,
        mapping: &Mapping,
        form: &Form,
        shape: Shape,
    ) -> Result<Statement, postgres::Error> {
        let key = (mapping.version, form.clone(), shape);
        if let Some(statement) = self.statements.get(&key) {
            return Ok(statement.clone());
        }
        let origin = self.mark.has_journal.then_some(self.mark.tag);
        let statement = self.client.prepare(&sql::statement(mapping, form, shape, origin))?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(key, statement.clone());
        Ok(statement)
    }

    /// Changed keys are noted in the journal.
    pub fn has_journal(&self) -> bool {
        self.mark.has_journal
    }

    /// False when a connection that was idle for a while has died meanwhile. One that was used
    /// just now is not asked: that would cost each batch a round trip.
    pub fn is_alive(&mut self) -> bool {
        let idle = self.last_used.elapsed();
        let limit = self.limits.connect_timeout();
        let alive = idle < IDLE_UNTESTED || self.client.is_valid(limit).is_ok();
        self.spent |= !alive;
        alive
    }

    /// So many bytes of values go through the connection at once.
    pub fn carries(&mut self, bytes: usize) {
        self.spent |= bytes > BUFFERS_MAX;
    }

    /// It must leave the pool.
    pub fn is_spent(&self) -> bool {
        self.spent || self.client.is_closed()
    }

    /// The connection is not used again.
    pub fn retire(&mut self) {
        self.spent = true;
    }

    /// Begins a transaction: with the next statement, in one message where that can be.
    pub fn begin(&mut self) -> Result<(), postgres::Error> {
        if self.begin.with_next() {
            return Ok(());
        }
        self.client.batch_execute("BEGIN")
    }

    /// Ends a transaction that is not to be committed; where that can't be said, the connection.
    pub fn roll_back(&mut self) {
        if self.client.batch_execute("ROLLBACK").is_err() {
            self.retire();
        }
    }

    /// Takes over a time limit that has changed since the last statement.
    pub fn follow(&mut self) -> Result<(), postgres::Error> {
        let timeout = self.limits.get(Limit::Timeout);
        if timeout != self.timeout {
            self.client.batch_execute(&time_limits(timeout))?;
            self.read_timeout.started(answer_limit(&self.limits));
            self.timeout = timeout;
        }
        Ok(())
    }

    /// An answer is waited for that long: the statements to come have another limit of their own.
    pub fn set_read_timeout(&self, limit: Duration) {
        self.read_timeout.started(limit + self.limits.connect_timeout());
    }

    /// Why the session can't write: it learns of it when the server becomes a standby, or when its
    /// configuration says so. `None` when it can.
    pub fn why_read_only(&mut self) -> Result<Option<String>, postgres::Error> {
        read_only::why(&mut self.client)
    }

    /// The connection goes back to the pool.
    pub fn used(&mut self) {
        self.last_used = Instant::now();
    }

    /// The prepared statement for a text that does not depend on a mapping.
    pub fn prepare_text(&mut self, text: &'static str) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.texts.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(text)?;
        self.texts.insert(text, statement.clone());
        Ok(statement)
    }

    /// Forgets the prepared statements; the next use prepares them again.
    pub fn forget_statements(&mut self) {
        self.statements.clear();
        self.texts.clear();
    }
}

/// A connection that was idle for less than this is used untested. What is sent on a dead one has
/// no known outcome, so it is better not sent.
const IDLE_UNTESTED: Duration = Duration::from_millis(50);

/// Nothing is set in a session before this.
fn set(
    client: &mut Client,
    timeout: u64,
    settings: &SessionSettings,
    tag: Tag,
) -> Result<(), ConnectError> {
    // Twice, where another session was the first meanwhile.
    for _ in 0..2 {
        let sql = format!(
            "{}; SET writethrough.origin = '{tag}'; {}",
            time_limits(timeout),
            settings.sql()
        );
        let told = match client.simple_query(&format!("{sql}; {}", lock(tag))) {
            // A role, or a service, without such locks does without.
            Err(error) if is_missing(&error) => client.simple_query(&sql),
            told => told,
        };
        let told = told.map_err(|error| wrong(error, settings))?;
        if settings.note(array::from_fn(|at| cell(&told, at).unwrap_or_default().to_string())) {
            break;
        }
    }
    Ok(())
}

/// Why the settings could not be made: it may be the document.
fn wrong(error: postgres::Error, settings: &SessionSettings) -> ConnectError {
    let text = explain(&error);
    let is_value = error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE);
    match settings.document.named_in(&text).filter(|_| is_value) {
        Some(setting) => {
            ConnectError::Document(ConfigError::at(format!("session.{}", setting.name()), text))
        }
        None => error.into(),
    }
}

/// A forked child of redis-server holds a copy of every socket: the database must not wait for a
/// session whose owner is gone.
fn time_limits(timeout: u64) -> String {
    format!(
        "SET lock_timeout = {}; SET statement_timeout = {timeout}; \
         SET idle_in_transaction_session_timeout = {timeout}",
        LOCK_TIMEOUT.as_millis(),
    )
}

/// Marks the session for whoever becomes the master after us: see [`super::earlier_sessions`]. It is shared
/// by all sessions of a term, and nobody else takes it.
fn lock(tag: Tag) -> String {
    format!("SELECT pg_advisory_lock_shared({tag})")
}

/// Who the session is, and since when the server has run.
const BACKEND: &str = "
    SELECT pid, extract(epoch FROM backend_start),
           (SELECT extract(epoch FROM stats_reset) FROM pg_stat_bgwriter)
    FROM pg_stat_activity WHERE pid = pg_backend_pid()";

/// How long a statement's answer is waited for: longer than the database gives it.
fn answer_limit(limits: &Limits) -> Duration {
    limits.timeout() + limits.connect_timeout()
}

/// A cell of the only row.
pub fn cell(answers: &[SimpleQueryMessage], at: usize) -> Option<&str> {
    answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(at),
        _ => None,
    })
}
