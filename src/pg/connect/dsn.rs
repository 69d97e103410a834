//! A connection string in two parts: what it says of TLS, and the rest, which `postgres` reads.
//!
//! `postgres` knows three of libpq's five `sslmode`s and none of its paths to certificates.

use percent_encoding::percent_decode_str;
use postgres::config::Host;

use super::parameters::Taken;
use super::tls::TlsOptions;
use crate::config::ConfigError;
use crate::pg::error::explain;

/// A second `@`, and so what stands before it, may be a part of the password.
const AT_SIGN: &str =
    "there is an '@' too many: in a user or a password, and wherever else one is \
    meant, write '@' as %40; a host has none";

/// Reads a URL, or libpq's `host=… user=…`. No error shows a piece of it that may be a piece of the
/// password.
pub fn parse(text: &str) -> Result<(postgres::Config, TlsOptions), ConfigError> {
    // From a file, or an environment variable.
    let text = text.trim();
    if let (true, Some((before, after))) = (is_url(text), text.split_once('@')) {
        if after.contains('@') || before.contains("password=") {
            return Err(error(AT_SIGN));
        }
    }
    let mut taken = Taken::default();
    let rest = match query(text) {
        Some(at) => without_taken(&text[..at], &text[at..], &mut taken)?,
        None if is_url(text) => text.to_string(),
        None => without_taken_pairs(text, &mut taken)?,
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
    taken.complete(&mut config);
    taken.tls.check()?;
    Ok((config, taken.tls))
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

/// A URL without the parameters in its `query` that `postgres` doesn't read.
fn without_taken(start: &str, query: &str, taken: &mut Taken) -> Result<String, ConfigError> {
    let mut rest = start.to_string();
    for pair in query.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // What follows a password with a `&` in it may be the rest of it.
        let is_shown = !rest[start.len()..].contains("password");
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| error("a parameter is no UTF-8"))?;
        if !taken.take(name, &value, is_shown)? {
            rest.push(if rest.len() == start.len() { '?' } else { '&' });
            rest.push_str(pair);
        }
    }
    Ok(rest)
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

/// The same for `host=h sslmode=require user='a b'`.
fn without_taken_pairs(text: &str, taken: &mut Taken) -> Result<String, ConfigError> {
    let mut rest = String::with_capacity(text.len());
    let mut left = text;
    while !left.is_empty() {
        let Some((name, after)) = left.split_once('=') else {
            return Err(error("it is no postgres:// URL, nor libpq's host=… user=…"));
        };
        let (value, length) = pair_value(after.trim_start());
        let end = left.len() - after.trim_start().len() + length;
        // What follows a password that is not quoted may be the rest of it.
        let is_shown = !rest.contains("password");
        if !taken.take(name.trim_end(), &value, is_shown)? {
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
