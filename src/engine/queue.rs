//! The one queue of all workers: first in, first out.
//!
//! The host hands over no write of a key while earlier ones of it are on their way, so any worker
//! may take any write. How many workers share the work is decided here: a statement costs the
//! database nearly the same for one row as for a dozen, so writes that come while one runs wait
//! for it to end, and go together; another worker begins only where that pays.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::job::Job;
use super::lock_wait::LockWaits;

/// Values in one batch, in bytes, at most: a statement's parameters are one message of less than
/// 1 GB. A single larger write still goes, alone.
const BATCH_BYTES: usize = 8 << 20;

/// With so many waiting writes the first worker begins while the server still reads others, so that
/// both have work. Measured: 1.1 to 1.2 times the rate from 64 clients on, two processors.
const WORTH_A_START: usize = 32;

/// So many waiting writes are worth another connection at once.
const WORTH_A_WORKER: usize = 128;

/// How long writes wait for a running statement to end before another worker takes them.
const LINGER: Duration = Duration::from_millis(1);

/// Where statements take longer than this besides their rows (a database a network away, a slow
/// disk), writes don't wait for one to end. A database on this machine stays below, busy or not.
const FAR: Duration = Duration::from_micros(1500);

/// The writes that wait for a worker.
pub struct Queue {
    state: Mutex<State>,
    /// Where each worker waits.
    slots: Vec<Condvar>,
    /// Writes have come since the last [`Queue::wake`].
    unannounced: AtomicBool,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    lock_waits: LockWaits,
    /// How many workers there shall be. One whose slot is past that leaves after its batch.
    wanted: usize,
    /// Which slots are taken.
    taken_slots: Vec<bool>,
    /// How many workers are at work.
    busy: usize,
    /// The others. The last one to become idle is woken first, so that few connections are used
    /// again and again.
    idle: Vec<usize>,
    /// An idle worker watches for the end of [`LINGER`].
    watched: bool,
    /// Counts batches.
    taken: u64,
    /// How long a statement takes besides its rows, at best.
    round_trip: Duration,
    closed: bool,
}

impl State {
    /// What waits is worth a worker now.
    fn is_worth_a_worker(&self) -> bool {
        self.busy == 0 || self.jobs.len() >= WORTH_A_WORKER || self.round_trip > FAR
    }

    /// Takes what waits, at most `most` writes, into `batch`. The writes of one key, which have come
    /// together, stay together, and those of one transaction.
    fn drain(&mut self, most: usize, batch: &mut Vec<Job>) {
        let mut bytes = 0;
        while let Some(job) = self.jobs.front() {
            bytes += job.change.size();
            let is_full = batch.len() >= most || bytes > BATCH_BYTES;
            if is_full && batch.last().is_some_and(|last| !last.goes_with(job)) {
                break;
            }
            batch.extend(self.jobs.pop_front());
        }
    }
}

impl Queue {
    /// A queue with so many slots and no workers yet.
    pub fn new(slots: usize) -> Queue {
        let state = State { taken_slots: vec![false; slots], ..State::default() };
        let slots = (0..slots).map(|_| Condvar::new()).collect();
        Queue { state: Mutex::new(state), slots, unannounced: AtomicBool::new(false) }
    }

    /// There shall be so many workers, one at least. Returns the slots that need a worker now; who
    /// is too many leaves when its batch is done.
    pub fn resize(&self, wanted: usize) -> Vec<usize> {
        let mut state = self.lock();
        state.wanted = wanted;
        let empty: Vec<usize> = (0..wanted).filter(|&slot| !state.taken_slots[slot]).collect();
        for &slot in &empty {
            state.taken_slots[slot] = true;
        }
        // A worker comes to its slot as if from work.
        state.busy += empty.len();
        state.idle.iter().for_each(|&slot| self.slots[slot].notify_one());
        empty
    }

