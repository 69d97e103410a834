//! Rows that are loaded by themselves, when every cached hash is known to be its row: after the start, and
//! after a promotion. One mapping after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{in_sync, load_all};
use crate::config::Preload;
use crate::host::ffi::{self, Ctx, Level};
use crate::host::module::{module, MainThread};
use crate::model::mapping::Mapping;

/// How often it is asked whether the module is in sync.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Wanted {
    /// A timer is set that asks.
    is_asking: bool,
    /// The mappings that are still to be loaded.
    names: VecDeque<String>,
    /// The one that is being loaded.
    running: Option<String>,
}

static WANTED: MainThread<Wanted> = MainThread::new();

fn is_wanted(mapping: &&Arc<Mapping>) -> bool {
    mapping.preload != Preload::Nothing
}

/// The rows are loaded as soon as that may be.
pub fn when_in_sync() {
    if !std::mem::replace(&mut WANTED.get().is_asking, true) {
        ffi::timer(PAUSE, ask);
    }
}

/// A timer: begins, when the module is in sync.
fn ask(_: &Ctx) {
    let Some(module) = module() else { return };
    let has_any = module.catalog.configs().iter().any(|c| c.preload != Preload::Nothing);
    // A server that follows another one gets its keys from there.
    if !has_any || ffi::server_flags().is_following() {
        WANTED.get().is_asking = false;
        return;
    }
    let mappings = match module.catalog.mappings() {
        Ok(mappings) if in_sync::is_in_sync(module) => mappings,
        _ => return ffi::timer(PAUSE, ask),
    };
    let is_idle = {
        let mut wanted = WANTED.get();
        wanted.is_asking = false;
        wanted.names = mappings.iter().filter(is_wanted).map(|m| m.name.clone()).collect();
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
