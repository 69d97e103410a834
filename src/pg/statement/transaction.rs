//! A statement and its transaction: in one message, or with what it has done known before the
//! COMMIT.

use postgres::types::ToSql;

use super::returned::{query, read, Returned};
use super::steps;
use crate::engine::in_doubt::Commit;
use crate::engine::{Image, Lost, Outcome, Permit, Row, StoreError};
use crate::model::failure::{Failure, Refusal};
use crate::model::form::Form;
use crate::model::key::Show;
use crate::model::mapping::Mapping;
use crate::pg::connect::session::Session;
use crate::pg::connect::wire::{Cell, Value};
use crate::pg::error::{explain, is_end, SendError};
use crate::sql;

/// Runs one statement for these rows and commits it.
pub fn apply(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Vec<Outcome>, StoreError> {
    match mapping.needs_transaction(form) {
        true => known(session, permit, mapping, form, rows),
        false => any_number(session, permit, mapping, form, rows),
    }
}

/// One statement, its own transaction. It can be done twice, and what it does to which row is
/// certain.
fn any_number(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Vec<Outcome>, StoreError> {
    let backend = session.backend.clone();
    let failed = |error: SendError| error.classify(&backend);
    let returned = query(session, permit, mapping, form, rows).map_err(failed)?;
    compare(session, mapping, form, rows, returned, &failed)
}

/// A statement in a transaction whose number is known before COMMIT is sent, so that it can be asked
/// for: what is lost before that was not committed. What it has done to which row is compared
/// before, too.
fn known(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Vec<Outcome>, StoreError> {
    let backend = session.backend.clone();
    let not_committed = |error: SendError| error.classify(&backend).uncommitted();
    let returned = match mapping.watched {
        true => steps::run(session, permit, mapping, form, rows),
        false => begin(session, permit, mapping, form, rows),
    };
    let compared = returned.map_err(not_committed).and_then(|returned| {
        let outcomes = compare(session, mapping, form, rows, returned, &not_committed)?;
        // The statement may have waited, for a lock or a slow database.
        permit.to_write()?;
        Ok(outcomes)
    });
    let mut outcomes = match compared {
        Ok(outcomes) => outcomes,
        Err(trouble) => {
            session.roll_back();
            return Err(trouble);
        }
    };
    let xid = number(mapping, form, &outcomes);
    let result = match session.client.batch_execute("COMMIT") {
        Ok(()) if *form == Form::Delete => Ok(()),
        Ok(()) => reread(session, mapping, rows, &mut outcomes),
        Err(error) if !is_end(&error) => return Err(not_committed(error.into())),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => Ok(outcomes),
        Err(error) => {
            let commit = xid.map(|xid| Commit { xid, outcomes });
            Err(StoreError::Lost(Lost { reason: explain(&error), backend, commit }))
        }
    }
}

fn begin(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Returned, SendError> {
    session.begin()?;
    query(session, permit, mapping, form, rows)
}

/// The transaction's number: the last cell of a row that it has changed.
pub fn number(mapping: &Mapping, form: &Form, outcomes: &[Outcome]) -> Option<String> {
    let last = mapping.columns.len() + usize::from(matches!(form, Form::Fill(_)));
    let mut done = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()?.as_ref());
    let xid = done.find_map(|image| (last < image.width()).then(|| image.get(last))?)?;
    Some(String::from_utf8_lossy(xid).into_owned())
}

/// What a statement has done, one outcome a row; an error where it has done something to another
/// row, or nothing to one and that is no good. Before the COMMIT, where there is one.
pub fn compare(
    session: &mut Session,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
    returned: Returned,
    failed: &dyn Fn(SendError) -> StoreError,
) -> Result<Vec<Outcome>, StoreError> {
    // What a mixed statement misses is added by its own statement.
    let may_miss = matches!(form, Form::Read | Form::Lock | Form::Mixed);
    let is_missing = !may_miss && returned.images.iter().any(Option::is_none);
    let is_strange = !form.only_looks() && !returned.strangers.is_empty();
    if rows.len() > 1 && (is_strange || (is_missing && !mapping.is_certain)) {
        return Err(StoreError::Apart);
    }
    if is_strange {
        return Err(StoreError::Unfit(strange(mapping, &rows[0], &returned)));
    }
    let mut outcomes = Vec::with_capacity(rows.len());
    for (row, image) in rows.iter().zip(returned.images) {
        let outcome = match image {
            None if !may_miss => match left_out(session, mapping, form, row)
                .map_err(|e| failed(e.into()))?
            {
                LeftOut::Nothing => Ok(None),
                LeftOut::Misspelt(problem) if mapping.is_certain => Err(Failure::Input(problem)),
                LeftOut::Misspelt(problem) => return Err(StoreError::Unfit(problem)),
                LeftOut::Refused(refusal) => return Err(StoreError::Refused(refusal)),
                LeftOut::Raced(refusal) => return Err(StoreError::Conflict(refusal)),
            },
            image => Ok(image),
        };
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// The write's id is not the id of the row that its statement has changed.
fn strange(mapping: &Mapping, row: &Row, returned: &Returned) -> String {
    let given = &row.change().target[mapping.name.len() + 1..];
    let other = &returned.strangers[0];
    match returned.only() {
        None => writes_as(given, other),
        Some(_) => {
            format!("the database takes the ids {} and {} for the same", Show(given), Show(other))
        }
    }
}

/// Why a statement that succeeded returned no row for a write.
enum LeftOut {
    /// There is nothing to erase or to delete.
    Nothing,
    /// The database writes the id in another way.
    Misspelt(String),
    /// Somebody has kept the row from being written.
    Refused(Refusal),
    /// Somebody else has added the row meanwhile.
    Raced(Refusal),
}

fn left_out(
    session: &mut Session,
    mapping: &Mapping,
    form: &Form,
    row: &Row,
) -> Result<LeftOut, postgres::Error> {
    if let Some(problem) = misspelt(session, mapping, row, false)? {
        return Ok(LeftOut::Misspelt(problem));
    }
    // Unless somebody has kept it from us.
    let may_be_missing = form.added().is_none();
    if may_be_missing
        && (!mapping.watched || read(session, mapping, std::slice::from_ref(row))?.is_nothing())
    {
        return Ok(LeftOut::Nothing);
    }
    if let Some(problem) = misspelt(session, mapping, row, true)? {
        return Ok(LeftOut::Misspelt(problem));
    }
    let refusal = |sqlstate: &str, message: &str| Refusal {
        sqlstate: sqlstate.into(),
        message: message.into(),
        ..Refusal::default()
    };
    Ok(match mapping.watched {
        true => LeftOut::Refused(refusal(
            "02000",
            "no row was written: a trigger, a rule or a policy of the table left it out",
        )),
        false => LeftOut::Raced(refusal("40001", "another session added the row meanwhile")),
    })
}

/// How the database writes the id, where that is another way.
fn misspelt(
    session: &mut Session,
    mapping: &Mapping,
    row: &Row,
    stored: bool,
) -> Result<Option<String>, postgres::Error> {
    let parts: Vec<Value> = row.change().id_parts().map(Value).collect();
    let params: Vec<&(dyn ToSql + Sync)> = parts.iter().map(|p| p as _).collect();
    let canonical = session.client.query_one(&sql::canonical_key(mapping, stored), &params)?;
    let written = |c: usize| canonical.get::<_, Cell>(c).0.unwrap_or_default().to_vec();
    let id = (0..mapping.key_len).map(written).collect::<Vec<_>>().join(&b':');
    let given = &row.change().target[mapping.name.len() + 1..];
    Ok((id != given).then(|| writes_as(given, &id)))
}

fn writes_as(given: &[u8], id: &[u8]) -> String {
    format!("the database writes the id {} as {}; use that", Show(given), Show(id))
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
        let images = read(session, mapping, rows)?.images;
        for (outcome, image) in outcomes.iter_mut().zip(images) {
            take_over(outcome, image);
        }
    }
    Ok(())
}

/// The row as it is after the triggers, with the cells that only the statement returned.
fn take_over(outcome: &mut Outcome, reread: Option<Image>) {
    if let Ok(written) = outcome {
        let cells = std::mem::replace(written, reread);
        if let (Some(cells), Some(image)) = (cells, written) {
            (image.width()..cells.width()).for_each(|cell| image.push(cells.get(cell)));
        }
    }
}
