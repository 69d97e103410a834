//! Final keys of which somebody has been told that there is no such row.
//!
//! Until its time is over such a key is answered without the database. Afterwards it is still known
//! that somebody was told: a client that tracks the key has to hear of it before the row is loaded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::MainThread;
use crate::host::ffi::{Str, Writable};
use crate::model::map::Map;

#[derive(Default)]
struct Negative {
    /// When each entry's time is over, and its number.
    entries: Map<Arc<[u8]>, (Instant, u64)>,
    /// In the order in which they came; one whose number is not the entry's is not there any more.
    order: VecDeque<(Arc<[u8]>, u64)>,
    last: u64,
}

static NEGATIVE: MainThread<Negative> = MainThread::new();

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// There is no such row.
    NoRow,
    /// There was none; somebody has been told so.
    Told,
}

/// What is known of this key. What was told is forgotten: it is for the caller to tell of the change.
pub fn take(key: &[u8]) -> Known {
    let mut negative = NEGATIVE.get();
    match negative.entries.get(key) {
        None => Known::Nothing,
        Some((until, _)) if *until > Instant::now() => Known::NoRow,
        Some(_) => {
            negative.entries.remove(key);
            Known::Told
        }
    }
}

/// There is no such row. It is remembered for so long, with `most` others at most: of those that make
/// room, the clients that track them are told.
pub fn add(ctx: &Writable, key: &[u8], ttl: Duration, most: usize) {
    let mut forgotten = Vec::new();
    {
        let mut negative = NEGATIVE.get();
        negative.last += 1;
        let (key, number): (Arc<[u8]>, _) = (key.into(), negative.last);
        negative.entries.insert(key.clone(), (Instant::now() + ttl, number));
        negative.order.push_back((key, number));
        while negative.entries.len() > most || negative.order.len() > 2 * most + 1 {
            let Some((key, number)) = negative.order.pop_front() else { break };
            if negative.entries.get(&key).is_some_and(|(_, of)| *of == number) {
                negative.entries.remove(&key);
                forgotten.push(key);
            }
        }
    }
    forgotten.iter().for_each(|key| ctx.tell_of_change(&Str::new(key)));
}

/// There may be such a row now.
pub fn end(key: &[u8]) {
    if let Some((until, _)) = NEGATIVE.get().entries.get_mut(key) {
        *until = Instant::now();
    }
}

/// Nothing is known for certain any more.
pub fn end_all() {
    let now = Instant::now();
    NEGATIVE.get().entries.values_mut().for_each(|(until, _)| *until = now);
}

/// How many keys are known.
pub fn count() -> usize {
    NEGATIVE.get().entries.len()
}
