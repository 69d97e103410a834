//! Rows that are being loaded, one read a row however many clients ask for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::memory;
use crate::command::{Reply, Write};
use crate::config::limits::Limit;
use crate::engine::RowState;
use crate::host::ffi::{Blocked, Row, Str, Value, Writable};
use crate::host::module::{module, negative, MainThread, Module};
use crate::host::write::submit::submit;
use crate::host::write::waiter::{Completed, Loaded, Waiter};
use crate::host::write::{admit, field_names};
use crate::model::failure::{Class, Failure};
use crate::model::map::Map;
use crate::model::mapping::Mapping;

/// A command that waits for rows: its client, or the server.
pub struct Reading {
    /// `None`: the server waits.
    client: Option<Blocked>,
    left: usize,
    since: Instant,
    rows: Vec<Row>,
    error: Option<Value>,
}

/// What a command waits for, shared by its rows.
pub type SharedReading = Arc<Mutex<Reading>>;

fn lock(reading: &SharedReading) -> MutexGuard<'_, Reading> {
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who waits for each row.
static LOADS: MainThread<Map<Box<[u8]>, Vec<SharedReading>>> = MainThread::new();

impl Reading {
    /// A command that waits for so many rows, and has these.
    pub fn new(client: Option<Blocked>, left: usize, rows: Vec<Row>) -> SharedReading {
        Arc::new(Mutex::new(Reading { client, left, since: Instant::now(), rows, error: None }))
    }

    /// Another row is known, or it is known that there is none, or why not.
    fn add(&mut self, outcome: Result<Option<Row>, Value>) {
        match outcome {
            Ok(row) => self.rows.extend(row),
            Err(error) => drop(self.error.get_or_insert(error)),
        }
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return;
        }
        let Some(client) = self.client.take() else { return };
        match self.error.take() {
            Some(error) => client.answer(error),
            None => client.answer_by_command(std::mem::take(&mut self.rows)),
        }
    }
}

/// The rows, when the server that waits has them all; or why not.
pub fn done(reading: &SharedReading) -> Option<Result<Vec<Row>, Value>> {
    let mut reading = lock(reading);
    (reading.left == 0).then(|| match reading.error.take() {
        Some(error) => Err(error),
        None => Ok(std::mem::take(&mut reading.rows)),
    })
}

/// True while the row of this key is being loaded.
pub fn is_under_way(key: &[u8]) -> bool {
    LOADS.get().contains_key(key)
}

/// `reading` waits for the row of this key, with those who wait already.
pub fn join(module: &Module, mapping: &Arc<Mapping>, key: &[u8], reading: SharedReading) {
    {
        let mut loads = LOADS.get();
        if let Some(readings) = loads.get_mut(key) {
            module.shared.stats.load_shared.add(1);
            readings.push(reading);
            return;
        }
        loads.insert(key.into(), vec![reading]);
    }
    send(module, mapping, key);
}

fn send(module: &Module, mapping: &Arc<Mapping>, key: &[u8]) {
    let waiter = Box::new(Load { key: key.into(), since: Instant::now() });
    submit(module, mapping, key, Write::read(Reply::Done), waiter, None);
}

/// A row that is being loaded.
struct Load {
    key: Box<[u8]>,
    since: Instant,
}

impl Waiter for Load {
    fn limit(&self) -> Option<Limit> {
        Some(Limit::Timeout)
    }

    fn loads(&self) -> bool {
        true
    }

    fn is_write(&self) -> bool {
        false
    }

    fn completed(self: Box<Self>, writable: Option<&Writable>, completed: Completed) {
        let Some(module) = module() else { return };
        let Some(mut readings) = LOADS.get().remove(&self.key) else { return };
        let outcome = match &completed.loaded {
            Some(loaded) if loaded.is_outdated => {
                return again(module, &self.key, readings);
            }
            Some(loaded) => self.outcome(module, writable, loaded, &completed),
            // Its time is over. Those who came later have some left.
            None => {
                let timeout = module.shared.limits.timeout();
                let later =
                    readings.extract_if(.., |reading| lock(reading).since.elapsed() < timeout);
                let later: Vec<SharedReading> = later.collect();
                if !later.is_empty() {
                    again(module, &self.key, later);
                }
                Err(completed.value.clone())
            }
        };
        let stats = &module.shared.stats;
        match &outcome {
            Ok(_) => {
                let now = Instant::now();
                stats.load.record(now, now.saturating_duration_since(self.since));
                stats.loads.add(1);
            }
            Err(_) => stats.load_errors.add(1),
        }
        readings.iter().for_each(|reading| lock(reading).add(outcome.clone()));
    }
}

impl Load {
    /// The row, in the cache where that may be; or that there is none; or why that isn't known.
    fn outcome(
        &self,
        module: &Module,
        writable: Option<&Writable>,
        loaded: &Loaded,
        completed: &Completed,
    ) -> Result<Option<Row>, Value> {
        let mapping = loaded.mapping;
        let is_no_id = |failure: &Failure| matches!(failure, Failure::Refused(refusal) if refusal.class() == Class::Data);
        match (completed.failure, loaded.state) {
            (None, RowState::Present(image)) => {
                let row: Row = Arc::new((Str::new(&self.key), field_names::pairs(mapping, image)));
                let ttl = mapping.ttl.map(Duration::from_secs);
                // A row without a value has no hash.
                let has_values = !row.1.is_empty();
                let may = |ctx: &&Writable| has_values && memory::has_room(ctx, ttl.is_some());
                if let Some(ctx) = writable.filter(may) {
                    ctx.fill(&row.0, &row.1, ttl);
                }
                Ok(Some(row))
            }
            (Some(failure), _) if !is_no_id(failure) => Err(completed.value.clone()),
            // No row; or the database refuses the id, so that no row can have it.
            _ => {
                module.shared.stats.load_misses.add(1);
                if let Some(ctx) = writable {
                    let most = module.shared.limits.get(Limit::NegativeMax) as usize;
                    negative::add(ctx, &self.key, mapping.negative_ttl, most);
                }
                Ok(None)
            }
        }
    }
}

/// The row is read once more, for these.
fn again(module: &Module, key: &[u8], readings: Vec<SharedReading>) {
    let colon = key.iter().position(|&b| b == b':').unwrap_or(key.len());
    let mappings = admit::mappings(module);
    let mapping = mappings.and_then(|mappings| admit::named(&mappings, &key[..colon]));
    match mapping {
        Ok(mapping) => {
            LOADS.get().entry(key.into()).or_default().extend(readings);
            send(module, &mapping, key);
        }
        Err(failure) => {
            let error = Value::from(&failure);
            readings.iter().for_each(|reading| lock(reading).add(Err(error.clone())));
        }
    }
}
