//! Final keys whose hashes may not be their rows, as whoever finds one says: they are to be read
//! again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::host::ffi::Reply;

/// The keys that nobody has taken yet. On the main thread.
pub struct StaleKeys {
    /// What is called when there is one.
    look: fn(),
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    now: Vec<Vec<u8>>,
    /// To be read when this time has come.
    later: VecDeque<(Instant, Vec<u8>)>,
}

impl StaleKeys {
    /// None. `look` is called whenever there is one.
    pub fn new(look: fn()) -> StaleKeys {
        StaleKeys { look, keys: Mutex::default() }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this key holds may not be its row.
    pub fn add(&self, key: &[u8]) {
        self.keys().now.push(key.to_vec());
        (self.look)();
    }

    /// The same, to be looked at after a while.
    pub fn add_later(&self, key: &[u8], pause: Duration) {
        self.keys().later.push_back((Instant::now() + pause, key.to_vec()));
        (self.look)();
    }

    /// What the server says to a change of a key. A node of a cluster that is down refuses it, and has
    /// to make up for it.
    pub fn check(&self, key: &[u8], called: &Reply) {
        const DOWN: &[u8] = b"while the cluster is down";
        let is_down = |error: &[u8]| error.windows(DOWN.len()).any(|words| words == DOWN);
        if called.error().is_some_and(is_down) {
            self.add(key);
        }
    }

    /// Takes those whose time has come.
    pub fn take(&self) -> Vec<Vec<u8>> {
        let mut keys = self.keys();
        let now = Instant::now();
        let due = keys.later.iter().take_while(|(due, _)| *due <= now).count();
        let due: Vec<_> = keys.later.drain(..due).map(|(_, key)| key).collect();
        let mut taken = std::mem::take(&mut keys.now);
        taken.extend(due);
        taken
    }

    /// None is waiting, now or later.
    pub fn is_empty(&self) -> bool {
        let keys = self.keys();
        keys.now.is_empty() && keys.later.is_empty()
    }

    /// All keys are looked at anyway.
    pub fn clear(&self) {
        *self.keys() = Keys::default();
    }
}
