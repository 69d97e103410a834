//! A row whose every statement somebody sees: changed where it is there, added where it is not.

use super::returned::{read, step, Returned};
use crate::engine::{Permit, Row};
use crate::model::form::Form;
use crate::model::mapping::Mapping;
use crate::pg::connect::session::Session;
use crate::pg::error::SendError;
use crate::sql::Step;

/// Runs the form's steps for the only row, in a transaction that is begun here.
pub fn run(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Returned, SendError> {
    session.begin()?;
    run_again(session, permit, mapping, form, rows, "ROLLBACK; BEGIN")
}

/// The same in a transaction that has been begun, and goes on.
pub fn run_within(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Returned, SendError> {
    if form.added().is_some() {
        session.client.batch_execute("SAVEPOINT before")?;
    }
    run_again(session, permit, mapping, form, rows, "ROLLBACK TO before")
}

/// `undo`: takes back what a refused step has done, and lets go on.
fn run_again(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
    undo: &str,
) -> Result<Returned, SendError> {
    let may_add = form.added().is_some();
    let error = match once(session, permit, mapping, form, rows, may_add) {
        Err(error) if error.is_refusal() && may_add => error,
        result => return result,
    };
    // Somebody may have added the row between the two statements, or keep it from being changed:
    // where it is there, it is not to be added, and that is not why the write is refused.
    session.client.batch_execute(undo)?;
    match read(session, mapping, rows)?.only() {
        Some(_) => once(session, permit, mapping, form, rows, false),
        None => Err(error),
    }
}

fn once(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
    may_add: bool,
) -> Result<Returned, SendError> {
    let mut run = |name| step(session, permit, mapping, form, name, rows);
    let returned = match form {
        Form::Fill(_) => {
            let found = run(Step::Look)?;
            // The cell behind the columns: is it empty?
            match found.only().map(|row| row.get(mapping.columns.len())) {
                Some(Some(b"true")) => run(Step::Change)?,
                Some(_) => found,
                None if found.is_nothing() && may_add => run(Step::Add)?,
                None => found,
            }
        }
        _ => {
            let changed = run(Step::Change)?;
            match changed.is_nothing() && may_add {
                true => run(Step::Add)?,
                false => changed,
            }
        }
    };
    let is_changed = returned.only().is_some() && !form.only_looks();
    if is_changed && session.has_journal() {
        step(session, permit, mapping, form, Step::Note, rows)?;
    }
    Ok(returned)
}
