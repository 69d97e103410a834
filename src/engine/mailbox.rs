//! From threads to the main thread, in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What threads have for the main thread, which is asked to look once for all that it has not taken yet.
pub struct Mailbox<T> {
    look: fn(),
    items: Mutex<VecDeque<T>>,
    /// The main thread has been asked to look.
    scheduled: AtomicBool,
}

impl<T> Mailbox<T> {
    /// An empty one. `look` is called, by any thread, when something has come.
    pub fn new(look: fn()) -> Mailbox<T> {
        Mailbox { look, items: Mutex::default(), scheduled: AtomicBool::new(false) }
    }

    /// Puts these behind the others.
    pub fn push(&self, items: impl IntoIterator<Item = T>) {
        self.lock().extend(items);
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            (self.look)();
        }
    }

    /// Takes everything; the next push asks the main thread to look again.
    pub fn take(&self) -> VecDeque<T> {
        self.scheduled.store(false, Ordering::Release);
        std::mem::take(&mut self.lock())
    }

    /// What is there, for who waits for more.
    pub fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
