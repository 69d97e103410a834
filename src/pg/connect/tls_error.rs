//! Why TLS, or a client's certificate, was refused, in words that say what to change.

use std::error::Error as _;
use std::io;

use postgres::error::SqlState;
use rustls::{AlertDescription, CertificateError, Error};

use super::socket::SILENCE;
use super::tls::{Roots, TlsOptions};
use crate::pg::error::explain;

/// Why no connection was made. It names the options of the URL that have to do with it.
pub fn explain_tls(error: &postgres::Error, options: &TlsOptions) -> String {
    let text = explain(error);
    if let Some(tls) = cause(error) {
        return why(tls, options);
    }
    let refused = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    if refused && options.identity.is_none() && text.contains("client certificate") {
        return format!("{text}: give sslcert and sslkey");
    }
    if text.contains("server does not support TLS") {
        return format!(
            "the server does not support TLS, which sslmode={} demands",
            options.mode.name()
        );
    }
    // With TLS 1.3 the server reads the client's certificate after the client's side is done, and
    // its alert may be lost when it closes the connection.
    if error.as_db_error().is_none() && options.identity.is_some() && is_cut_off(error) {
        return format!(
            "{text}; the server may have refused the client certificate in sslcert: its log says why"
        );
    }
    text
}

/// Whether it was TLS that failed, or the server that refused a connection with it: without TLS it
/// may go.
pub fn is_about_tls(error: &postgres::Error) -> bool {
    let refused = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    let text = explain(error);
    // Who says nothing says nothing without TLS either, and the next address has no time left then.
    let is_silent = text.contains(SILENCE);
    refused || cause(error).is_some() || (text.contains("TLS handshake") && !is_silent)
}

/// rustls' own error.
fn cause(error: &postgres::Error) -> Option<&Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        // io::Error's source() is that of the error in it.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(tls);
        }
        cause = error.source();
    }
    None
}

fn is_cut_off(error: &postgres::Error) -> bool {
    let io = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    error.is_closed()
        || io.is_some_and(|io| {
            use io::ErrorKind::*;
            matches!(io.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof)
        })
}

fn why(error: &Error, options: &TlsOptions) -> String {
    let mode = options.mode.name();
    let days = |seconds: u64| match seconds / 86_400 {
        0 => "less than a day".to_string(),
        1 => "1 day".to_string(),
        days => format!("{days} days"),
    };
    match error {
        Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => format!(
                "the server's certificate is not signed by an authority in {}",
                roots(options)
            ),
            CertificateError::ExpiredContext { time, not_after } => {
                let ago = days(time.as_secs().saturating_sub(not_after.as_secs()));
                format!("the server's certificate has expired, {ago} ago")
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                let to_come = days(not_before.as_secs().saturating_sub(time.as_secs()));
                format!("the server's certificate is not valid yet, for {to_come}")
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let names = match presented.is_empty() {
                    true => "no name (subjectAltName)".to_string(),
                    false => {
                        presented.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")
                    }
                };
                format!(
                    "the server's certificate is for {names}, not for {}, which sslmode={mode} \
                     demands",
                    expected.to_str()
                )
            }
            other => format!("the server's certificate is refused: {}", certificate_error(other)),
        },
        Error::AlertReceived(alert) if is_about_the_client(*alert) => match options.identity {
            Some((ref cert, _)) => format!(
                "the server refused the client certificate in sslcert={}: {alert:?}",
                cert.display()
            ),
            None => "the server demands a client certificate: give sslcert and sslkey".into(),
        },
        other => format!("TLS failed: {other}"),
    }
}

fn certificate_error(error: &CertificateError) -> String {
    let text = error.to_string();
    match text.contains("UnsupportedCertVersion") {
        true => "it is of X.509 version 1; expected version 3".into(),
        false => text,
    }
}

fn roots(options: &TlsOptions) -> String {
    match &options.roots {
        Some(Roots::File(path)) => format!("sslrootcert={}", path.display()),
        Some(Roots::System) => "the system's store (sslrootcert=system)".into(),
        None => "no sslrootcert".into(), // Nothing is checked then.
    }
}

/// `DnsName("a.example")` → `a.example`.
fn plain(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"').to_string()
}

fn is_about_the_client(alert: AlertDescription) -> bool {
    use AlertDescription::*;
    matches!(
        alert,
        NoCertificate
            | BadCertificate
            | UnsupportedCertificate
            | CertificateRevoked
            | CertificateExpired
            | CertificateUnknown
            | UnknownCA
            | AccessDenied
            | DecryptError
            | CertificateRequired
    )
}
