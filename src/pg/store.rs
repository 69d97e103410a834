//! One worker's view of the database: a pooled connection for each batch.

use std::time::{Duration, Instant};

use postgres::types::ToSql;
use postgres::Client;
use r2d2::{Pool, PooledConnection};

use super::error::classify;
use super::pool::Manager;
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
    session: Option<PooledConnection<Manager>>,
}

impl PgStore {
    /// A store that waits `connect_timeout` for a connection.
    pub fn new(pool: Pool<Manager>, connect_timeout: Duration) -> PgStore {
        PgStore {
            pool,
            connect_timeout,
            session: None,
        }
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
        let arrays = arrays(mapping, form, rows);
        let params: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|a| a as _).collect();
        let result = session
            .prepare(mapping, form)
            .and_then(|statement| session.client.query(&statement, &params))
            .and_then(|returned| {
                let mut images = images(mapping, rows, &returned);
                let missing = rows
                    .iter()
                    .zip(&mut images)
                    .filter(|(_, image)| image.is_none());
                if *form != Form::Read {
                    for (row, image) in missing {
                        *image = Some(Err(left_out(&mut session.client, mapping, row)?));
                    }
                }
                Ok(images)
            });
        match result {
            Ok(images) => {
                self.session = Some(session);
                Ok(images.into_iter().map(Option::transpose).collect())
            }
            Err(error) => {
                let trouble = classify(&error);
                if matches!(trouble, Trouble::Conflict(_)) {
                    // The statement itself may be what is out of date.
                    session.forget_statements();
                }
                if !matches!(trouble, Trouble::Lost(_)) {
                    self.session = Some(session);
                }
                Err(trouble)
            }
        }
    }

    fn release(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.used();
        }
    }
}

/// The parameters: one array a key column, then one a value.
fn arrays<'a>(mapping: &Mapping, form: &Form, rows: &'a [Row]) -> Vec<Array<'a>> {
    let values = match form {
        Form::Upsert(columns) => columns.len(),
        Form::Read => 0,
    };
    let count = mapping.key_len + values;
    let mut arrays: Vec<Array> = (0..count)
        .map(|_| Array(Vec::with_capacity(rows.len())))
        .collect();
    for row in rows {
        let cells = row.change().id_parts().chain(row.values());
        for (array, value) in arrays.iter_mut().zip(cells) {
            array.0.push(value);
        }
    }
    arrays
}

/// The returned rows, each at the place of the row that it answers.
fn images(
    mapping: &Mapping,
    rows: &[Row],
    returned: &[postgres::Row],
) -> Vec<Option<Result<Image, Failure>>> {
    let mut images: Vec<Option<_>> = rows.iter().map(|_| None).collect();
    let mut target = Vec::new();
    for (n, row) in returned.iter().enumerate() {
        let mut image = Image::default();
        (0..mapping.columns.len()).for_each(|c| image.push(row.get::<_, Cell>(c).0));
        target.clear();
        target.extend_from_slice(mapping.name.as_bytes());
        for part in (0..mapping.key_len).filter_map(|c| image.get(c)) {
            target.push(b':');
            target.extend_from_slice(part);
        }
        // The database answers in the order of the input, as a rule; the input is sorted.
        let at = match rows
            .get(n)
            .is_some_and(|row| row.change().target[..] == target[..])
        {
            true => Some(n),
            false => rows
                .binary_search_by(|row| row.change().target[..].cmp(&target))
                .ok(),
        };
        if let Some(at) = at {
            images[at] = Some(Ok(image));
        }
    }
    images
}

/// Why a statement that succeeded returned no row for this one.
fn left_out(client: &mut Client, mapping: &Mapping, row: &Row) -> Result<Failure, postgres::Error> {
    let parts: Vec<Value> = row.change().id_parts().map(Value).collect();
    let params: Vec<&(dyn ToSql + Sync)> = parts.iter().map(|p| p as _).collect();
    let canonical = client.query_one(&sql::canonical_key(mapping), &params)?;
    let written = |c: usize| canonical.get::<_, Cell>(c).0.unwrap_or_default().to_vec();
    let id = (0..mapping.key_len)
        .map(written)
        .collect::<Vec<_>>()
        .join(&b':');
    let given = &row.change().target[mapping.name.len() + 1..];
    if id != given {
        let problem = format!(
            "the database writes the id {} as {}; use that",
            Show(given),
            Show(&id)
        );
        return Ok(Failure::Input(problem));
    }
    Ok(Failure::Refused(Refusal {
        sqlstate: "02000".into(),
        message: "no row was written: a trigger, a rule or a policy of the table left it out"
            .into(),
        ..Refusal::default()
    }))
}
