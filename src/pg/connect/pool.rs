//! The pool of connections, and how they are made.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::time::Duration;

use postgres::config::{Host, SslMode, SslNegotiation};
use postgres::{Client, NoTls};
use r2d2::{ManageConnection, Pool};
use r2d2_postgres::PostgresConnectionManager;

use super::dsn;
use super::greeting::Told;
use super::pooler::{self, Known, Nature};
use super::read_only;
use super::servers::{in_order, without_hosts, Address, Failures, Server};
use super::session::{Mark, Session};
use super::settings::SessionSettings;
use super::socket::{Dial, ReadTimeout};
use super::timeline::Timeline;
use super::tls::{Mode, Tls};
use super::tls_error::{explain_tls, is_about_tls};
use crate::config::limits::{Limit, Limits};
use crate::config::settings::Settings;
use crate::config::ConfigError;
use crate::engine::Terms;
use crate::pg::error::explain;

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
    servers: Arc<Vec<Server>>,
    /// At which addresses a pooler was looked for.
    known: Arc<Known>,
    limits: Arc<Limits>,
    /// The server is a Unix socket: there is no TLS, and no silence of a network.
    is_local: bool,
    /// `None` where no TLS is wanted.
    tls: Option<Arc<Tls>>,
    /// TLS from the first byte on.
    is_direct: bool,
    attempts: Arc<AtomicUsize>,
    /// The timeline of the database.
    pub timeline: Arc<Timeline>,
    /// What gives values their text.
    pub settings: Arc<SessionSettings>,
    /// What marks each session.
    terms: Arc<Terms>,
    /// Changed keys are noted in the journal.
    has_journal: bool,
}

/// Why there is none, where nobody knows more.
pub fn too_late(limit: Duration) -> String {
    format!("no connection within connect_timeout_ms = {}", limit.as_millis())
}

/// Why no connection could be made, without the password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The database could not be reached.
    #[error("{0}")]
    Away(String),
    /// The server was reached, and has refused the connection.
    #[error("{0}")]
    Answered(String),
    /// Each of the servers takes no writes.
    #[error("{0}")]
    ReadOnly(String),
    /// A pooler gives our sessions to other programs, too.
    #[error("{0}")]
    Pooled(String),
    /// It refuses what the document says of its sessions.
    #[error("{0}")]
    Document(ConfigError),
}

impl ConnectError {
    fn new(text: String, error: &postgres::Error) -> ConnectError {
        match error.as_db_error() {
            Some(_) => ConnectError::Answered(text),
            None => ConnectError::Away(text),
        }
    }
}

impl From<postgres::Error> for ConnectError {
    fn from(error: postgres::Error) -> Self {
        ConnectError::new(explain(&error), &error)
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
        session.is_spent()
    }
}

