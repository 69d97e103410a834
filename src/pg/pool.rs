//! The pool of connections, each with its prepared statements.

use std::collections::HashMap;
use std::time::Duration;

use postgres::config::SslMode;
use postgres::{Client, NoTls, Statement};
use r2d2::{ManageConnection, Pool};
use r2d2_postgres::PostgresConnectionManager;

use super::error::explain;
use crate::batch::Form;
use crate::config::{Config, ConfigError};
use crate::mapping::Mapping;
use crate::sql;

/// Prepared statements that one connection keeps; past it all are dropped and made anew.
const STATEMENTS_MAX: usize = 256;

/// How long a statement waits for a row that somebody else has locked, before its batch is taken
/// apart and the row is set aside: other rows' writes wait no longer than this.
const LOCK_TIMEOUT: Duration = Duration::from_millis(20);

/// One connection and the statements prepared on it.
pub struct Session {
    /// The connection.
    pub client: Client,
    statements: HashMap<(u64, Form), Statement>,
}

impl Session {
    /// The prepared statement for a group of this form.
    pub fn prepare(
        &mut self,
        mapping: &Mapping,
        form: &Form,
    ) -> Result<Statement, postgres::Error> {
        // One look-up in the common case; the key is only cloned to be kept.
        let key = (mapping.version, form.clone());
        if let Some(statement) = self.statements.get(&key) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(&sql::statement(mapping, form))?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(key, statement.clone());
        Ok(statement)
    }

    /// Forgets the prepared statements; the next use prepares them again.
    pub fn forget_statements(&mut self) {
        self.statements.clear();
    }
}

/// Makes connections with the time limits that a write needs.
#[derive(Debug)]
pub struct Manager {
    inner: PostgresConnectionManager<NoTls>,
    set_up: String,
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
        let mut client = self.inner.connect()?;
        client.batch_execute(&self.set_up)?;
        Ok(Session {
            client,
            statements: HashMap::new(),
        })
    }

    fn is_valid(&self, session: &mut Session) -> Result<(), ConnectError> {
        Ok(self.inner.is_valid(&mut session.client)?)
    }

    fn has_broken(&self, session: &mut Session) -> bool {
        self.inner.has_broken(&mut session.client)
    }
}

impl Manager {
    /// Reads the URL; connects to nothing.
    pub fn new(config: &Config, url: &str) -> Result<Manager, ConfigError> {
        let mut pg: postgres::Config = url
            .parse()
            .map_err(|e: postgres::Error| ConfigError::at("url", explain(&e)))?;
        if pg.get_ssl_mode() == SslMode::Require {
            return Err(ConfigError::at(
                "url",
                "sslmode=require: TLS is not supported yet",
            ));
        }
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
             SET idle_in_transaction_session_timeout = {timeout}",
            LOCK_TIMEOUT.as_millis(),
            timeout = config.timeout().as_millis(),
        );
        Ok(Manager {
            inner: PostgresConnectionManager::new(pg, NoTls),
            set_up,
        })
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
