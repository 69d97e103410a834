//! A statement and its transaction: in one message, or with its number known before COMMIT.

use super::error::{explain, is_end, SendError};
use super::session::Session;
use super::store::{read, run, take_over};
use crate::batch::Form;
use crate::engine::lost::Transaction;
use crate::engine::{Lost, Outcome, Permit, Row, Trouble};
use crate::mapping::Mapping;

/// Runs one statement for these rows and commits it.
pub fn apply(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Vec<Outcome>, Trouble> {
    match form.is_once() {
        true => once(session, permit, mapping, form, rows),
        false => any_number(session, permit, mapping, form, rows),
    }
}

/// One statement, its own transaction. It can be done twice.
fn any_number(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Vec<Outcome>, Trouble> {
    let backend = session.backend.clone();
    let mut outcomes =
        run(session, permit, mapping, form, rows).map_err(|error| error.classify(&backend))?;
    if !matches!(form, Form::Read | Form::Delete) {
        // It is committed, whatever goes wrong now.
        let lost = |error| Lost { reason: explain(&error), backend, commit: None };
        reread(session, mapping, rows, &mut outcomes)
            .map_err(|error| Trouble::Lost(lost(error)))?;
    }
    Ok(outcomes)
}

/// One statement that must not be done twice: its transaction's number is known before COMMIT is
/// sent, so that it can be asked for. What is lost before that was not committed.
fn once(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Vec<Outcome>, Trouble> {
    let backend = session.backend.clone();
    let not_committed = |error: SendError| match error.classify(&backend) {
        Trouble::Lost(lost) => Trouble::Retry(lost.reason),
        trouble => trouble,
    };
    session.client.batch_execute("BEGIN").map_err(|error| not_committed(error.into()))?;
    let ran = run(session, permit, mapping, form, rows);
    // The statement may have waited, for a lock or a slow database.
    let ran = ran.and_then(|outcomes| Ok(permit.to_write().map(|()| outcomes)?));
    let mut outcomes = match ran {
        Ok(outcomes) => outcomes,
        Err(error) => {
            if session.client.batch_execute("ROLLBACK").is_err() {
                session.retire();
            }
            return Err(not_committed(error));
        }
    };
    let mut done = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()?.as_ref());
    let xid = done.find_map(|image| image.get(image.width() - 1));
    let xid = String::from_utf8_lossy(xid.unwrap_or_default()).into_owned();
    let commit = session.client.batch_execute("COMMIT");
    let result = match commit {
        Ok(()) => reread(session, mapping, rows, &mut outcomes),
        Err(error) if !is_end(&error) => return Err(not_committed(error.into())),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => Ok(outcomes),
        Err(error) => {
            let commit = (!xid.is_empty()).then_some(Transaction { xid, outcomes });
            Err(Trouble::Lost(Lost { reason: explain(&error), backend, commit }))
        }
    }
}

/// Where triggers come after the statement, the rows are read again when it is committed: a deferred
/// trigger runs at the commit.
pub fn reread(
    session: &mut Session,
    mapping: &Mapping,
    rows: &[Row],
    outcomes: &mut [Outcome],
) -> Result<(), postgres::Error> {
    if mapping.reread {
        for (outcome, reread) in outcomes.iter_mut().zip(read(session, mapping, rows)?) {
            take_over(outcome, reread);
        }
    }
    Ok(())
}