    /// Nobody comes to this slot after all.
    pub fn vacate(&self, slot: usize) {
        let mut state = self.lock();
        state.taken_slots[slot] = false;
        state.busy -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds writes of one key at the end. A few are for [`Queue::wake`] to announce, when all have
    /// come. A closed queue drops them, and so their tickets answer the clients.
    pub fn push(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let before = state.jobs.len();
        state.jobs.extend(jobs);
        self.unannounced.store(true, Ordering::Release);
        if state.busy == 0 && before < WORTH_A_START && state.jobs.len() >= WORTH_A_START {
            self.call(state);
        }
    }

    /// Wakes a worker for the writes that have come, where one is needed.
    pub fn wake(&self) {
        if !self.unannounced.load(Ordering::Acquire) {
            return;
        }
        let state = self.lock();
        self.unannounced.store(false, Ordering::Release);
        self.call(state);
    }

    /// Wakes an idle worker for what waits, where one is needed and none is watching already.
    fn call(&self, state: MutexGuard<State>) {
        if !state.jobs.is_empty() && (state.is_worth_a_worker() || !state.watched) {
            self.rouse(state);
        }
    }

    /// Has an idle worker look at the queue, and at the clock.
    fn rouse(&self, state: MutexGuard<State>) {
        let idle = state.idle.last().copied();
        // Who is woken wants the lock.
        drop(state);
        if let Some(slot) = idle {
            self.slots[slot].notify_one();
        }
    }

    /// The worker `slot` has done its batch; its statements take `round_trip` besides their rows.
    /// Takes what waits, at most `most` writes, into the empty `batch`; waits for the first. False
    /// when the worker shall leave: the queue is closed and empty, or there are too many workers.
    pub fn take(
        &self,
        slot: usize,
        round_trip: Duration,
        most: usize,
        batch: &mut Vec<Job>,
    ) -> bool {
        let mut state = self.lock();
        state.round_trip = round_trip;
        state.busy -= 1;
        // Who comes from work takes what waits, be it little.
        if state.jobs.is_empty() {
            state = self.rest(slot, state);
        }
        if slot >= state.wanted {
            state.taken_slots[slot] = false;
            // Somebody else looks after what waits.
            self.rouse(state);
            return false;
        }
        state.busy += 1;
        state.taken += 1;
        state.lock_waits.due(Instant::now(), batch);
        state.drain(most, batch);
        // This batch may take long, and no further write may come to announce what it has left.
        self.call(state);
        !batch.is_empty()
    }

    /// Waits until there is work that is worth a worker.
    fn rest<'a>(&'a self, slot: usize, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.idle.push(slot);
        while !state.closed && slot < state.wanted {
            let (now, retry) = (Instant::now(), state.lock_waits.next_retry());
            let is_watching = !state.jobs.is_empty();
            if retry.is_some_and(|retry| retry <= now) || (is_watching && state.is_worth_a_worker())
            {
                break;
            }
            state.watched |= is_watching;
            let linger = is_watching.then(|| now + LINGER);
            let (until, taken) = (linger.into_iter().chain(retry).min(), state.taken);
            state = self.wait(slot, state, until);
            if is_watching {
                state.watched = false;
                let is_over = linger.is_some_and(|over| over <= Instant::now());
                if is_over && state.taken == taken && !state.jobs.is_empty() {
                    break;
                }
            }
        }
        state.idle.retain(|idle| *idle != slot);
        state
    }

    fn wait<'a>(
        &self,
        slot: usize,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        let slot = &self.slots[slot];
        match until {
            None => slot.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                slot.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Sets writes of one row aside, since somebody else has locked it. Later ones go behind them.
    pub fn set_aside(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            // Their tickets answer.
            return jobs.into_iter().for_each(drop);
        }
        state.lock_waits.add(jobs);
        // Who parks them may be long at work.
        self.rouse(state);
    }

    /// No more writes are taken; the workers end when they have done those that wait.
    pub fn close(&self) {
        let lock_waits = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.lock_waits)
        };
        // Their tickets answer.
        drop(lock_waits);
        self.slots.iter().for_each(Condvar::notify_one);
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
