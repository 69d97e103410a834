//! What became of a statement whose connection was lost.
//!
//! First its session is ended, and waited for: what has not begun can't begin any more. Then, where
//! it was ready to commit, the server knows by the transaction's number whether it did.

use postgres::error::SqlState;

use super::returned::read;
use super::transaction::reread;
use crate::engine::{Lost, Outcome, Resolution, Row};
use crate::model::mapping::Mapping;
use crate::pg::connect::session::Session;

/// A row while the session is still there.
const END: &str = "
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = $1 AND extract(epoch FROM backend_start)::text = $2";

const STATUS: &str = "SELECT pg_xact_status($1::text::xid8)";

/// Asks on another connection.
pub fn what_became_of(
    session: &mut Session,
    lost: &Lost,
    mapping: &Mapping,
    rows: &[Row],
) -> Result<Resolution, postgres::Error> {
    if session.backend.timeline.is_empty() {
        // A standby knows nothing; the primary may be elsewhere, or come.
        session.retire();
        return Ok(Resolution::Running);
    }
    if session.backend.timeline != lost.backend.timeline {
        return Ok(Resolution::Ended);
    }
    let end = session.prepare_text(END)?;
    if session.client.query_opt(&end, &[&lost.backend.pid, &lost.backend.started])?.is_some() {
        return Ok(Resolution::Running);
    }
    let Some(transaction) = &lost.commit else { return Ok(Resolution::Ended) };
    let status = session.prepare_text(STATUS)?;
    let status: Option<String> = match session.client.query_one(&status, &[&transaction.xid]) {
        Ok(row) => row.get(0),
        // A number that was not given yet: the server has crashed, and nothing of it is left.
        Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => {
            return Ok(Resolution::NotCommitted);
        }
        Err(error) => return Err(error),
    };
    match status.as_deref() {
        Some("aborted") => Ok(Resolution::NotCommitted),
        Some("in progress") => Ok(Resolution::Running),
        Some("committed") => {
            // After a crash another transaction may have got its number. The rows tell.
            let is_other = session.backend.period != lost.backend.period;
            if is_other && !is_there(session, mapping, rows, &transaction.outcomes)? {
                return Ok(Resolution::Ended);
            }
            let mut outcomes = transaction.outcomes.clone();
            if !rows.is_empty() {
                reread(session, mapping, rows, &mut outcomes)?;
            }
            Ok(Resolution::Committed(outcomes))
        }
        _ => Ok(Resolution::Ended),
    }
}

/// The rows are what the transaction made them.
fn is_there(
    session: &mut Session,
    mapping: &Mapping,
    rows: &[Row],
    outcomes: &[Outcome],
) -> Result<bool, postgres::Error> {
    if rows.is_empty() {
        return Ok(false);
    }
    let found = read(session, mapping, rows)?.images;
    Ok(found.iter().zip(outcomes).all(|(found, outcome)| match (found, outcome) {
        (Some(found), Ok(Some(made))) => {
            (0..mapping.columns.len()).all(|c| found.get(c) == made.get(c))
        }
        (found, made) => found.is_none() && matches!(made, Ok(None)),
    }))
}
