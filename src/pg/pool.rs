//! The pool of connections, each with its prepared statements.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

use postgres::config::{Host, SslMode};
use postgres::{Client, NoTls, Statement};
use r2d2::{ManageConnection, Pool};

use super::error::explain;
use crate::batch::Form;
use crate::config::ConfigError;
use crate::limits::{Limit, Limits};
use crate::mapping::Mapping;
use crate::sql::{self, Rows};

/// Prepared statements that one connection keeps; past it all are dropped and made anew.
const STATEMENTS_MAX: usize = 256;

/// How long a statement waits for a row that somebody else has locked, before its batch is taken
/// apart and the row is set aside: other rows' writes wait no longer than this.
const LOCK_TIMEOUT: Duration = Duration::from_millis(20);

/// One connection and the statements prepared on it.
pub struct Session {
    /// The connection.
    pub client: Client,
    statements: HashMap<(u64, Form, Rows), Statement>,
    texts: HashMap<&'static str, Statement>,
    last_used: Instant,
    limits: Arc<Limits>,
    /// The time limit of its statements, in milliseconds.
    timeout: u64,
}

impl Session {
    /// The prepared statement for a group of this form.
    pub fn prepare(
        &mut self,
        mapping: &Mapping,
        form: &Form,
        rows: Rows,
    ) -> Result<Statement, postgres::Error> {
        let key = (mapping.version, form.clone(), rows);
        if let Some(statement) = self.statements.get(&key) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(&sql::statement(mapping, form, rows))?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(key, statement.clone());
        Ok(statement)
    }

    /// False when a connection that was idle for a while has died meanwhile. One that was used
    /// just now is not asked: that would cost each batch a round trip.
    pub fn is_alive(&mut self) -> bool {
        let idle = self.last_used.elapsed();
        idle < IDLE_UNTESTED || self.client.is_valid(self.limits.connect_timeout()).is_ok()
    }

    /// Takes over a time limit that has changed since the last statement.
    pub fn follow(&mut self) -> Result<(), postgres::Error> {
        let timeout = self.limits.get(Limit::Timeout);
        if timeout != self.timeout {
            self.client.batch_execute(&time_limits(timeout))?;
            self.timeout = timeout;
        }
        Ok(())
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

/// A forked child of redis-server holds a copy of every socket: the database must not wait for a
/// session whose owner is gone.
fn time_limits(timeout: u64) -> String {
    format!(
        "SET lock_timeout = {}; SET statement_timeout = {timeout}; \
         SET idle_in_transaction_session_timeout = {timeout}",
        LOCK_TIMEOUT.as_millis(),
    )
}

/// Attempts to connect that may hang at once: a server that takes a connection and then says
/// nothing holds its attempt until the server, or TCP, gives up.
const HANGING_MAX: usize = 8;

/// Makes connections with the time limits that a write needs.
#[derive(Clone)]
pub struct Manager {
    pg: Arc<postgres::Config>,
    limits: Arc<Limits>,
    attempts: Arc<AtomicUsize>,
}

/// Why there is none, where nobody knows more.
pub fn too_late(limit: Duration) -> String {
    format!("no connection within connect_timeout_ms = {}", limit.as_millis())
}

/// Why no connection could be made, without the password.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

impl From<postgres::Error> for ConnectError {
    fn from(error: postgres::Error) -> Self {
        ConnectError(explain(&error))
    }
}

impl ManageConnection for Manager {
    type Connection = Session;
    type Error = ConnectError;

    fn connect(&self) -> Result<Session, ConnectError> {
        self.open()
    }

    fn is_valid(&self, session: &mut Session) -> Result<(), ConnectError> {
        Ok(session.client.is_valid(self.limits.connect_timeout())?)
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.client.is_closed()
    }
}

impl Manager {
    /// Reads the URL; connects to nothing.
    pub fn new(limits: Arc<Limits>, url: &str) -> Result<Manager, ConfigError> {
        let mut pg: postgres::Config =
            url.parse().map_err(|e: postgres::Error| ConfigError::at("url", explain(&e)))?;
        if pg.get_ssl_mode() == SslMode::Require {
            return Err(ConfigError::at("url", "sslmode=require: TLS is not supported yet"));
        }
        if pg.get_application_name().is_none() {
            pg.application_name("writethrough");
        }
        pg.keepalives_idle(Duration::from_secs(10));
        pg.keepalives_interval(Duration::from_secs(5));
        pg.keepalives_retries(3);
        Ok(Manager { pg: Arc::new(pg), limits, attempts: Arc::default() })
    }

    /// Where it connects to, without the password.
    pub fn shown(&self) -> String {
        let user = self.pg.get_user().map(|user| format!("{user}@")).unwrap_or_default();
        let ports = self.pg.get_ports();
        let hosts = self.pg.get_hosts().iter().enumerate().map(|(at, host)| {
            let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            }
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        format!("postgres://{user}{hosts}/{}", self.pg.get_dbname().unwrap_or_default())
    }

    /// A new connection, set up. The client's own limit ends with the TCP connection, so the attempt has a thread.
    pub fn open(&self) -> Result<Session, ConnectError> {
        if self.attempts.load(Ordering::Relaxed) >= HANGING_MAX {
            return Err(ConnectError("the database takes connections and says nothing".into()));
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let manager = self.clone();
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let attempt = move || {
            let session = manager.attempt();
            manager.attempts.fetch_sub(1, Ordering::Relaxed);
            // Nobody waits any more: the connection is closed.
            let _ = sender.send(session);
        };
        std::thread::Builder::new()
            .name("wt-connect".into())
            .spawn(attempt)
            .map_err(|e| ConnectError(format!("a thread could not be started: {e}")))?;
        let limit = self.limits.connect_timeout();
        receiver.recv_timeout(limit).unwrap_or_else(|_| Err(ConnectError(too_late(limit))))
    }

    fn attempt(&self) -> Result<Session, ConnectError> {
        let mut client = self.current().connect(NoTls)?;
        let (limits, timeout) = (self.limits.clone(), self.limits.get(Limit::Timeout));
        client.batch_execute(&time_limits(timeout))?;
        let (statements, texts, last_used) = (HashMap::new(), HashMap::new(), Instant::now());
        Ok(Session { client, statements, texts, last_used, limits, timeout })
    }

    /// How to connect, with the time limits of now.
    fn current(&self) -> postgres::Config {
        let mut pg = self.pg.as_ref().clone();
        pg.connect_timeout(self.limits.connect_timeout());
        pg.tcp_user_timeout(self.limits.timeout().max(Duration::from_secs(5)));
        pg
    }

    /// The pool. Connections are made when they are needed, and not tested on the way out: a
    /// statement that fails on a broken one is run again on another.
    pub fn pool(self, limits: &Limits) -> Pool<Manager> {
        Pool::builder()
            .max_size(limits.get(Limit::PoolSize) as u32)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .max_lifetime(None)
            .connection_timeout(limits.connect_timeout())
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(self)
    }
}