impl Manager {
    /// Reads the URL and the certificates that it names; connects to nothing.
    pub fn new(
        limits: Arc<Limits>,
        url: &str,
        timeline: Arc<Timeline>,
        session: Settings,
        terms: Arc<Terms>,
        has_journal: bool,
    ) -> Result<Manager, ConfigError> {
        let (mut pg, tls) = dsn::parse(url)?;
        let is_direct = pg.get_ssl_negotiation() == SslNegotiation::Direct;
        if is_direct && matches!(tls.mode, Mode::Disable | Mode::Prefer) {
            let problem =
                "sslnegotiation=direct: expected sslmode=require, verify-ca or verify-full";
            return Err(ConfigError::at("url", problem));
        }
        let servers = Server::all(&pg).map_err(|problem| ConfigError::at("url", problem))?;
        let is_local = pg.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)));
        // [`Dial`] does the rest.
        pg.ssl_mode(if is_local { SslMode::Disable } else { SslMode::Require });
        pg.ssl_negotiation(SslNegotiation::Direct);
        if pg.get_application_name().is_none() {
            pg.application_name("writethrough");
        }
        Ok(Manager {
            pg: Arc::new(pg),
            servers: Arc::new(servers),
            known: Arc::default(),
            limits,
            is_local,
            tls: Tls::new(tls)?.map(Arc::new),
            is_direct,
            attempts: Arc::default(),
            timeline,
            settings: Arc::new(SessionSettings::new(session)),
            terms,
            has_journal,
        })
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
            return Err(ConnectError::Away(
                "earlier attempts to connect have not ended yet".into(),
            ));
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
            .map_err(|e| ConnectError::Away(format!("a thread could not be started: {e}")))?;
        let session = receiver.recv_timeout(self.limit());
        session.unwrap_or_else(|_| Err(ConnectError::Away(too_late(self.limits.connect_timeout()))))
    }

    /// How long an attempt to connect may take: each host has its time.
    pub fn limit(&self) -> Duration {
        let hosts = u32::try_from(self.pg.get_hosts().len()).unwrap_or(u32::MAX);
        self.limits.connect_timeout().saturating_mul(hosts.max(1))
    }

    /// True when the session may be used: it was made in the term of now.
    pub fn is_of_now(&self, session: &Session) -> bool {
        session.mark.term == self.terms.now()
    }

    /// Tries one address after the other.
    fn attempt(&self) -> Result<Session, ConnectError> {
        let mut failures = Failures::default();
        for (at, server) in in_order(&self.pg, &self.servers).iter().enumerate() {
            let addresses = match server.addresses() {
                Ok(addresses) => in_order(&self.pg, &addresses),
                Err(why) => {
                    failures.add(at, String::new(), ConnectError::Away(why));
                    continue;
                }
            };
            for address in addresses {
                match self.attempt_at(&address) {
                    Err(error) => failures.add(at, address.to_string(), error),
                    done => return done,
                }
            }
        }
        Err(failures.into_error())
    }

    fn attempt_at(&self, address: &Address) -> Result<Session, ConnectError> {
        let read_timeout = ReadTimeout::new(self.limits.connect_timeout());
        // The term of before: what is made meanwhile is of no use in a later one.
        let term = self.terms.now();
        let mark = Mark { term, tag: self.terms.tag(term), has_journal: self.has_journal };
        let name = address.to_string();
        let nature = match self.known.get(&name) {
            Some(nature) => nature,
            None => {
                let config = self.config_for(address);
                let nature = pooler::look(|| self.dial(&config, &read_timeout))?;
                self.known.learn(&name, nature);
                nature
            }
        };
        let (mut client, told) =
            self.dial(&self.set_in(self.config_for(address)), &read_timeout)?;
        let is_direct = nature == Nature::Direct;
        if is_direct && !pooler::is_direct(&told, pooler::process(&mut client)?) {
            self.known.forget();
            let text = format!("another server than before answers at {name}");
            return Err(ConnectError::Away(text));
        }
        if let Some(why) = read_only::why(&mut client)? {
            return Err(ConnectError::ReadOnly(read_only::text(&name, &why)));
        }
        let mut session =
            Session::set_up(client, &self.limits, read_timeout, &self.settings, mark)?;
        session.is_direct = is_direct;
        self.timeline.note(&session.backend.timeline);
        Ok(session)
    }

    fn dial(
        &self,
        config: &postgres::Config,
        read_timeout: &Arc<ReadTimeout>,
    ) -> Result<(Client, Told), ConnectError> {
        let told = Told::default();
        self.client(config, read_timeout, &told).map(|client| (client, told))
    }

    fn client(
        &self,
        config: &postgres::Config,
        read_timeout: &Arc<ReadTimeout>,
        told: &Told,
    ) -> Result<Client, ConnectError> {
        if self.is_local {
            return Ok(PostgresConnectionManager::new(config.clone(), NoTls).connect()?);
        }
        let dial = |tls, is_optional| {
            let (is_direct, read_timeout) = (self.is_direct, read_timeout.clone());
            let dial = Dial { tls, is_optional, is_direct, read_timeout, told: told.clone() };
            PostgresConnectionManager::new(config.clone(), dial).connect()
        };
        let Some(tls) = &self.tls else { return Ok(dial(None, true)?) };
        let connector = tls.connector().map_err(ConnectError::Away)?;
        let is_optional = tls.options().mode == Mode::Prefer;
        let error = match dial(Some(connector), is_optional) {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let why = explain_tls(&error, tls.options());
        if !is_optional || !is_about_tls(&error) {
            return Err(ConnectError::new(why, &error));
        }
        // `prefer` asks for no more than TLS where it works: libpq, too, tries without it.
        dial(None, true).map_err(|error| {
            ConnectError::new(format!("{why}; and without TLS: {}", explain(&error)), &error)
        })
    }

    /// What the URL sets in a session: not before it is known whose session it is.
    fn set_in(&self, mut pg: postgres::Config) -> postgres::Config {
        self.pg.get_application_name().map(|name| pg.application_name(name));
        self.pg.get_options().map(|options| pg.options(options));
        pg
    }

    /// A session was taken for ours, and isn't.
    pub fn distrust(&self) {
        self.known.forget();
    }

    /// How to connect to an address, with the time limits of now.
    fn config_for(&self, address: &Address) -> postgres::Config {
        let mut pg = without_hosts(&self.pg);
        address.add_to(&mut pg);
        pg.keepalives_idle(Duration::from_secs(10));
        pg.keepalives_interval(Duration::from_secs(5));
        pg.keepalives_retries(3);
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
            .connection_timeout(self.limit())
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(self)
    }
}
