//! Sends a statement's parameters, and assigns each row that it returns to the write that it answers.

use postgres::types::ToSql;

use crate::engine::{Image, Permit};
use crate::model::change::Change;
use crate::model::form::Form;
use crate::model::mapping::Mapping;
use crate::pg::connect::session::Session;
use crate::pg::connect::wire::{Array, Cell, Value};
use crate::pg::error::SendError;
use crate::plan::group::Row;
use crate::plan::mixed;
use crate::sql::{Shape, Step};

/// What a statement has returned.
pub struct Returned {
    /// Each row's image, at the place of the row; `None` where the statement returned none.
    pub images: Vec<Option<Image>>,
    /// The ids of rows that none of the writes names, as the database writes them.
    pub strangers: Vec<Vec<u8>>,
}

impl Returned {
    /// Nothing.
    pub fn nothing<J>(rows: &[Row<J>]) -> Returned {
        Returned { images: rows.iter().map(|_| None).collect(), strangers: Vec::new() }
    }

    /// The image of the only row.
    pub fn only(&self) -> Option<&Image> {
        self.images.first().and_then(Option::as_ref)
    }

    /// Nothing was returned at all.
    pub fn is_nothing(&self) -> bool {
        self.strangers.is_empty() && self.images.iter().all(Option::is_none)
    }
}

/// Runs the statement of a form for these rows.
pub fn query<J: AsRef<Change>>(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row<J>],
) -> Result<Returned, SendError> {
    match form {
        Form::Add(_) => add(session, permit, mapping, form, rows),
        _ => all(session, permit, mapping, form, [Shape::One, Shape::Many], rows),
    }
}

/// Adds to the rows that are there, most of them as a rule, and then to the others. It is part of a transaction.
fn add<J: AsRef<Change>>(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row<J>],
) -> Result<Returned, SendError> {
    let found = [Shape::OneFound, Shape::ManyFound];
    let mut returned = all(session, permit, mapping, form, found, rows)?;
    let missing = |n: &usize| returned.images[*n].is_none();
    let missing: Vec<usize> = (0..rows.len()).filter(missing).collect();
    if missing.is_empty() {
        return Ok(returned);
    }
    let change = |row: &Row<J>| Change { action: row.action().clone(), ..row.change().clone() };
    let others: Vec<Row<Change>> = missing.iter().map(|&n| Row::of(change(&rows[n]))).collect();
    let added = all(session, permit, mapping, form, [Shape::One, Shape::Many], &others)?;
    for (n, image) in missing.into_iter().zip(added.images) {
        returned.images[n] = image;
    }
    returned.strangers.extend(added.strangers);
    Ok(returned)
}

/// Runs it in the shape for one row, or for several.
fn all<J: AsRef<Change>>(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    [for_one, for_many]: [Shape; 2],
    rows: &[Row<J>],
) -> Result<Returned, SendError> {
    if let ([_], true) = (rows, *form != Form::Mixed) {
        return one(session, permit, mapping, form, for_one, rows);
    }
    let arrays = arrays(mapping, form, rows);
    let masks: Vec<i64> = match form {
        Form::Mixed => rows.iter().map(|row| mixed::mask(mapping, row.action())).collect(),
        _ => Vec::new(),
    };
    let mut params: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| array as _).collect();
    if *form == Form::Mixed {
        params.push(&masks);
    }
    send(session, permit, mapping, form, for_many, rows, &params)
}

/// Runs a step of a form for the only row.
pub fn step<J: AsRef<Change>>(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    step: Step,
    rows: &[Row<J>],
) -> Result<Returned, SendError> {
    one(session, permit, mapping, form, Shape::Step(step), rows)
}

fn one<J: AsRef<Change>>(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    shape: Shape,
    rows: &[Row<J>],
) -> Result<Returned, SendError> {
    let names_the_key_only = matches!(shape, Shape::Step(Step::Look | Step::Note));
    let form_of_cells = if names_the_key_only { &Form::Read } else { form };
    let values: Vec<Value> = cells(form_of_cells, &rows[0]).map(Value).collect();
    let params: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    send(session, permit, mapping, form, shape, rows, &params)
}

