//! From the workers to the main thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, PoisonError};
use std::time::Instant;

use crate::engine::{Completions, Mailbox, Settled};

/// What the workers have done and the main thread has not seen yet, in order.
pub struct Inbox {
    settled: Mailbox<Settled>,
    /// The main thread waits for a write.
    awaited: AtomicBool,
    arrived: Condvar,
    /// Something else has come that the main thread may wait for.
    nudged: AtomicBool,
}

impl Completions for Inbox {
    fn push(&self, settled: Vec<Settled>) {
        if settled.is_empty() {
            return;
        }
        self.settled.push(settled);
        // A condition variable goes to the kernel even when nobody waits.
        if self.awaited.load(Ordering::Relaxed) {
            self.arrived.notify_one();
        }
    }
}

impl Inbox {
    /// An empty inbox. `look` is called, by any thread, when something has come.
    pub fn new(look: fn()) -> Inbox {
        let (awaited, arrived, nudged) = Default::default();
        Inbox { settled: Mailbox::new(look), awaited, arrived, nudged }
    }

    /// Takes everything; the next push asks the main thread to look again.
    pub fn take(&self) -> VecDeque<Settled> {
        self.settled.take()
    }

    /// Ends a wait: what has come is elsewhere.
    pub fn nudge(&self) {
        let _settled = self.settled.lock();
        self.nudged.store(true, Ordering::Relaxed);
        self.arrived.notify_one();
    }

    /// Waits until there is something, or `until`; takes everything. The main thread is still
    /// asked to look for what its caller leaves.
    pub fn wait(&self, until: Instant) -> VecDeque<Settled> {
        let mut settled = self.settled.lock();
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
