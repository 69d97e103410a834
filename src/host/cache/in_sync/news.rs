//! The monitor tells which rows may be others than the cached ones.

use std::time::{Duration, Instant};

use super::{check_all, step_after, Phase, Scan, ToRead, SYNC};
use crate::host::cache::{follow, preload, sessions};
use crate::host::ffi::{self, Ctx};
use crate::host::module::{module, negative};
use crate::host::write::pending::pending;
use crate::pg::journal::reader::News;
use crate::pg::journal::Changes;

/// A timer: takes the monitor's news.
pub(super) fn news(ctx: &Ctx) {
    let Some(module) = module() else { return };
    if ffi::server_flags().is_following() || !ctx.select(module.config.db) {
        return;
    }
    let Some(news) = module.journal_reader.take() else { return };
    let gone = std::mem::take(&mut SYNC.get().earlier);
    if !gone.is_empty() {
        sessions::are_gone(gone);
    }
    match news {
        News::Changed(Changes { keys, any_of, loaded_again }, position, asked) => {
            follow::named(keys.len() + any_of.len());
            if !any_of.is_empty() {
                // What is being read of them may be older; and there may be a row now.
                pending().all_evicted();
                negative::end_all();
            }
            // Rows that are new are not among the cached keys.
            preload::again(loaded_again);
            let mut sync = SYNC.get();
            sync.keys.extend(keys.into_iter().map(ToRead::named));
            if !any_of.is_empty() {
                sync.scan_again(any_of.into_iter().map(String::into_bytes).collect());
            }
            sync.reach(position, asked);
            if sync.phase == Phase::Waiting {
                sync.phase = Phase::Running;
            }
        }
        News::Unknown(position) => {
            // Any row may be another one, or there now.
            pending().all_evicted();
            negative::end_all();
            let mut sync = SYNC.get();
            // It was followed, and the journal has been cut off or replaced.
            if sync.is_following {
                drop(sync);
                // The position that is stored is no newer.
                module.journal_reader.doubt();
                // Rows that are new are not among the cached keys.
                preload::when_in_sync();
                return check_all();
            }
            if let Some(position) = position {
                sync.reach(position, Instant::now());
            }
            if sync.phase == Phase::Waiting {
                sync.phase = Phase::Running;
                sync.scan = Some(Scan::of(None));
            }
        }
    }
    SYNC.get().is_following = true;
    step_after(Duration::ZERO);
}
