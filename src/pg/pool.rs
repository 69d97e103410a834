//! The pool of connections, each with its prepared statements.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::time::{Duration, Instant};

use postgres::config::{Host, SslMode, SslNegotiation};
use postgres::{Client, NoTls, SimpleQueryMessage, Statement};
use r2d2::{ManageConnection, Pool};
use r2d2_postgres::PostgresConnectionManager;

use super::dsn;
use super::error::explain;
use super::history::{self, History};
use super::link::{Dial, Patience};
use super::tls::{Mode, Tls};
use super::tls_error::{explain_tls, is_about_tls};
use crate::batch::Form;
use crate::config::{Config, ConfigError};
use crate::engine::Backend;
use crate::mapping::Mapping;
use crate::sql::{self, Rows};

/// Prepared statements that one connection keeps; past it all are dropped and made anew.
const STATEMENTS_MAX: usize = 256;

/// What a statement's values may take, one way, for its connection to be kept: its buffers never
/// shrink. Twice what a batch takes.
const BUFFERS_MAX: usize = 16 << 20;

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
    limit: Duration,
    /// The server's process that serves it.
    pub backend: Arc<Backend>,
    origin: Option<i64>,
    /// It leaves the pool: it doesn't answer, the server is of no use any more, or its buffers have
    /// grown past [`BUFFERS_MAX`] and stay so.
    spent: bool,
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
        let statement = self.client.prepare(&sql::statement(mapping, form, rows, self.origin))?;
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
        let alive = idle < IDLE_UNTESTED || self.client.is_valid(self.limit).is_ok();
        self.spent |= !alive;
        alive
    }

    /// So many bytes of values go through the connection at once.
    pub fn carries(&mut self, bytes: usize) {
        self.spent |= bytes > BUFFERS_MAX;
    }

    /// The connection is not used again.
    pub fn retire(&mut self) {
        self.spent = true;
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

/// Attempts to connect that may go on at once after their callers have given up: looking up a name
/// has no limit of its own.
const HANGING_MAX: usize = 8;

/// An attempt that goes on; also one that panics, as `postgres` does without file descriptors, ends.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(attempts: &Arc<AtomicUsize>) -> Counted {
        attempts.fetch_add(1, Ordering::Relaxed);
        Counted(attempts.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes connections with the time limits that a write needs.
#[derive(Clone)]
pub struct Manager {
    pg: Arc<postgres::Config>,
    /// The server is a Unix socket: there is no TLS, and no silence of a network.
    is_local: bool,
    /// `None` where no TLS is wanted.
    tls: Option<Arc<Tls>>,
    /// TLS from the first byte on.
    is_direct: bool,
    set_up: Arc<str>,
    /// One attempt, from the first packet to the session that is set up.
    limit: Duration,
    /// How long a statement's answer is waited for: longer than the database gives it.
    answer_limit: Duration,
    attempts: Arc<AtomicUsize>,
    /// Which history the database tells.
    pub history: Arc<History>,
    /// What this process signs its entries in the journal with; `None` without a journal.
    pub origin: Option<i64>,
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
        Ok(session.client.is_valid(self.limit)?)
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        session.spent || session.client.is_closed()
    }
}

impl Manager {
    /// Reads the URL and the certificates that it names; connects to nothing.
    pub fn new(config: &Config, url: &str, history: Arc<History>) -> Result<Manager, ConfigError> {
        let (mut pg, tls) = dsn::parse(url)?;
        let is_direct = pg.get_ssl_negotiation() == SslNegotiation::Direct;
        if is_direct && matches!(tls.mode, Mode::Disable | Mode::Prefer) {
            let problem =
                "sslnegotiation=direct: expected sslmode=require, verify-ca or verify-full";
            return Err(ConfigError::at("url", problem));
        }
        let is_local = pg.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)));
        // [`Dial`] does the rest.
        pg.ssl_mode(if is_local { SslMode::Disable } else { SslMode::Require });
        pg.ssl_negotiation(SslNegotiation::Direct);
        if pg.get_application_name().is_none() {
            pg.application_name("writethrough");
        }
        pg.connect_timeout(config.connect_timeout());
        pg.keepalives_idle(Duration::from_secs(10));
        pg.keepalives_interval(Duration::from_secs(5));
        pg.keepalives_retries(3);
        pg.tcp_user_timeout(config.timeout().max(Duration::from_secs(5)));
        // A forked child of redis-server holds a copy of every socket: the database must not
        // wait for a session whose owner is gone.
        let set_up = format!(
            "SET lock_timeout = {}; SET statement_timeout = {timeout}; \
             SET idle_in_transaction_session_timeout = {timeout}; \
             SELECT pid, extract(epoch FROM backend_start), \
                    (SELECT extract(epoch FROM stats_reset) FROM pg_stat_bgwriter) \
             FROM pg_stat_activity WHERE pid = pg_backend_pid()",
            LOCK_TIMEOUT.as_millis(),
            timeout = config.timeout().as_millis(),
        );
        // Each host has its time.
        let hosts = u32::try_from(pg.get_hosts().len().max(1)).unwrap_or(u32::MAX);
        let limit = config.connect_timeout().saturating_mul(hosts);
        Ok(Manager {
            pg: Arc::new(pg),
            is_local,
            tls: Tls::new(tls)?.map(Arc::new),
            is_direct,
            set_up: set_up.into(),
            limit,
            answer_limit: config.timeout() + config.connect_timeout(),
            attempts: Arc::default(),
            history,
            origin: config.journal.then(|| RandomState::new().hash_one(()) as i64),
        })
    }

    /// A new connection, set up. The client's own limit ends with the TCP connection, so the attempt has a thread.
    pub fn open(&self) -> Result<Session, ConnectError> {
        if self.attempts.load(Ordering::Relaxed) >= HANGING_MAX {
            return Err(ConnectError("earlier attempts to connect have not ended yet".into()));
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let (manager, counted) = (self.clone(), Counted::new(&self.attempts));
        let attempt = move || {
            let session = manager.attempt();
            drop(counted);
            // Nobody waits any more: the connection is closed.
            let _ = sender.send(session);
        };
        std::thread::Builder::new()
            .name("wt-connect".into())
            .spawn(attempt)
            .map_err(|e| ConnectError(format!("a thread could not be started: {e}")))?;
        receiver.recv_timeout(self.limit).unwrap_or_else(|_| {
            let limit = self.limit.as_millis();
            Err(ConnectError(format!("no connection within connect_timeout_ms = {limit}")))
        })
    }

    fn attempt(&self) -> Result<Session, ConnectError> {
        let patience = Patience::new(self.limit);
        let mut client = self.dial(&patience)?;
        let set_up = client.simple_query(&self.set_up)?;
        let text = |at| cell(&set_up, at).unwrap_or_default().to_string();
        let (pid, started, period) = (text(0).parse().unwrap_or(0), text(1), text(2));
        let history = match client.simple_query(&format!("SELECT {}", history::SQL)) {
            Ok(told) => cell(&told, 0).unwrap_or_default().to_string(),
            // A service that is no plain PostgreSQL may hide it.
            Err(error) if error.as_db_error().is_some() => history::HIDDEN.into(),
            Err(error) => return Err(error.into()),
        };
        patience.started(self.answer_limit);
        self.history.note(&history);
        let backend = Arc::new(Backend { pid, started, history, period });
        let (statements, texts, last_used) = (HashMap::new(), HashMap::new(), Instant::now());
        let (limit, origin, spent) = (self.limit, self.origin, false);
        Ok(Session { client, statements, texts, last_used, limit, backend, origin, spent })
    }

    fn dial(&self, patience: &Arc<Patience>) -> Result<Client, ConnectError> {
        if self.is_local {
            return Ok(PostgresConnectionManager::new((*self.pg).clone(), NoTls).connect()?);
        }
        let dial = |tls, is_optional| {
            let (is_direct, patience) = (self.is_direct, patience.clone());
            let dial = Dial { tls, is_optional, is_direct, patience };
            PostgresConnectionManager::new((*self.pg).clone(), dial).connect()
        };
        let Some(tls) = &self.tls else { return Ok(dial(None, true)?) };
        let connector = tls.connector().map_err(ConnectError)?;
        let is_optional = tls.options().mode == Mode::Prefer;
        let error = match dial(Some(connector), is_optional) {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let why = explain_tls(&error, tls.options());
        if !is_optional || !is_about_tls(&error) {
            return Err(ConnectError(why));
        }
        // `prefer` asks for no more than TLS where it works: libpq, too, tries without it.
        let without = |e| ConnectError(format!("{why}; and without TLS: {}", explain(&e)));
        dial(None, true).map_err(without)
    }

    /// The pool. Connections are made when they are needed, and not tested on the way out: a
    /// statement that fails on a broken one is run again on another.
    pub fn pool(self, config: &Config) -> Pool<Manager> {
        Pool::builder()
            .max_size(u32::try_from(config.pool_size).expect("validated: at most 1000"))
            .min_idle(Some(0))
            .test_on_check_out(false)
            .max_lifetime(None)
            .connection_timeout(config.connect_timeout())
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(self)
    }
}

/// A cell of the only row.
fn cell(answers: &[SimpleQueryMessage], at: usize) -> Option<&str> {
    answers.iter().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => row.get(at),
        _ => None,
    })
}
