//! What became of a statement whose connection was lost.
//!
//! First its session is ended, and waited for: what has not begun can't begin any more. Then, where
//! it was ready to commit, the server knows by the transaction's number whether it did.

use std::collections::HashMap;

use postgres::error::SqlState;

use super::returned::read;
use super::transaction::reread;
use crate::engine::{Image, Job, Lost, Outcome, Resolution};
use crate::model::form::Form;
use crate::pg::connect::session::Session;
use crate::plan::group::Group;

/// A row while the session is still there.
const END: &str = "
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid = $1 AND extract(epoch FROM backend_start)::text = $2";

const STATUS: &str = "SELECT pg_xact_status($1::text::xid8)";

/// Asks on another connection.
pub fn what_became_of(
    session: &mut Session,
    lost: &Lost,
    groups: &[Group<Job>],
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
            if is_other && !are_there(session, groups, &transaction.outcomes)? {
                return Ok(Resolution::Ended);
            }
            let mut outcomes = transaction.outcomes.clone();
            let mut first = 0;
            for group in groups {
                let own = &mut outcomes[first..first + group.rows.len()];
                if !matches!(group.form, Form::Delete | Form::Pass) {
                    reread(session, &group.mapping, &group.rows, own)?;
                }
                first += group.rows.len();
            }
            Ok(Resolution::Committed(outcomes))
        }
        _ => Ok(Resolution::Ended),
    }
}

/// The rows are what the transaction made them. A row that several of its statements have changed is what the
/// last one has made it.
fn are_there(
    session: &mut Session,
    groups: &[Group<Job>],
    outcomes: &[Outcome],
) -> Result<bool, postgres::Error> {
    let mut outcomes = outcomes.iter();
    let mut made: HashMap<&[u8], Option<&Image>> = HashMap::new();
    for (form, row) in
        groups.iter().flat_map(|group| group.rows.iter().map(|row| (&group.form, row)))
    {
        let Some(Ok(image)) = outcomes.next() else { return Ok(false) };
        match form {
            Form::Pass => continue,
            Form::Delete => made.insert(&row.change().target, None),
            _ => made.insert(&row.change().target, image.as_ref()),
        };
    }
    for group in groups {
        let found = read(session, &group.mapping, &group.rows)?.images;
        for (found, row) in found.iter().zip(&group.rows) {
            let Some(made) = made.get(&row.change().target[..]) else { continue };
            let is_there = match (found, made) {
                (Some(found), Some(made)) => {
                    (0..group.mapping.columns.len()).all(|c| found.get(c) == made.get(c))
                }
                (found, made) => found.is_none() && made.is_none(),
            };
            if !is_there {
                return Ok(false);
            }
        }
    }
    Ok(!groups.is_empty())
}
