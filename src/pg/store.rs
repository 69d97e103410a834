//! One worker's view of the database: a pooled connection for each batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::types::ToSql;
use r2d2::PooledConnection;

use super::catalog::Catalog;
use super::connections::Connections;
use super::error::{classify_connect, explain, SendError};
use super::pool::{too_late, Manager};
use super::session::Session;
use super::wire::{Array, Cell, Value};
use super::{resolve, transaction};
use crate::batch::Form;
use crate::engine::{Fate, Image, Lost, Outcome, Permit, Row, Store, Trouble};
use crate::failure::{Failure, Refusal};
use crate::key::Show;
use crate::limits::Limits;
use crate::mapping::Mapping;
use crate::mixed;
use crate::sql::{self, Rows};

/// How often the pool is asked why there is no connection yet.
const POOL_SLICE: Duration = Duration::from_millis(50);

/// A [`Store`] on the pool.
pub struct PgStore {
    connections: Connections,
    limits: Arc<Limits>,
    catalog: Arc<Catalog>,
    session: Option<PooledConnection<Manager>>,
}

impl PgStore {
    /// A store that has no connection yet.
    pub fn new(connections: Connections, limits: Arc<Limits>, catalog: Arc<Catalog>) -> PgStore {
        PgStore { connections, limits, catalog, session: None }
    }

    /// The batch's connection, or one from the pool that is alive.
    fn connect(&mut self) -> Result<PooledConnection<Manager>, Trouble> {
        if let Some(session) = self.session.take() {
            return Ok(session);
        }
        let until = Instant::now() + self.connections.limit();
        loop {
            let reason = match self.connections.get(POOL_SLICE) {
                Ok(mut session) => match session.is_alive() && session.follow().is_ok() {
                    true => return Ok(session),
                    // A dead one leaves the pool when it is dropped.
                    false => continue,
                },
                Err(error) => error.to_string(),
            };
            // The pool goes on trying; its last error is known before its time is up.
            let cause = reason.strip_prefix("timed out waiting for connection: ");
            let is_late = Instant::now() >= until && !self.connections.are_all_used();
            if let Some(cause) = cause {
                return Err(classify_connect(cause));
            }
            if is_late {
                return Err(Trouble::Down(too_late(self.limits.connect_timeout())));
            }
        }
    }
}

impl Store for PgStore {
    fn apply(
        &mut self,
        permit: &Permit,
        mapping: &Mapping,
        form: &Form,
        rows: &[Row],
    ) -> Result<Vec<Outcome>, Trouble> {
        if let Some(mappings) = self.catalog.successors(mapping) {
            return Err(Trouble::Stale(mappings));
        }
        let mut session = self.connect()?;
        if let Some(problem) = unfit(mapping, form) {
            let newer = self.catalog.newer(&mut session, mapping);
            self.session = Some(session);
            return Err(newer.ok().flatten().map_or(Trouble::Unfit(problem), Trouble::Stale));
        }
        let trouble = match transaction::apply(&mut session, permit, mapping, form, rows) {
            Ok(outcomes) => {
                self.session = Some(session);
                return Ok(outcomes);
            }
            Err(trouble) => trouble,
        };
        let trouble = match trouble {
            // The connection leaves the pool when it is dropped.
            Trouble::Lost(_) | Trouble::Retry(_) => {
                session.retire();
                return Err(trouble);
            }
            Trouble::Conflict(_) => {
                // The statement itself may be what is out of date.
                session.forget_statements();
                trouble
            }
            // Before a client is told, make sure that it is not we who are out of date.
            Trouble::Refused(refusal) if rows.len() == 1 || !names_a_row(&refusal) => {
                match self.catalog.newer(&mut session, mapping) {
                    Ok(Some(mappings)) => Trouble::Stale(mappings),
                    _ => Trouble::Refused(refusal),
                }
            }
            other => other,
        };
        self.session = Some(session);
        Err(trouble)
    }

    fn resolve(&mut self, lost: &Lost, mapping: &Mapping, rows: &[Row]) -> Result<Fate, Trouble> {
        let mut session = self.connect()?;
        let fate = resolve::fate(&mut session, lost, mapping, rows)
            .map_err(|error| Trouble::Down(explain(&error)))?;
        self.session = Some(session);
        Ok(fate)
    }

    fn release(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.used();
        }
    }
}

/// Why no row can take such a statement.
fn unfit(mapping: &Mapping, form: &Form) -> Option<String> {
    let Form::Add(column) = form else { return None };
    let info = &mapping.columns[*column].info;
    (!info.numeric).then(|| {
        format!(
            "column {:?} is of type {}; a number can be added to a numeric column only",
            info.name, info.type_name,
        )
    })
}

/// Class 22 and 23 are about a row's values, and PL/pgSQL's about what a trigger thinks of it; all
/// others are about the statement.
fn names_a_row(refusal: &Refusal) -> bool {
    ["22", "23", "P0"].contains(&refusal.sqlstate.get(..2).unwrap_or_default())
}

