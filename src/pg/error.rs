//! SQLSTATE → what it means for a write.

use std::error::Error as _;

use postgres::error::{DbError, SqlState};
use postgres::Error;

use crate::engine::Trouble;
use crate::failure::Refusal;

/// What a failed statement means. The one place where "try again" is decided.
pub fn classify(error: &Error) -> Trouble {
    let Some(db) = error.as_db_error() else {
        return Trouble::Lost(explain(error));
    };
    match db.code() {
        &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED => {
            Trouble::Conflict(refusal(db))
        }
        // A prepared statement that DDL or a pooler has made useless.
        &SqlState::INVALID_SQL_STATEMENT_NAME => Trouble::Conflict(refusal(db)),
        &SqlState::FEATURE_NOT_SUPPORTED if db.message().contains("cached plan") => {
            Trouble::Conflict(refusal(db))
        }
        &SqlState::LOCK_NOT_AVAILABLE => Trouble::Locked,
        &SqlState::QUERY_CANCELED => Trouble::Canceled,
        code if is_connection(code) => Trouble::Lost(explain(error)),
        _ => Trouble::Refused(refusal(db)),
    }
}

/// The connection is of no more use: shut down, starting up, dropped, or broken.
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
        )
}

/// The parts of the database's error that its client reads.
pub fn refusal(db: &DbError) -> Refusal {
    let owned = |text: Option<&str>| text.map(str::to_string);
    Refusal {
        sqlstate: db.code().code().to_string(),
        message: db.message().to_string(),
        constraint: owned(db.constraint()),
        column: owned(db.column()),
        detail: owned(db.detail()),
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
