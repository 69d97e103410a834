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

    /// Takes the first one. When there is none, the next push asks the main thread to look again.
    pub fn next(&self) -> Option<T> {
        let mut items = self.lock();
        let item = items.pop_front();
        if item.is_none() {
            self.scheduled.store(false, Ordering::Release);
        }
        item
    }

    /// Puts back what was taken: it is the first one again.
    pub fn put_back(&self, item: T) {
        self.lock().push_front(item);
    }

    /// What is there, for who waits for more.
    pub fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    static LOOKS: AtomicUsize = AtomicUsize::new(0);

    #[test]
    fn who_takes_one_after_the_other_is_asked_again_after_the_last() {
        let mailbox = Mailbox::new(|| {
            LOOKS.fetch_add(1, Ordering::Relaxed);
        });
        mailbox.push([1, 2]);
        assert_eq!(mailbox.next(), Some(1));
        // It comes back by itself for what is left.
        mailbox.put_back(1);
        mailbox.push([3]);
        assert_eq!(LOOKS.load(Ordering::Relaxed), 1);
        let all: Vec<i32> = std::iter::from_fn(|| mailbox.next()).collect();
        assert_eq!(all, [1, 2, 3]);
        mailbox.push([4]);
        assert_eq!(LOOKS.load(Ordering::Relaxed), 2);
    }
}
