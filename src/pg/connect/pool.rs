//! The pool of connections, and how they are made.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc};
use std::time::Duration;

use postgres::config::{Host, SslMode, SslNegotiation};
use r2d2::{ManageConnection, Pool};

use super::connect_error::{too_late, ConnectError};
use super::dsn;
use super::pooler::Known;
use super::servers::Server;
use super::session::Session;
use super::settings::SessionSettings;
use super::timeline::Timeline;
use super::tls::{Mode, Tls};
use crate::config::limits::{Limit, Limits};
use crate::config::settings::Settings;
use crate::config::ConfigError;
use crate::engine::Terms;

mod dial;

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

    /// A session was taken for ours, and isn't.
    pub fn distrust(&self) {
        self.known.forget();
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
