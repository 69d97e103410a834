//! The mappings as the database's catalog confirms them.

pub mod describe;
mod plain_keys;
mod preload;
pub mod shape;
pub mod types;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postgres::Client;

use self::describe::FINGERPRINT;
use self::plain_keys::Any;
pub use self::plain_keys::PlainKey;
use super::connect::session::Session;
use super::error::explain;
use crate::config::{ConfigError, MappingConfig};
use crate::model::mapping::{Mapping, Mappings};

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
    /// Mappings of a lower version may be of a time when some of their values had another text.
    reshaped_at: AtomicU64,
    /// How often there was such a change. Told with the mappings, so that nobody sees these without it.
    reshapings: AtomicU64,
    /// Told of each of them. By any thread.
    notify: fn(),
    any: Any,
    /// One reads at a time, so that what was read last is the newest.
    reading: Mutex<()>,
}

struct State {
    configs: Arc<Vec<MappingConfig>>,
    read: Option<Result<Arc<Mappings>, String>>,
    /// The mappings whose values have another text, and nobody has taken note of it yet.
    reshaped: HashSet<Vec<u8>>,
}

impl State {
    /// The mappings in use.
    fn known(&self) -> Option<&Arc<Mappings>> {
        self.read.as_ref()?.as_ref().ok()
    }
}

impl Catalog {
    /// A catalog for the document's mappings, not read yet.
    /// `notify` is called, by any thread, when values have another text.
    pub fn new(configs: Vec<MappingConfig>, notify: fn()) -> Catalog {
        let any = Any::default();
        any.set(&configs);
        let state = State { configs: Arc::new(configs), read: None, reshaped: HashSet::new() };
        Catalog {
            state: Mutex::new(state),
            oldest: AtomicU64::new(0),
            reshaped_at: AtomicU64::new(0),
            reshapings: AtomicU64::new(0),
            notify,
            any,
            reading: Mutex::default(),
        }
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

    /// Reads the catalog and checks every mapping. One whose table does not fit any more stays as it
    /// was; until all have fitted once, none is used.
    pub fn read(&self, client: &mut Client) -> Result<Arc<Mappings>, CatalogError> {
        let _turn = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let (configs, known) = {
            let state = self.state();
            (state.configs.clone(), state.known().cloned())
        };
        let loaded = load(client, &configs, known.as_deref());
        if let Err(CatalogError::Mapping(error)) = &loaded {
            self.refuse(error);
        }
        loaded.map(|mappings| self.take_over(None, mappings))
    }

    /// The database does not fit the document. What was right once goes on being used.
    pub fn refuse(&self, error: &ConfigError) {
        let mut state = self.state();
        if state.known().is_none() {
            state.read = Some(Err(error.to_string()));
        }
    }

    /// The same for other mappings, which take the place of those in use: all or, when one is wrong,
    /// none.
    pub fn replace(
        &self,
        client: &mut Client,
        configs: Vec<MappingConfig>,
    ) -> Result<Arc<Mappings>, CatalogError> {
        let _turn = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let mappings = load(client, &configs, None)?;
        Ok(self.take_over(Some(configs), mappings))
    }

    fn take_over(&self, configs: Option<Vec<MappingConfig>>, mappings: Mappings) -> Arc<Mappings> {
        let mappings = Arc::new(mappings);
        let oldest = mappings.iter().map(|mapping| mapping.version).min().unwrap_or_default();
        let mut state = self.state();
        let reshaped = state.known().map(|known| reshaped(known, &mappings)).unwrap_or_default();
        let is_reshaped = !reshaped.is_empty();
        if is_reshaped {
            state.reshaped.extend(reshaped);
            let newest = mappings.iter().map(|mapping| mapping.version).max().unwrap_or_default();
            self.reshaped_at.store(newest, Ordering::Release);
            self.reshapings.fetch_add(1, Ordering::AcqRel);
        }
        state.read = Some(Ok(mappings.clone()));
        if let Some(configs) = configs.filter(|configs| *configs != *state.configs) {
            self.any.set(&configs);
            state.configs = Arc::new(configs);
            self.oldest.store(oldest, Ordering::Release);
        }
        drop(state);
        if is_reshaped {
            (self.notify)();
        }
        mappings
    }

    /// How often values got another text without a write, so that what is cached of them is in doubt.
    pub fn reshapings(&self) -> u64 {
        self.reshapings.load(Ordering::Acquire)
    }

    /// The same, and the names of the mappings that it has happened to since this was asked last.
    pub fn take_reshaped(&self) -> (u64, HashSet<Vec<u8>>) {
        let mut state = self.state();
        (self.reshapings(), std::mem::take(&mut state.reshaped))
    }

    /// A row that was read by `mapping` may have had another text then.
    pub fn is_reshaped(&self, mapping: &Mapping) -> bool {
        mapping.version < self.reshaped_at.load(Ordering::Acquire)
            && self.newer_than(mapping).is_some()
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
            Some(fingerprint) if fingerprint != mapping.fingerprint => self.again(session, mapping),
            _ => Ok(None),
        }
    }

    fn again(
        &self,
        session: &mut Session,
        mapping: &Mapping,
    ) -> Result<Option<Arc<Mappings>>, CatalogError> {
        self.read(&mut session.client)?;
        Ok(self.newer_than(mapping))
    }

    /// The same, also when its values have another text. A refused statement doesn't ask for that.
    pub fn watch(
        &self,
        session: &mut Session,
        mapping: &Mapping,
    ) -> Result<Option<Arc<Mappings>>, CatalogError> {
        if let Some(mappings) = self.newer(session, mapping)? {
            return Ok(Some(mappings));
        }
        match shape::is_as_it_was(session, mapping)? {
            true => Ok(None),
            false => self.again(session, mapping),
        }
    }
}

/// The names of mappings that are new, or whose values have another text by the newer reading.
fn reshaped(earlier: &Mappings, newer: &Mappings) -> Vec<Vec<u8>> {
    let is_kept = |mapping: &Mapping| {
        let earlier = earlier.get(mapping.name.as_bytes());
        earlier.is_some_and(|earlier| mapping.shape.keeps_texts_of(&earlier.shape))
    };
    let reshaped = newer.iter().filter(|mapping| !is_kept(mapping));
    reshaped.map(|mapping| mapping.name.clone().into_bytes()).collect()
}

/// Reads the catalog for every mapping of the document and checks it. One that does not fit is as it
/// was, where it is `known`.
fn load(
    client: &mut Client,
    configs: &[MappingConfig],
    known: Option<&Mappings>,
) -> Result<Mappings, CatalogError> {
    let mut mappings = Vec::with_capacity(configs.len());
    for (index, config) in configs.iter().enumerate() {
        let known = known.and_then(|known| known.get(config.name().as_bytes()));
        mappings.push(match (mapping(client, index, config), known) {
            (Ok(mapping), _) => Arc::new(mapping),
            (Err(CatalogError::Mapping(_)), Some(known)) => known.clone(),
            (Err(error), _) => return Err(error),
        });
    }
    Ok(Mappings::new(mappings))
}

fn mapping(
    client: &mut Client,
    index: usize,
    config: &MappingConfig,
) -> Result<Mapping, CatalogError> {
    let table = describe::table(client, index, config)?;
    let mut mapping = Mapping::resolve(index, config, &table)?;
    preload::check(client, index, &mapping)?;
    // Last: what is read again after this is at least of this shape.
    mapping.shape = shape::read(client, &mapping)?;
    Ok(mapping)
}
