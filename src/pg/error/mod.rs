//! SQLSTATE → what it means for a write.

use std::error::Error as _;
use std::sync::Arc;

use postgres::error::{DbError, Severity, SqlState};
use postgres::Error;

use crate::engine::{Backend, Demoted, Lost, StoreError};
use crate::model::failure::{Detail, Refusal};

/// Why a statement that may write has given nothing.
#[derive(Debug)]
pub enum SendError {
    /// It was not sent.
    Demoted(Demoted),
    /// It was sent, or prepared, and failed.
    Database(Error),
}

impl From<Demoted> for SendError {
    fn from(demoted: Demoted) -> SendError {
        SendError::Demoted(demoted)
    }
}

impl From<Error> for SendError {
    fn from(error: Error) -> SendError {
        SendError::Database(error)
    }
}

impl SendError {
    /// The database has refused the statement, for its rows.
    pub fn is_refusal(&self) -> bool {
        let is_class = |code: &SqlState| ["22", "23", "P0"].contains(&&code.code()[..2]);
        matches!(self, SendError::Database(error) if error.code().is_some_and(is_class))
    }

    /// What it means for the statement's writes.
    pub fn classify(&self, backend: &Arc<Backend>) -> StoreError {
        match self {
            SendError::Demoted(demoted) => (*demoted).into(),
            SendError::Database(error) => classify(error, backend),
        }
    }
}

/// What a failed statement means. The one place where "try again" is decided: at once, on another
/// connection, later, or never.
pub fn classify(error: &Error, backend: &Arc<Backend>) -> StoreError {
    let lost = || {
        let (reason, backend) = (explain(error), backend.clone());
        StoreError::Lost(Lost { reason, backend, commit: None })
    };
    let Some(db) = error.as_db_error().filter(|_| !is_end(error)) else {
        return lost();
    };
    match db.code() {
        &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED => {
            StoreError::Conflict(refusal(db))
        }
        // A prepared statement that DDL or a pooler has made useless.
        &SqlState::INVALID_SQL_STATEMENT_NAME => StoreError::Conflict(refusal(db)),
        &SqlState::FEATURE_NOT_SUPPORTED if db.message().contains("cached plan") => {
            StoreError::Conflict(refusal(db))
        }
        &SqlState::LOCK_NOT_AVAILABLE => StoreError::Locked,
        &SqlState::QUERY_CANCELED => StoreError::Canceled,
        // The statement itself says so: it was not committed.
        code if is_connection(code) => StoreError::Retry(explain(error)),
        _ => StoreError::Refused(refusal(db)),
    }
}

/// True when the database refuses a function or a view, or doesn't know it.
pub fn is_missing(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            &SqlState::INSUFFICIENT_PRIVILEGE
                | &SqlState::UNDEFINED_FUNCTION
                | &SqlState::UNDEFINED_TABLE
                | &SqlState::FEATURE_NOT_SUPPORTED
        )
    )
}

/// True when the connection has ended, with or without a word. A session that is told to end can say
/// so after it has committed, in place of the answer.
pub fn is_end(error: &Error) -> bool {
    let severity = error.as_db_error().and_then(DbError::parsed_severity);
    severity != Some(Severity::Error)
}

/// Why no connection could be had. Too many are open: there may be one later.
pub fn classify_connect(reason: &str) -> StoreError {
    match reason.starts_with(SqlState::TOO_MANY_CONNECTIONS.code()) {
        true => StoreError::Retry(reason.to_string()),
        false => StoreError::Down(reason.to_string()),
    }
}

/// The connection is of no more use: shut down, starting up, dropped or broken.
fn is_connection(code: &SqlState) -> bool {
    code.code().starts_with("08")
        || matches!(
            code,
            &SqlState::ADMIN_SHUTDOWN
                | &SqlState::CRASH_SHUTDOWN
                | &SqlState::CANNOT_CONNECT_NOW
                | &SqlState::DATABASE_DROPPED
                | &SqlState::TOO_MANY_CONNECTIONS
                | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
                | &SqlState::IDLE_SESSION_TIMEOUT
        )
}

/// Functions of the server that make a detail of the text that is being read, or of its type:
/// `Token "x" is invalid.`, `A field with precision 5, scale 2 must round to …`
const ABOUT_A_VALUE: [&str; 4] =
    ["apply_typmod", "apply_typmod_special", "json_ereport_error", "json_errsave_error"];

/// The parts of the database's error that its client reads.
pub fn refusal(db: &DbError) -> Refusal {
    let owned = |text: Option<&str>| text.map(str::to_string);
    Refusal {
        sqlstate: db.code().code().to_string(),
        message: db.message().to_string(),
        constraint: owned(db.constraint()),
        column: owned(db.column()),
        detail: db.detail().map(|detail| Detail {
            text: detail.into(),
            is_about_value: db.routine().is_some_and(|routine| ABOUT_A_VALUE.contains(&routine)),
        }),
    }
}

/// An error with its causes, in one line. It never holds the password.
pub fn explain(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} {}", db.code().code(), db.message());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
