//! A connection string in two parts: what it says of TLS, and the rest, which `postgres` reads.
//!
//! `postgres` knows three of libpq's five `sslmode`s and none of its paths to certificates.

use percent_encoding::percent_decode_str;
use postgres::config::Host;

use super::error::explain;
use super::tls::TlsOptions;
use crate::config::ConfigError;
use crate::suggest;

/// The parameters that [`TlsOptions::set`] takes.
const TLS: &[&str] = &["sslmode", "sslrootcert", "sslcert", "sslkey"];

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
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Parameters of libpq that have no meaning here, or are not supported.
const UNSUPPORTED: &[&str] = &[
    "client_encoding",
    "gssencmode",
    "keepalives_count",
    "passfile",
    "require_auth",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslpassword",
    "sslsni",
];

/// A second `@`, and so what stands before it, may be a part of the password.
const AT_SIGN: &str =
    "there is an '@' too many: in a user or a password, and wherever else one is \
    meant, write '@' as %40; a host has none";

/// Reads a URL, or libpq's `host=… user=…`. No error shows a piece of it that may be a piece of the
/// password.
pub fn parse(text: &str) -> Result<(postgres::Config, TlsOptions), ConfigError> {
    if let (true, Some((before, after))) = (is_url(text), text.split_once('@')) {
        if after.contains('@') || before.contains("password=") {
            return Err(error(AT_SIGN));
        }
    }
    let mut tls = TlsOptions::default();
    let rest = match query(text) {
        Some(at) => {
            let mut rest = text[..at].to_string();
            for pair in text[at..].trim_start_matches('?').split('&').filter(|p| !p.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                if known(name, true)? {
                    let value = percent_decode_str(value).decode_utf8();
                    let value = value.map_err(|_| error(format!("{name} is no UTF-8")))?;
                    tls.set(name, &value)?;
                } else {
                    rest.push(if rest.len() == at { '?' } else { '&' });
                    rest.push_str(pair);
                }
            }
            rest
        }
        None if is_url(text) => text.to_string(),
        None => without_tls_pairs(text, &mut tls)?,
    };
    let mut config: postgres::Config = rest.parse().map_err(|e| unreadable(&e))?;
    // What is taken for a host is shown, and may be the end of a password.
    if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
        return Err(error(AT_SIGN));
    }
    // A server that is named by its address alone is known to its certificate by that.
    if config.get_hosts().is_empty() {
        for address in config.get_hostaddrs().to_vec() {
            config.host(&address.to_string());
        }
    }
    tls.check()?;
    Ok((config, tls))
}

/// Whether the text as it stands holds a password, not a `${NAME}` in its place.
pub fn shows_password(text: &str) -> bool {
    let password =
        parse(text).ok().and_then(|(config, _)| config.get_password().map(<[u8]>::to_vec));
    password.is_some_and(|password| !password.is_empty() && !password.starts_with(b"${"))
}

fn error(problem: impl Into<String>) -> ConfigError {
    ConfigError::at("url", problem)
}

fn is_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// Where a URL's `?` is. As `postgres` reads it, the user ends at the first `@`.
fn query(text: &str) -> Option<usize> {
    let start = is_url(text).then(|| text.find("://")).flatten()? + 3;
    let start = text[start..].find('@').map_or(start, |at| start + at);
    text[start..].find('?').map(|at| start + at)
}

/// True for a parameter of TLS, false for one that `postgres` reads. An error says what the name is
/// like, where that is wanted.
fn known(name: &str, says_which: bool) -> Result<bool, ConfigError> {
    if TLS.contains(&name) || KNOWN.contains(&name) {
        return Ok(TLS.contains(&name));
    }
    if UNSUPPORTED.contains(&name) && says_which {
        return Err(error(format!("the parameter {name} is not supported")));
    }
    let near = suggest::among(name, TLS.iter().chain(KNOWN).copied().filter(|_| says_which));
    Err(error(format!(
        "it has a parameter that is unknown{near}; in a user or a password, write '@' as %40, '?' \
         as %3F, '&' as %26, '%' as %25"
    )))
}

fn unreadable(e: &postgres::Error) -> ConfigError {
    match explain(e) {
        // These may quote it.
        text if text.contains("unknown option") || text.contains("unexpected character") => {
            error("it is no postgres:// URL, nor libpq's host=… user=…")
        }
        text => error(text),
    }
}

/// `host=h sslmode=require user='a b'` without the parameters of TLS.
fn without_tls_pairs(text: &str, tls: &mut TlsOptions) -> Result<String, ConfigError> {
    let mut rest = String::with_capacity(text.len());
    let mut left = text.trim_start();
    while !left.is_empty() {
        let Some((name, after)) = left.split_once('=') else {
            return Err(error("it is no postgres:// URL, nor libpq's host=… user=…"));
        };
        let (value, length) = pair_value(after.trim_start());
        let end = left.len() - after.trim_start().len() + length;
        // What follows a password that is not quoted may be the rest of it.
        if known(name.trim_end(), !rest.contains("password"))? {
            tls.set(name.trim_end(), &value)?;
        } else {
            rest.push_str(&left[..end]);
            rest.push(' ');
        }
        left = left[end..].trim_start();
    }
    Ok(rest)
}

/// The value at the start of `text`, without quotes and backslashes, and how long it is with them.
fn pair_value(text: &str) -> (String, usize) {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if quoted => return (value, at + 1),
            c if !quoted && c.is_whitespace() => return (value, at),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, text.len())
}

#[cfg(test)]
#[path = "dsn_tests.rs"]
mod tests;
