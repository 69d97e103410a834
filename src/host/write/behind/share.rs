//! Numbers that are parts of a sum: what each queue of a mapping has, and what all have together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// Of all queues of a mapping.
#[derive(Clone, Default)]
pub struct Sums {
    /// Entries in the streams.
    pub entries: Sum,
    /// Bytes of entries that are kept in memory.
    pub kept: Sum,
}

/// What the parts are together.
#[derive(Clone, Default)]
pub struct Sum(Arc<AtomicU64>);

impl Sum {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Nothing, as a part of this sum.
    pub fn share(&self) -> Share {
        Share { number: 0, sum: self.clone() }
    }
}

/// A number that is part of a sum.
#[derive(Default)]
pub struct Share {
    number: u64,
    sum: Sum,
}

impl Share {
    pub fn get(&self) -> u64 {
        self.number
    }

    pub fn set(&mut self, number: u64) {
        self.sum.0.fetch_add(number.wrapping_sub(self.number), Ordering::Relaxed);
        self.number = number;
    }

    /// Of all parts.
    pub fn sum(&self) -> &Sum {
        &self.sum
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}