fn send<J: AsRef<Change>>(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    shape: Shape,
    rows: &[Row<J>],
    params: &[&(dyn ToSql + Sync)],
) -> Result<Returned, SendError> {
    session.carries(rows.iter().map(|row| row.change().size()).sum());
    let statement = session.prepare(mapping, form, shape)?;
    permit.to_send(form)?;
    let returned = session.client.query(&statement, params)?;
    session.carries(returned.iter().map(postgres::Row::raw_size_bytes).sum());
    Ok(sort_in(mapping, rows, &returned))
}

/// A row's parameters: the id's parts, then the values.
fn cells<'a, J: AsRef<Change>>(form: &Form, row: &'a Row<J>) -> impl Iterator<Item = &'a [u8]> {
    // A row that is read again after a write has values too.
    let values = (!form.only_looks()).then(|| row.action().values().map(|(_, value)| value));
    row.change().id_parts().chain(values.into_iter().flatten())
}

/// The parameters: one array a key column, then one a value.
fn arrays<'a, J: AsRef<Change>>(
    mapping: &Mapping,
    form: &Form,
    rows: &'a [Row<J>],
) -> Vec<Array<'a>> {
    let count = match form {
        Form::Upsert(columns) | Form::Replace(columns) => mapping.key_len + columns.len(),
        Form::Add(_) | Form::Fill(_) => mapping.key_len + 1,
        Form::Mixed => mapping.columns.len(),
        Form::Erase(_) | Form::Delete | Form::Read | Form::Lock | Form::Pass => mapping.key_len,
    };
    let mut arrays: Vec<Array> =
        (0..count).map(|_| Array(Vec::with_capacity(rows.len()))).collect();
    for row in rows {
        if *form == Form::Mixed {
            arrays.iter_mut().for_each(|array| array.0.push(None));
            let cells = row.change().id_parts().enumerate().chain(row.action().values());
            cells.for_each(|(column, value)| {
                *arrays[column].0.last_mut().expect("pushed") = Some(value)
            });
            continue;
        }
        for (array, value) in arrays.iter_mut().zip(cells(form, row)) {
            array.0.push(Some(value));
        }
    }
    arrays
}

/// Puts each returned row to the write that names it.
fn sort_in<J: AsRef<Change>>(
    mapping: &Mapping,
    rows: &[Row<J>],
    returned: &[postgres::Row],
) -> Returned {
    let mut sorted = Returned::nothing(rows);
    let mut target = Vec::new();
    for (n, row) in returned.iter().enumerate() {
        let mut image = Image::default();
        (0..row.len()).for_each(|c| image.push(row.get::<_, Cell>(c).0));
        // The database answers in the order of the input, as a rule.
        let expected = rows.get(n).is_some_and(|row| names(row.change(), mapping, &image));
        let at = match expected {
            true => Some(n),
            false => {
                target.clear();
                target.extend_from_slice(mapping.name.as_bytes());
                target.push(b':');
                target.extend_from_slice(&id(mapping, &image));
                let at = rows.binary_search_by(|row| row.change().target[..].cmp(&target)).ok();
                at.filter(|&at| names(rows[at].change(), mapping, &image))
            }
        };
        match at {
            Some(at) if sorted.images[at].is_none() => sorted.images[at] = Some(image),
            _ => sorted.strangers.push(id(mapping, &image)),
        }
    }
    sorted
}

/// The change names this row: each part of its id is what the row's key column holds.
fn names(change: &Change, mapping: &Mapping, image: &Image) -> bool {
    let parts = (0..mapping.key_len).map(|c| image.get(c));
    parts.eq(change.id_parts().map(Some))
}

/// The row's id as the database writes it.
fn id(mapping: &Mapping, image: &Image) -> Vec<u8> {
    let parts: Vec<&[u8]> =
        (0..mapping.key_len).map(|c| image.get(c).unwrap_or_default()).collect();
    parts.join(&b':')
}

/// The rows as they are.
pub fn read<J: AsRef<Change>>(
    session: &mut Session,
    mapping: &Mapping,
    rows: &[Row<J>],
) -> Result<Returned, postgres::Error> {
    match query(session, &Permit::READ, mapping, &Form::Read, rows) {
        Ok(returned) => Ok(returned),
        Err(SendError::Database(error)) => Err(error),
        Err(SendError::Demoted(_)) => unreachable!("anybody may read"),
    }
}
