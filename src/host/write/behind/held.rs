//! Writes and reads of a row that wait until the entries of its key are written.

use std::time::Duration;

use super::{known, queues};
use crate::engine::Job;
use crate::host::module::{MainThread, Module};
use crate::host::write::pending::pending;
use crate::model::map::Map;

/// When a key is compared again whose entries have just been written.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// By final key: they are first in their key's line.
static HELD: MainThread<Map<Box<[u8]>, Vec<Job>>> = MainThread::new();

/// Hands writes to the workers, but for those that wait for entries of their key. What only compares doesn't
/// wait: a key that is always being written would hold it for ever.
pub fn send(module: &Module, jobs: impl IntoIterator<Item = Job>) {
    if !queues::any() {
        return module.engine.submit(jobs);
    }
    let mut free = Vec::new();
    {
        let pending = pending();
        let compares = |job: &Job| {
            let waiter = pending.jobs.get(&job.id()).and_then(|pending| pending.waiter.as_ref());
            waiter.is_some_and(|waiter| waiter.compares())
        };
        for job in jobs {
            match known::is_waiting(&job.change.target) && !compares(&job) {
                true => HELD.get().entry((*job.change.target).into()).or_default().push(job),
                false => free.push(job),
            }
        }
    }
    module.engine.submit(free);
}

/// The entries of this key are written.
pub fn release(module: &Module, target: &[u8]) {
    let jobs = HELD.get().remove(target);
    if let Some(jobs) = jobs {
        pending().sent_now(target);
        module.engine.submit(jobs);
        module.engine.wake();
    }
}

/// More is known of a queue: those whose keys have no entries go on.
pub fn release_all(module: &Module) {
    let keys: Vec<Box<[u8]>> = HELD.get().keys().cloned().collect();
    for key in keys.iter().filter(|key| !known::is_waiting(key)) {
        release(module, key);
    }
}

/// This server is no master any more: they are given up by the workers.
pub fn release_for_ever(module: &Module) {
    let keys: Vec<Box<[u8]>> = HELD.get().keys().cloned().collect();
    keys.iter().for_each(|key| release(module, key));
}
