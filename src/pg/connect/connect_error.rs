//! Why no connection could be made.

use std::time::Duration;

use crate::config::ConfigError;
use crate::pg::error::explain;

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
    pub(super) fn new(text: String, error: &postgres::Error) -> ConnectError {
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
