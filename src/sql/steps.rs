//! One row, one step after the other: what a person would type.
//!
//! Where a trigger, a rule or a policy sees every statement, an INSERT for a row that exists is one too
//! many, and so is a data-modifying WITH, which rules refuse. So the row is changed where it is there,
//! and added where it is not.

use super::upsert::{self, added_to, plain_insert, replace_all, set_all, sets};
use super::Names;
use super::Step;
use crate::model::form::Form;

/// The statement of a step. Its rows hold every column, then for [`Form::Fill`] whether the column
/// was empty, then, unless it only looks, the transaction's number.
pub fn statement(names: &Names, form: &Form, step: Step, origin: Option<i64>) -> String {
    match step {
        Step::Note => note(names, origin.unwrap_or_default()),
        Step::Look => look(names, form),
        Step::Change => change(names, form),
        Step::Add => {
            let columns = form.added().unwrap_or_default();
            let input = match form {
                Form::Add(column) => names.input_of_base(*column),
                _ => names.input(&columns),
            };
            let insert = plain_insert(names, &columns, &format!("{input} "));
            format!("{insert}{}", returning(names, form))
        }
    }
}

fn change(names: &Names, form: &Form) -> String {
    let update = |input: String, sets: String| {
        format!("{} {}", upsert::update(names, &sets, &input), returning(names, form))
    };
    match form {
        Form::Upsert(columns) if !columns.is_empty() => {
            update(names.input(columns), set_all(names, columns, |c| names.given(c)))
        }
        Form::Replace(columns) => {
            update(names.input(columns), replace_all(names, columns, |c| names.given(c)))
        }
        Form::Fill(column) => {
            update(names.input(&[*column]), set_all(names, &[*column], |c| names.given(c)))
        }
        Form::Add(column) => update(names.input_of_base(*column), added_to(names, *column)),
        Form::Erase(columns) => update(names.input(&[]), sets(names.erased(columns))),
        Form::Delete => format!(
            "DELETE FROM {} AS t USING {} WHERE {} {}",
            names.own_rows(),
            names.input(&[]),
            names.same_key("t"),
            returning(names, form),
        ),
        Form::Upsert(_) | Form::Mixed | Form::Read | Form::Lock | Form::Pass => look(names, form),
    }
}

/// Reads the row. Of one to be filled it also says whether it has to be, and keeps others from it.
fn look(names: &Names, form: &Form) -> String {
    let (more, lock) = match form {
        Form::Fill(column) => {
            (format!(", ({} IS NULL)::text", names.cell("t", *column)), " FOR NO KEY UPDATE OF t")
        }
        _ => (String::new(), ""),
    };
    format!(
        "SELECT {}{more} FROM {} JOIN {} AS t ON {}{lock}",
        names.returning("t"),
        names.input(&[]),
        names.own_rows(),
        names.same_key("t"),
    )
}

fn returning(names: &Names, form: &Form) -> String {
    let filled = if matches!(form, Form::Fill(_)) { ", 't'" } else { "" };
    format!("RETURNING {}{filled}, pg_current_xact_id()::text", names.returning("t"))
}

/// Notes a key in the journal; its parameters are the key's columns.
fn note(names: &Names, origin: i64) -> String {
    let part = |c: usize| match names.mapping.columns[c].info.bytea {
        true => format!("encode(${}::bytea, 'hex')", c + 1),
        false => format!("${}::text", c + 1),
    };
    format!(
        "INSERT INTO writethrough.journal (origin, name, key) VALUES ({origin}, '{}', {})",
        names.mapping.name.replace('\'', "''"),
        super::join(names.key(), " || ':' || ", part),
    )
}
