//! One worker's view of the database: a pooled connection for each batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::types::ToSql;
use r2d2::{Pool, PooledConnection};

use super::catalog::Catalog;
use super::error::classify;
use super::pool::{Manager, Session};
use super::wire::{Array, Cell, Value};
use crate::batch::Form;
use crate::engine::{Image, Outcome, Row, Store, Trouble};
use crate::failure::{Failure, Refusal};
use crate::key::Show;
use crate::mapping::Mapping;
use crate::sql;

/// How often the pool is asked why there is no connection yet.
const POOL_SLICE: Duration = Duration::from_millis(50);

/// A [`Store`] on the pool.
pub struct PgStore {
    pool: Pool<Manager>,
    connect_timeout: Duration,
    catalog: Arc<Catalog>,
    session: Option<PooledConnection<Manager>>,
}

impl PgStore {
    /// A store that waits `connect_timeout` for a connection.
    pub fn new(pool: Pool<Manager>, connect_timeout: Duration, catalog: Arc<Catalog>) -> PgStore {
        PgStore { pool, connect_timeout, catalog, session: None }
    }

    /// The batch's connection, or one from the pool that is alive.
    fn connect(&mut self) -> Result<PooledConnection<Manager>, Trouble> {
        if let Some(session) = self.session.take() {
            return Ok(session);
        }
        let until = Instant::now() + self.connect_timeout;
        loop {
            let reason = match self.pool.get_timeout(POOL_SLICE) {
                Ok(mut session) => match session.is_alive() {
                    true => return Ok(session),
                    // A dead one leaves the pool when it is dropped.
                    false => continue,
                },
                Err(error) => error.to_string(),
            };
            // The pool goes on trying; its last error is known before its time is up.
            let cause = reason.strip_prefix("timed out waiting for connection: ");
            if cause.is_some() || Instant::now() >= until {
                return Err(Trouble::Down(cause.unwrap_or(&reason).to_string()));
            }
        }
    }
}

impl Store for PgStore {
    fn apply(
        &mut self,
        mapping: &Mapping,
        form: &Form,
        rows: &[Row],
    ) -> Result<Vec<Outcome>, Trouble> {
        let mut session = self.connect()?;
        let result = run(&mut session, mapping, form, rows);
        let trouble = match result {
            Ok(outcomes) => {
                self.session = Some(session);
                return Ok(outcomes);
            }
            Err(error) => classify(&error),
        };
        let trouble = match trouble {
            // A lost connection leaves the pool when it is dropped.
            Trouble::Lost(_) => return Err(trouble),
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

    fn release(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.used();
        }
    }
}

/// Class 22 and 23 are about a row's values, and PL/pgSQL's about what a trigger thinks of it; all
/// others are about the statement.
fn names_a_row(refusal: &Refusal) -> bool {
    ["22", "23", "P0"].contains(&refusal.sqlstate.get(..2).unwrap_or_default())
}

/// One statement, its own transaction; where triggers come after it, one that reads the rows again.
fn run(
    session: &mut Session,
    mapping: &Mapping,
    form: &Form,
    rows: &[Row],
) -> Result<Vec<Outcome>, postgres::Error> {
    let arrays = arrays(mapping, form, rows);
    let params: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|a| a as _).collect();
    let statement = session.prepare(mapping, form)?;
    let mut images = match mapping.reread && !matches!(form, Form::Read | Form::Delete) {
        false => images(mapping, rows, &session.client.query(&statement, &params)?),
        true => {
            let read = session.prepare(mapping, &Form::Read)?;
            let mut transaction = session.client.transaction()?;
            let written = images(mapping, rows, &transaction.query(&statement, &params)?);
            let reread = transaction.query(&read, &params[..mapping.key_len])?;
            transaction.commit()?;
            take_over(written, images(mapping, rows, &reread))
        }
    };
    // HDEL of a missing row does nothing, and a read finds nothing: no need to ask why.
    let may_miss = match form {
        Form::Erase(_) | Form::Delete => !mapping.watched,
        Form::Read => true,
        _ => false,
    };
    if !may_miss {
        for (row, image) in rows.iter().zip(&mut images).filter(|(_, image)| image.is_none()) {
            *image = left_out(session, mapping, form, row)?.map(Err);
        }
    }
    Ok(images.into_iter().map(Option::transpose).collect())
}

type Images = Vec<Option<Result<Image, Failure>>>;

/// The rows as they are after the triggers, with the cells that only the statement returned.
fn take_over(written: Images, reread: Images) -> Images {
    let newest = |(written, reread): (Option<Result<Image, Failure>>, _)| match (written, reread) {
        (Some(Ok(written)), Some(Ok(mut reread))) => {
            let reread: &mut Image = &mut reread;
            (reread.width()..written.width()).for_each(|cell| reread.push(written.get(cell)));
            Some(Ok(std::mem::take(reread)))
        }
        (written, _) => written,
    };
    written.into_iter().zip(reread).map(newest).collect()
}

/// The parameters: one array a key column, then one a value.
fn arrays<'a>(mapping: &Mapping, form: &Form, rows: &'a [Row]) -> Vec<Array<'a>> {
    let values = match form {
        Form::Upsert(columns) => columns.len(),
        Form::Add(_) | Form::Fill(_) => 1,
        Form::Erase(_) | Form::Delete | Form::Read => 0,
    };
    let count = mapping.key_len + values;
    let mut arrays: Vec<Array> =
        (0..count).map(|_| Array(Vec::with_capacity(rows.len()))).collect();
    for row in rows {
        let cells = row.change().id_parts().chain(row.action.values().map(|(_, value)| value));
        for (array, value) in arrays.iter_mut().zip(cells) {
            array.0.push(value);
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
    if matches!(form, Form::Erase(_) | Form::Delete) {
        let read = session.prepare(mapping, &Form::Read)?;
        let arrays = arrays(mapping, &Form::Read, std::slice::from_ref(row));
        let params: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|a| a as _).collect();
        if session.client.query(&read, &params)?.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(Failure::Refused(Refusal {
        sqlstate: "02000".into(),
        message: "no row was written: a trigger, a rule or a policy of the table left it out"
            .into(),
        ..Refusal::default()
    })))
}
