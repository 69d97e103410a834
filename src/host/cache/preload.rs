//! Rows that are loaded by themselves, when every cached hash is known to be its row: after the start,
//! after a promotion, and when WT.RELOAD has brought or changed a mapping. One mapping after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{in_sync, load_all};
use crate::config::{MappingConfig, Preload};
use crate::host::ffi::{self, Ctx, Level};
use crate::host::module::{module, MainThread};

/// How often it is asked whether the module is in sync.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Wanted {
    /// A timer is set that asks.
    is_asking: bool,
    /// The document's mappings, when it was asked last.
    known: Arc<Vec<MappingConfig>>,
    /// Those that are still to be loaded.
    names: VecDeque<String>,
    /// The one that is being loaded.
    running: Option<String>,
}

static WANTED: MainThread<Wanted> = MainThread::new();

/// The rows are loaded as soon as that may be.
pub fn when_in_sync() {
    WANTED.get().known = Arc::default();
    ask_soon();
}

/// Rows of these mappings may be new: those that are loaded by themselves are loaded again.
pub fn again(names: Vec<String>) {
    if !names.is_empty() {
        WANTED.get().names.extend(names);
        ask_soon();
    }
}

/// The document was read again: the rows of mappings that are new in it, or changed, are loaded.
pub fn ask_soon() {
    if !std::mem::replace(&mut WANTED.get().is_asking, true) {
        ffi::timer(PAUSE, ask);
    }
}

/// A timer: begins, when the module is in sync.
fn ask(_: &Ctx) {
    let Some(module) = module() else { return };
    let configs = module.catalog.configs();
    let preloads = |config: &&MappingConfig| config.preload != Preload::Nothing;
    // A server that follows another one gets its keys from there.
    if !configs.iter().any(|c| preloads(&c)) || ffi::server_flags().is_following() {
        let mut wanted = WANTED.get();
        (wanted.is_asking, wanted.known) = (false, configs);
        return;
    }
    if module.catalog.mappings().is_err() || !in_sync::is_in_sync(module) {
        return ffi::timer(PAUSE, ask);
    }
    let is_idle = {
        let mut wanted = WANTED.get();
        let is_wanted = |config: &&MappingConfig| {
            !wanted.known.contains(config) || wanted.names.iter().any(|name| name == config.name())
        };
        let all = configs.iter().filter(preloads).filter(is_wanted);
        let names = all.map(|config| config.name().to_string()).collect();
        (wanted.is_asking, wanted.names, wanted.known) = (false, names, configs);
        wanted.running.is_none()
    };
    if is_idle {
        next();
    }
}

/// Begins with the next one.
fn next() {
    let Some(module) = module() else { return };
    loop {
        let Some(name) = WANTED.get().names.pop_front() else { return };
        match load_all::start(module, name.as_bytes(), usize::MAX) {
            Ok(()) => {
                WANTED.get().running = Some(name);
                return;
            }
            Err(failure) => {
                let text = format!("the rows of {name:?} are not loaded: {failure}");
                ffi::log(Level::Warning, &text);
            }
        }
    }
}

/// The load of this mapping has ended.
pub fn ended(name: &str) {
    let was_ours = {
        let mut wanted = WANTED.get();
        wanted.running.take_if(|running| running == name).is_some()
    };
    if was_ours {
        next();
    }
}
