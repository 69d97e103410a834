//! One attempt to connect: address after address, with TLS or without, and a look for a pooler.

use std::sync::Arc;
use std::time::Duration;

use postgres::{Client, NoTls};
use r2d2::ManageConnection;
use r2d2_postgres::PostgresConnectionManager;

use super::Manager;
use crate::pg::connect::connect_error::ConnectError;
use crate::pg::connect::pooler::{self, Nature};
use crate::pg::connect::read_only;
use crate::pg::connect::servers::{in_order, without_hosts, Address, Failures};
use crate::pg::connect::session::{Mark, Session};
use crate::pg::connect::socket::ReadTimeout;
use crate::pg::connect::tls::Mode;
use crate::pg::connect::tls_error::{explain_tls, is_about_tls};
use crate::pg::connect::transport::{Dial, Talk};
use crate::pg::error::explain;

impl Manager {
    /// Tries one address after the other.
    pub(super) fn attempt(&self) -> Result<Session, ConnectError> {
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
                let dial = || self.dial(&config, &read_timeout);
                let nature = pooler::look(|| dial().map(|(client, talk)| (client, talk.told)))?;
                self.known.learn(&name, nature);
                nature
            }
        };
        let (mut client, talk) =
            self.dial(&self.set_in(self.config_for(address)), &read_timeout)?;
        let is_direct = nature == Nature::Direct;
        if is_direct && !pooler::is_direct(&talk.told, pooler::process(&mut client)?) {
            self.known.forget();
            let text = format!("another server than before answers at {name}");
            return Err(ConnectError::Away(text));
        }
        if let Some(why) = read_only::why(&mut client)? {
            return Err(ConnectError::ReadOnly(read_only::text(&name, &why)));
        }
        let mut session =
            Session::set_up(client, &self.limits, read_timeout, talk.begin, &self.settings, mark)?;
        session.is_direct = is_direct;
        self.timeline.note(&session.backend.timeline);
        Ok(session)
    }

    fn dial(
        &self,
        config: &postgres::Config,
        read_timeout: &Arc<ReadTimeout>,
    ) -> Result<(Client, Talk), ConnectError> {
        let talk = Talk::default();
        self.client(config, read_timeout, &talk).map(|client| (client, talk))
    }

    fn client(
        &self,
        config: &postgres::Config,
        read_timeout: &Arc<ReadTimeout>,
        talk: &Talk,
    ) -> Result<Client, ConnectError> {
        if self.is_local {
            return Ok(PostgresConnectionManager::new(config.clone(), NoTls).connect()?);
        }
        let dial = |tls, is_optional| {
            let (is_direct, read_timeout) = (self.is_direct, read_timeout.clone());
            let dial = Dial { tls, is_optional, is_direct, read_timeout, talk: talk.clone() };
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
}
