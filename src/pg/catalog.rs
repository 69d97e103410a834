//! The mappings as the database's catalog confirms them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postgres::Client;

use super::describe::{self, FINGERPRINT};
use super::error::explain;
use super::session::Session;
use crate::config::{ConfigError, MappingConfig};
use crate::mapping::{Mapping, Mappings};

/// Why the mappings could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The document does not fit the tables.
    #[error("{0}")]
    Mapping(#[from] ConfigError),
    /// The database could not be asked.
    #[error("{}", explain(.0))]
    Database(#[from] postgres::Error),
}

/// The mappings as the catalog confirmed them, once somebody has read it.
pub struct Catalog {
    state: Mutex<State>,
    /// Mappings of a lower version are of a document that is not in use any more.
    oldest: AtomicU64,
    /// One reads at a time, so that what was read last is the newest.
    reading: Mutex<()>,
}

struct State {
    configs: Arc<Vec<MappingConfig>>,
    read: Option<Result<Arc<Mappings>, String>>,
}

impl Catalog {
    /// A catalog for the document's mappings, not read yet.
    pub fn new(configs: Vec<MappingConfig>) -> Catalog {
        let state = Mutex::new(State { configs: Arc::new(configs), read: None });
        Catalog { state, oldest: AtomicU64::new(0), reading: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The document's mappings.
    pub fn configs(&self) -> Arc<Vec<MappingConfig>> {
        self.state().configs.clone()
    }

    /// The mappings; `Err(Some(why))` when the document does not fit the tables, `Err(None)` while
    /// the database was not reached yet.
    pub fn mappings(&self) -> Result<Arc<Mappings>, Option<String>> {
        match &self.state().read {
            Some(read) => read.clone().map_err(Some),
            None => Err(None),
        }
    }

    /// Reads the catalog and checks every mapping: all of it or, when one is wrong, none.
    pub fn read(&self, client: &mut Client) -> Result<Arc<Mappings>, CatalogError> {
        let _turn = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = load(client, &self.configs());
        if let Err(CatalogError::Mapping(error)) = &loaded {
            self.refuse(error);
        }
        loaded.map(|mappings| self.take_over(None, mappings))
    }

    /// The database does not fit the document. What was right once goes on being used.
    pub fn refuse(&self, error: &ConfigError) {
        let mut state = self.state();
        if !matches!(state.read, Some(Ok(_))) {
            state.read = Some(Err(error.to_string()));
        }
    }

    /// The same for other mappings, which take the place of those in use.
    pub fn replace(
        &self,
        client: &mut Client,
        configs: Vec<MappingConfig>,
    ) -> Result<Arc<Mappings>, CatalogError> {
        let _turn = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let mappings = load(client, &configs)?;
        Ok(self.take_over(Some(configs), mappings))
    }

    fn take_over(&self, configs: Option<Vec<MappingConfig>>, mappings: Mappings) -> Arc<Mappings> {
        let mappings = Arc::new(mappings);
        let mut state = self.state();
        state.read = Some(Ok(mappings.clone()));
        if let Some(configs) = configs.filter(|configs| *configs != *state.configs) {
            state.configs = Arc::new(configs);
            let oldest = mappings.iter().map(|mapping| mapping.version).min();
            self.oldest.store(oldest.unwrap_or_default(), Ordering::Release);
        }
        mappings
    }

    /// The document's mappings of now, when `mapping` is of an earlier one and has a successor. A
    /// table that was read again makes nobody wait: its statements tell.
    pub fn successors(&self, mapping: &Mapping) -> Option<Arc<Mappings>> {
        match mapping.version < self.oldest.load(Ordering::Acquire) {
            true => self.newer_than(mapping),
            false => None,
        }
    }

    fn newer_than(&self, mapping: &Mapping) -> Option<Arc<Mappings>> {
        let mappings = self.mappings().ok()?;
        let is_other = |m: &Arc<Mapping>| m.version != mapping.version;
        mappings.get(mapping.name.as_bytes()).is_some_and(is_other).then_some(mappings)
    }

    /// A newer reading, when the table of `mapping` is not what it was.
    pub fn newer(
        &self,
        session: &mut Session,
        mapping: &Mapping,
    ) -> Result<Option<Arc<Mappings>>, CatalogError> {
        if let Some(mappings) = self.newer_than(mapping) {
            return Ok(Some(mappings));
        }
        let statement = session.prepare_text(FINGERPRINT)?;
        let row = session.client.query_opt(&statement, &[&mapping.relation])?;
        match row.map(|row| row.get::<_, String>(0)) {
            Some(fingerprint) if fingerprint != mapping.fingerprint => {
                self.read(&mut session.client).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Reads the catalog for every mapping of the document and checks it.
fn load(client: &mut Client, configs: &[MappingConfig]) -> Result<Mappings, CatalogError> {
    let mut mappings = Vec::with_capacity(configs.len());
    for (index, config) in configs.iter().enumerate() {
        let table = describe::table(client, index, config)?;
        mappings.push(Mapping::resolve(index, config, &table)?);
    }
    Ok(Mappings::new(mappings))
}
