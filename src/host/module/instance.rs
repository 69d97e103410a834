//! The module's one instance: what is made when it is loaded and lives until the server ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use super::error_log::{ErrorLog, Late};
use super::inbox::Inbox;
use super::stale_keys::StaleKeys;
use crate::config::Config;
use crate::engine::behind::Drains;
use crate::engine::{Engine, Shared};
use crate::model::failure::{Failure, Outage};
use crate::pg::catalog::Catalog;
use crate::pg::connect::connections::Connections;
use crate::pg::connect::pool::Manager;
use crate::pg::journal::reader::JournalReader;

/// The loaded module.
pub struct Module {
    /// The document and the load arguments; what can change is in [`Shared::limits`] and in the
    /// catalog.
    pub config: Config,
    /// The arguments of MODULE LOAD.
    pub args: Vec<Vec<u8>>,
    /// The document as it was read last, with the arguments laid over it.
    pub document: Mutex<Config>,
    /// The mappings, when the catalog has been read.
    pub catalog: Arc<Catalog>,
    /// What the workers share.
    pub shared: Arc<Shared>,
    /// Where the workers put what they have done.
    pub inbox: Arc<Inbox>,
    /// The workers.
    pub engine: Engine,
    /// The threads that write behind.
    pub drains: Drains,
    /// Their connections.
    pub connections: Connections,
    /// Makes connections outside the pool.
    pub manager: Manager,
    /// What the database tells of changed keys.
    pub journal_reader: Arc<JournalReader>,
    /// The thread that watches the database.
    pub monitor: JoinHandle<()>,
    /// True from the first turn of the event loop after OnLoad.
    pub is_loaded: AtomicBool,
    /// Keys whose hashes may not be their rows.
    pub stale_keys: StaleKeys,
    /// What the log says of writes that fail.
    pub error_log: Mutex<ErrorLog>,
    /// The module itself is changing keys: nothing is to be written through.
    pub applying: AtomicBool,
}

static MODULE: RwLock<Option<&'static Module>> = RwLock::new(None);

/// The loaded module. Callbacks can come before OnLoad has ended: then there is none yet.
pub fn module() -> Option<&'static Module> {
    *MODULE.read().unwrap_or_else(PoisonError::into_inner)
}

impl Module {
    /// Makes it the instance, which lives until the server ends.
    pub fn install(self) {
        let module = Box::leak(Box::new(self));
        *MODULE.write().unwrap_or_else(PoisonError::into_inner) = Some(module);
    }

    /// There is no instance any more: the server has taken the load back.
    pub fn uninstall() {
        *MODULE.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Counts a reply that a client reads. `late`: the write whose client's time was
    /// up.
    pub fn count(&self, failure: Option<&Failure>, late: Option<Late>) {
        let stats = &self.shared.stats;
        match failure {
            None => stats.acknowledged.add(1),
            Some(Failure::Refused(refusal)) => stats.refuse(refusal.class()),
            Some(Failure::Down(reason)) => {
                stats.down.add(1);
                stats.read_only.add(usize::from(Outage::of(reason) == Outage::ReadOnly));
            }
            Some(Failure::TimedOut(_)) => stats.timed_out.add(1),
            Some(Failure::Busy(_) | Failure::Behind(_)) => stats.busy.add(1),
            Some(Failure::Input(_)) => stats.bad_input.add(1),
            Some(Failure::Unmet(_)) => stats.unmet.add(1),
            // The one that was refused counts.
            Some(Failure::Aborted) => {}
        }
        if let Some(failure) = failure {
            let mut log = self.error_log.lock().unwrap_or_else(PoisonError::into_inner);
            log.add(&self.shared.limits, failure, late);
        }
    }

    /// Runs `change` while the module's own changes of keys are not written through.
    pub fn apply<T>(&self, change: impl FnOnce() -> T) -> T {
        struct Reset<'a>(&'a Module, bool);
        impl Drop for Reset<'_> {
            fn drop(&mut self) {
                self.0.applying.store(self.1, Ordering::Relaxed);
            }
        }
        let _reset = Reset(self, self.applying.swap(true, Ordering::Relaxed));
        change()
    }

    /// A plain key that a mapping's row can be cached in.
    pub fn is_mapped(&self, key: &[u8]) -> bool {
        let name = key.iter().position(|&b| b == b':').map(|colon| &key[..colon]);
        let configs = self.catalog.configs();
        name.is_some_and(|name| configs.iter().any(|mapping| mapping.name().as_bytes() == name))
    }

    /// True within [`Module::apply`].
    pub fn is_applying(&self) -> bool {
        self.applying.load(Ordering::Relaxed)
    }
}
