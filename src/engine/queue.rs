//! One shard's queue: first in, first out; a worker takes all that waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::job::Job;

/// Values in one batch, in bytes, at most: a statement's parameters are one message of less than
/// 1 GB. A single larger write still goes, alone.
const BATCH_BYTES: usize = 8 << 20;

/// The writes of one shard that wait for its worker.
#[derive(Default)]
pub struct Shard {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// The worker was idle when the last write came, and has not been woken yet.
    unwoken: AtomicBool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle: bool,
    closed: bool,
}

impl Shard {
    /// Adds a write at the end, for [`Shard::wake`] to announce. A closed shard drops it, and so its ticket answers the client.
    pub fn push(&self, job: Job) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.closed {
            return;
        }
        queue.jobs.push_back(job);
        if std::mem::take(&mut queue.idle) {
            self.unwoken.store(true, Ordering::Release);
        }
    }

    /// Wakes the worker when writes have come since it went idle.
    pub fn wake(&self) {
        if self.unwoken.load(Ordering::Acquire) && self.unwoken.swap(false, Ordering::AcqRel) {
            self.arrived.notify_one();
        }
    }

    /// Takes what waits, at most `most` writes, into `batch`. Waits for the first one until
    /// `until`; for ever without. False when the shard is closed and empty.
    pub fn take(&self, most: usize, until: Option<Instant>, batch: &mut Vec<Job>) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue.jobs.is_empty() {
            if queue.closed {
                return false;
            }
            queue.idle = true;
            queue = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => return true,
                Some(left) => {
                    let woken = self.arrived.wait_timeout(queue, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
        queue.idle = false;
        let mut bytes = 0;
        while let Some(job) = queue.jobs.front() {
            bytes += job.change.size();
            if batch.len() >= most || (bytes > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            batch.extend(queue.jobs.pop_front());
        }
        true
    }

    /// No more writes are taken; the worker ends when it has done those that wait.
    pub fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.arrived.notify_all();
    }
}
