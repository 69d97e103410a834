//! From the workers to the main thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::engine::{Completions, Settled};
use crate::host::ffi;

/// What the workers have done and the main thread has not seen yet, in order.
pub struct Inbox {
    /// What the main thread is asked to call.
    look: fn(),
    settled: Mutex<VecDeque<Settled>>,
    /// The main thread waits for a write.
    awaited: AtomicBool,
    arrived: Condvar,
    /// Something else has come that the main thread may wait for.
    nudged: AtomicBool,
    /// The main thread has been asked to look.
    scheduled: AtomicBool,
}

impl Completions for Inbox {
    fn push(&self, settled: Vec<Settled>) {
        if settled.is_empty() {
            return;
        }
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).extend(settled);
        // A condition variable goes to the kernel even when nobody waits.
        if self.awaited.load(Ordering::Relaxed) {
            self.arrived.notify_one();
        }
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            ffi::wake(self.look);
        }
    }
}

impl Inbox {
    /// An empty inbox. The main thread calls `look` when something has come.
    pub fn new(look: fn()) -> Inbox {
        let (settled, awaited, arrived, nudged, scheduled) = Default::default();
        Inbox { look, settled, awaited, arrived, nudged, scheduled }
    }

    /// Takes everything; the next push asks the main thread to look again.
    pub fn take(&self) -> VecDeque<Settled> {
        self.scheduled.store(false, Ordering::Release);
        std::mem::take(&mut self.settled.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends a wait: what has come is elsewhere.
    pub fn nudge(&self) {
        let _settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        self.nudged.store(true, Ordering::Relaxed);
        self.arrived.notify_one();
    }

    /// Waits until there is something, or `until`; takes everything. The main thread is still
    /// asked to look for what its caller leaves.
    pub fn wait(&self, until: Instant) -> VecDeque<Settled> {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: a push that has not seen it has come before.
        self.awaited.store(true, Ordering::Relaxed);
        while settled.is_empty() && !self.nudged.swap(false, Ordering::Relaxed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.arrived.wait_timeout(settled, left);
            settled = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.awaited.store(false, Ordering::Relaxed);
        std::mem::take(&mut settled)
    }
}
