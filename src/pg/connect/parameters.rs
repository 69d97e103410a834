//! The parameters of a connection string: which are known, and what is said of the others.
//!
//! Those of libpq that ask for what is done anyway are taken; what can't be done fails the load, and
//! so does what belongs to another program.

use postgres::config::TargetSessionAttrs;

use super::tls::TlsOptions;
use crate::config::suggest;
use crate::config::ConfigError;

/// The parameters that [`TlsOptions::set`] takes.
const TLS: &[&str] = &["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// The parameters that [`Own::set`] takes.
const OWN: &[&str] = &[
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "keepalives_count",
    "sslsni",
    "target_session_attrs",
];

/// The parameters that `postgres` takes.
const KNOWN: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "tcp_user_timeout",
    "user",
];

/// Parameters of libpq that are not supported.
const UNSUPPORTED: &[&str] = &[
    "gssdelegation",
    "gsslib",
    "krbsrvname",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslpassword",
];

/// Parameters of other programs, and what does here what they do there.
const FOREIGN: &[(&[&str], &str)] = &[
    (
        &["pgbouncer", "statement_cache_size", "prepareThreshold", "prepared_statements"],
        "leave it out, and let the pooler give each connection a session of its own \
         (pool_mode=session)",
    ),
    (
        &["schema", "currentSchema", "search_path"],
        "leave it out, and name the schema in the mapping: \"table\": \"shop.orders\"",
    ),
    (
        &["connection_limit", "pool_size", "pool_max_conns", "max_connections"],
        "leave it out: pool_size in the document is the number of connections",
    ),
    (
        &["ssl", "sslaccept", "useSSL"],
        "use sslmode=require, or sslmode=verify-full with sslrootcert",
    ),
    (
        &["socket_timeout", "socketTimeout", "pool_timeout", "loginTimeout", "statement_timeout"],
        "leave it out: timeout_ms and connect_timeout_ms in the document are the limits",
    ),
    (
        &["timezone", "TimeZone", "datestyle", "DateStyle"],
        "leave it out: \"session\" in the document holds such settings",
    ),
];

/// Who takes a parameter.
enum Taker {
    Tls,
    Own,
    Postgres,
}

/// What is neither of TLS nor known to `postgres`.
#[derive(Debug, Default)]
pub struct Own {
    fallback_application_name: Option<String>,
    keepalives_retries: Option<u32>,
    must_take_writes: bool,
}

/// Everything that `postgres` doesn't take.
#[derive(Debug, Default)]
pub struct Taken {
    /// Of TLS.
    pub tls: TlsOptions,
    own: Own,
}

impl Taken {
    /// Takes a parameter. False for one that `postgres` takes. An error names it where `is_shown`; its
    /// value may be a piece of a password in any case.
    pub fn take(&mut self, name: &str, value: &str, is_shown: bool) -> Result<bool, ConfigError> {
        match taker(name, is_shown)? {
            Taker::Tls => self.tls.set(name, value)?,
            Taker::Own => self.own.set(name, value)?,
            Taker::Postgres => return Ok(false),
        }
        Ok(true)
    }

    /// Completes what `postgres` has read.
    pub fn complete(&self, config: &mut postgres::Config) {
        if let (None, Some(name)) =
            (config.get_application_name(), &self.own.fallback_application_name)
        {
            config.application_name(name);
        }
        if let Some(retries) = self.own.keepalives_retries {
            config.keepalives_retries(retries);
        }
        if self.own.must_take_writes {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
    }
}

impl Own {
    fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let expected = |right: &str| error(format!("{name}: expected {right}"));
        let is_one_of =
            |right: &[&str]| right.iter().any(|right| value.eq_ignore_ascii_case(right));
        match name {
            "fallback_application_name" => self.fallback_application_name = Some(value.into()),
            "keepalives_count" => {
                self.keepalives_retries = Some(value.parse().map_err(|_| expected("a number"))?);
            }
            // There is no GSSAPI here.
            "gssencmode" if !is_one_of(&["disable", "prefer"]) => {
                return Err(expected("disable or prefer; GSSAPI's encryption is not supported"));
            }
            "client_encoding" if !is_one_of(&["utf8", "utf-8", "unicode", "auto"]) => {
                return Err(expected("UTF8"));
            }
            "sslsni" if value != "1" => return Err(expected("1")),
            "target_session_attrs" if is_one_of(&["read-only", "standby", "prefer-standby"]) => {
                return Err(expected(
                    "read-write, primary or any: a server that takes no writes is of no use here",
                ));
            }
            "target_session_attrs" if !is_one_of(&["any", "read-write", "primary"]) => {
                return Err(expected("read-write, primary or any"));
            }
            "target_session_attrs" => self.must_take_writes = value != "any",
            _ => {}
        }
        Ok(())
    }
}

fn taker(name: &str, is_shown: bool) -> Result<Taker, ConfigError> {
    if TLS.contains(&name) {
        return Ok(Taker::Tls);
    }
    if OWN.contains(&name) {
        return Ok(Taker::Own);
    }
    if KNOWN.contains(&name) {
        return Ok(Taker::Postgres);
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !is_shown || name.is_empty() || name.len() > 64 || !name.chars().all(is_word) {
        return Err(error(format!("it has a parameter that is unknown; {ENCODE}")));
    }
    if UNSUPPORTED.contains(&name) {
        return Err(error(format!("the parameter {name} is not supported")));
    }
    if let Some((_, word)) = FOREIGN.iter().find(|(names, _)| names.contains(&name)) {
        return Err(error(format!("the parameter {name} is none of PostgreSQL's: {word}")));
    }
    let near = suggest::among(name, TLS.iter().chain(OWN).chain(KNOWN).copied());
    let why = if near.is_empty() { format!("; {ENCODE}") } else { near };
    Err(error(format!("the parameter {name} is unknown{why}")))
}

/// What nobody knows may be a piece of a password.
const ENCODE: &str =
    "in a user or a password, write '@' as %40, '?' as %3F, '&' as %26, '%' as %25";

fn error(problem: impl Into<String>) -> ConfigError {
    ConfigError::at("url", problem)
}
