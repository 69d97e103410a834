//! A worker: takes what waits, plans it, runs it, and says of every write what became of it.

use std::collections::{HashSet, VecDeque};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::job::{Completions, Job, Row, RowState};
use super::queue::Queue;
use super::Shared;
use super::Store;
use super::Term;
use crate::config::limits::Limit;
use crate::model::form::Form;
use crate::plan::batch::plan;
use crate::plan::group::Group;

mod answers;
mod errors;
mod in_doubt;
mod outcome;
mod parts;
mod terms;
mod transactions;
mod undone;

pub(super) use outcome::describe;
use outcome::settle_all;
use parts::{jobs_of, members, parts, split, Part};
use transactions::take_out;

/// What PostgreSQL takes for a row of a statement, about: 10 to 20 µs were measured on two busy cores.
const ROW_TIME: Duration = Duration::from_micros(20);

/// The round trip is what the fastest of the last statements took, since others waited for a busy
/// processor. It rises by a sixteenth and this much from statement to statement, at most.
const RISE: Duration = Duration::from_micros(20);

/// One of the queue's workers.
pub struct Worker {
    slot: usize,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    completions: Arc<dyn Completions>,
    store: Box<dyn Store>,
    /// The term of this turn: all its writes were taken in it.
    term: Term,
    /// Keys whose writes were set aside in this turn: later ones of the turn go behind them.
    aside: HashSet<Arc<[u8]>>,
    /// How long a statement takes besides its rows: see [`RISE`].
    round_trip: Duration,
}

impl Worker {
    /// The worker of a slot at the queue, which writes to `store`.
    pub fn new(
        slot: usize,
        queue: Arc<Queue>,
        shared: Arc<Shared>,
        completions: Arc<dyn Completions>,
        store: Box<dyn Store>,
    ) -> Worker {
        let (term, aside, round_trip) = (shared.terms.now(), HashSet::new(), Duration::ZERO);
        Worker { slot, queue, shared, completions, store, term, aside, round_trip }
    }

    /// Works until the queue is closed. A panic answers the clients of its batch (their tickets
    /// are dropped) and ends nothing else.
    pub fn run(mut self) {
        let mut batch = Vec::new();
        while self.queue.take(self.slot, self.round_trip, self.batch_max(), &mut batch) {
            let jobs = std::mem::take(&mut batch);
            self.shared.stats.waiting.sub(jobs.len());
            self.aside.clear();
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(jobs)));
            if turn.is_err() {
                self.shared.stats.set_last_error("a worker panicked; please report this".into());
            }
            self.store.release();
        }
    }

    fn batch_max(&self) -> usize {
        self.shared.limits.get(Limit::BatchMax) as usize
    }

    fn turn(&mut self, jobs: Vec<Job>) {
        self.await_opening();
        self.term = self.shared.terms.now();
        let jobs = self.settle_in_doubt(jobs);
        let (transactions, mut jobs) = take_out(jobs);
        if !transactions.is_empty() {
            self.shared.stats.batches.add(1);
            jobs.extend(self.transact(transactions));
        }
        let jobs = self.drop_late(jobs);
        let jobs = self.drop_expired(jobs);
        let jobs = match self.shared.health.refusal() {
            Some(reason) => self.give_up(jobs, &reason),
            None => jobs,
        };
        if jobs.is_empty() {
            return;
        }
        self.shared.stats.batches.add(1);
        // Whatever a statement becomes (halves, later waves, tries), it is run as a part.
        let mut waiting = VecDeque::from(parts(plan(jobs)));
        while let Some(part) = waiting.pop_front() {
            let left = self.run_part(part);
            let known = waiting.front_mut().and_then(|next| next.refusal.take());
            let left = match (left, known) {
                // The bad row is in the next part, then: it would be refused as a whole.
                (None, Some(refusal)) if waiting[0].group.rows.len() > 1 => {
                    waiting.pop_front().map_or_else(Vec::new, |next| split(next, refusal))
                }
                (left, _) => left.unwrap_or_default(),
            };
            // What has to be run again, or in parts, goes first: later waves build on it.
            for part in left.into_iter().rev() {
                waiting.push_front(part);
            }
        }
    }

    /// Runs one statement and settles its rows. `None`: all of it is committed; otherwise what is
    /// left to run.
    fn run_part(&mut self, mut part: Part) -> Option<Vec<Part>> {
        if self.permit().to_write().is_err() {
            self.fail_demoted(members(part.group));
            return Some(Vec::new());
        }
        let group = &mut part.group;
        if !self.aside.is_empty() {
            let is_behind = |row: &mut Row| self.aside.contains(&row.change().target);
            let behind: Vec<Row> = group.rows.extract_if(.., is_behind).collect();
            self.set_aside(behind.into_iter().flat_map(|row| row.members));
        }
        if group.rows.is_empty() {
            return Some(Vec::new());
        }
        if group.form == Form::Pass {
            let rows = part.group.rows.into_iter();
            let settled = rows.map(|row| settle_all(row.members, |_| Ok(0), RowState::Unchanged));
            self.completions.push(settled.collect());
            return None;
        }
        let began = Instant::now();
        #[cfg(debug_assertions)]
        super::failpoint::hit(&group.rows, "panic-before");
        jobs_of(group).for_each(|job| job.progress.sent(began));
        let permit = self.shared.terms.permit(self.term);
        let applied = self.store.apply(&permit, &group.mapping, &group.form, &group.rows);
        #[cfg(debug_assertions)]
        if applied.is_ok() {
            super::failpoint::hit(&group.rows, "panic-after");
        }
        let now = Instant::now();
        let took = now.duration_since(began);
        let besides_rows = took.saturating_sub(ROW_TIME * group.rows.len() as u32);
        self.round_trip = besides_rows.min(self.round_trip * 17 / 16 + RISE);
        let outcomes = match applied {
            Ok(outcomes) => outcomes,
            Err(error) => return Some(self.handle(error, part)),
        };
        self.shared.stats.committed(group.rows.len(), now, took);
        let Group { form, rows, .. } = part.group;
        let left = self.settle(&form, rows.into_iter().zip(outcomes));
        (!left.is_empty()).then(|| parts(left))
    }

    fn set_aside(&mut self, jobs: impl IntoIterator<Item = Job>) {
        let (waiting, aside) = (&self.shared.stats.waiting, &mut self.aside);
        self.queue.set_aside(jobs.into_iter().inspect(|job| {
            waiting.add(1);
            if !aside.contains(&job.change.target) {
                aside.insert(job.change.target.clone());
            }
        }));
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