/// Runs the statement, and looks for the reason where it left a row out.
pub fn run(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Vec<Outcome>, SendError> {
    let mut images = images(mapping, rows, &query(session, permit, mapping, form, rows)?);
    // A read finds nothing, and what a mixed statement misses is inserted: no need to ask why.
    if !matches!(form, Form::Read | Form::Mixed) {
        for (row, image) in rows.iter().zip(&mut images).filter(|(_, image)| image.is_none()) {
            *image = left_out(session, mapping, form, row)?.map(Err);
        }
    }
    Ok(images.into_iter().map(Option::transpose).collect())
}

/// The rows as they are.
pub fn read(
    session: &mut Session,
    mapping: &Mapping,
    rows: &[Row],
) -> Result<Images, postgres::Error> {
    match query(session, &Permit::READ, mapping, &Form::Read, rows) {
        Ok(returned) => Ok(images(mapping, rows, &returned)),
        Err(SendError::Database(error)) => Err(error),
        Err(SendError::Demoted(_)) => unreachable!("anybody may read"),
    }
}

/// Runs the statement of a form for these rows.
fn query(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Vec<postgres::Row>, SendError> {
    session.carries(rows.iter().map(|row| row.change().size()).sum());
    let returned = send(session, permit, mapping, form, rows)?;
    session.carries(returned.iter().map(postgres::Row::raw_size_bytes).sum());
    Ok(returned)
}

fn send(
    session: &mut Session,
    permit: &Permit,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Vec<postgres::Row>, SendError> {
    if let ([row], true) = (rows, *form != Form::Mixed) {
        let values: Vec<Value> = cells(form, row).map(Value).collect();
        let params: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        let statement = session.prepare(mapping, form, Rows::One)?;
        permit.to_send(form)?;
        return Ok(session.client.query(&statement, &params)?);
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
    let statement = session.prepare(mapping, form, Rows::Many)?;
    permit.to_send(form)?;
    Ok(session.client.query(&statement, &params)?)
}

/// A row's parameters: the id's parts, then the values.
fn cells<'a>(form: &Form, row: &'a Row) -> impl Iterator<Item = &'a [u8]> {
    // A row that is read again after a write has values too.
    let values = (*form != Form::Read).then(|| row.action().values().map(|(_, value)| value));
    row.change().id_parts().chain(values.into_iter().flatten())
}

/// Each row's image, at the place of the row; `None` where the statement returned none.
pub type Images = Vec<Option<Result<Image, Failure>>>;

/// The row as it is after the triggers, with the cells that only the statement returned.
pub fn take_over(outcome: &mut Outcome, reread: Option<Result<Image, Failure>>) {
    if let Ok(written) = outcome {
        let cells = written.take();
        *written = reread.and_then(Result::ok);
        if let (Some(cells), Some(image)) = (cells, written) {
            (image.width()..cells.width()).for_each(|cell| image.push(cells.get(cell)));
        }
    }
}

/// The parameters: one array a key column, then one a value.
fn arrays<'a>(mapping: &Mapping, form: &Form, rows: &'a [Row]) -> Vec<Array<'a>> {
    let count = match form {
        Form::Upsert(columns) => mapping.key_len + columns.len(),
        Form::Add(_) | Form::Fill(_) => mapping.key_len + 1,
        Form::Mixed => mapping.columns.len(),
        Form::Erase(_) | Form::Delete | Form::Read | Form::Pass => mapping.key_len,
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

/// The returned rows, each at the place of the row that it answers.
fn images(mapping: &Mapping, rows: &[Row], returned: &[postgres::Row]) -> Images {
    let mut images: Vec<Option<_>> = rows.iter().map(|_| None).collect();
    let mut target = Vec::new();
    for (n, row) in returned.iter().enumerate() {
        let mut image = Image::default();
        (0..row.len()).for_each(|c| image.push(row.get::<_, Cell>(c).0));
        target.clear();
        target.extend_from_slice(mapping.name.as_bytes());
        for part in (0..mapping.key_len).filter_map(|c| image.get(c)) {
            target.push(b':');
            target.extend_from_slice(part);
        }
        // The database answers in the order of the input, as a rule; the input is sorted.
        let at = match rows.get(n).is_some_and(|row| row.change().target[..] == target[..]) {
            true => Some(n),
            false => rows.binary_search_by(|row| row.change().target[..].cmp(&target)).ok(),
        };
        if let Some(at) = at {
            images[at] = Some(Ok(image));
        }
    }
    images
}

/// Why a statement that succeeded returned no row for this one; `None`: for no bad reason.
fn left_out(
    session: &mut Session,
    mapping: &Mapping,
    form: &Form,
    row: &Row,
) -> Result<Option<Failure>, postgres::Error> {
    let parts: Vec<Value> = row.change().id_parts().map(Value).collect();
    let params: Vec<&(dyn ToSql + Sync)> = parts.iter().map(|p| p as _).collect();
    let canonical = session.client.query_one(&sql::canonical_key(mapping), &params)?;
    let written = |c: usize| canonical.get::<_, Cell>(c).0.unwrap_or_default().to_vec();
    let id = (0..mapping.key_len).map(written).collect::<Vec<_>>().join(&b':');
    let given = &row.change().target[mapping.name.len() + 1..];
    if id != given {
        let (given, id) = (Show(given), Show(&id));
        let problem = format!("the database writes the id {given} as {id}; use that");
        return Ok(Some(Failure::Input(problem)));
    }
    // Nothing to erase or to delete, unless somebody has kept it from us.
    if matches!(form, Form::Erase(_) | Form::Delete)
        && (!mapping.watched || read(session, mapping, std::slice::from_ref(row))?[0].is_none())
    {
        return Ok(None);
    }
    Ok(Some(Failure::Refused(Refusal {
        sqlstate: "02000".into(),
        message: "no row was written: a trigger, a rule or a policy of the table left it out"
            .into(),
        ..Refusal::default()
    })))
}
