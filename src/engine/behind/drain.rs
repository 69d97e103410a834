//! The thread that writes one mapping's queue.

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::errors::{describe, is_about_entry};
use super::positions::Positions;
use super::states::states;
use super::tried::{ends, halves, items, Item, Tried};
use super::{Batch, BehindStore, News, Report, Reports, WrittenRow, WrittenRows};
use crate::engine::job::{Completions, Job, RowState, Settled};
use crate::engine::{Shared, StoreError};
use crate::model::change::Change;
use crate::model::entry_id::EntryId;
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;
use crate::plan::batch::plan_whole;

/// The first pause before another try, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Tries that may fail before the queue is said to be held.
const TRIES: u32 = 3;

/// A pause is looked at so often: whether the thread is to end.
const SLICE: Duration = Duration::from_millis(20);

/// Why an entry is refused that its database may have forgotten.
const UNTOLD: &str = "the entry waited for so long that PostgreSQL may have forgotten it: nobody knows whether it was written";

/// Nobody waits for one of these writes.
struct Nobody;

impl Completions for Nobody {
    fn push(&self, _: Vec<Settled>) {}
}

/// The thread.
pub(super) struct Drain {
    shared: Arc<Shared>,
    store: Box<dyn BehindStore>,
    reports: Arc<Reports>,
    closed: Arc<AtomicBool>,
    positions: Positions,
    nobody: Arc<dyn Completions>,
}

impl Drain {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: Box<dyn BehindStore>,
        reports: Arc<Reports>,
        closed: Arc<AtomicBool>,
    ) -> Drain {
        let positions = Positions::default();
        Drain { shared, store, reports, closed, positions, nobody: Arc::new(Nobody) }
    }

    /// Writes batches until there is nobody who sends any. A panic ends a batch, and what it had left is read
    /// again.
    pub(super) fn run(mut self, batches: &Receiver<Batch>) {
        while let Ok(mut batch) = batches.recv() {
            let written = catch_unwind(AssertUnwindSafe(|| self.write(&mut batch)));
            if !written.as_ref().is_ok_and(|is_done| *is_done) {
                // What follows would move the position past what is left: it is read again.
                batch.runs.iter().for_each(|run| run.source.live.store(false, Ordering::Release));
            }
            if written.is_err() {
                self.positions.forget();
                let text = "a thread that writes behind panicked; please report this";
                self.shared.stats.set_last_error(text.into());
            }
            self.store.release();
            self.positions.limit();
            self.report(&batch, News::End(batch.sources()));
        }
    }

    fn report(&self, batch: &Batch, news: News) {
        let name = batch.name.clone();
        self.reports.push([Report { name, news }]);
    }

    /// False when something is left.
    fn write(&mut self, batch: &mut Batch) -> bool {
        let mut parts = VecDeque::from([items(batch)]);
        let mut failed = 0;
        while let Some(mut part) = parts.pop_front() {
            if self.closed.load(Ordering::Acquire) {
                return false;
            }
            // What a queue doesn't hold any more is given up.
            part.retain(|(run, _)| batch.runs[*run].source.live.load(Ordering::Acquire));
            match self.attempt(batch, part) {
                Tried::Over => return false,
                Tried::Done => failed = 0,
                Tried::Left(left) => left.into_iter().rev().for_each(|part| parts.push_front(part)),
                Tried::Later(part, reason) => {
                    parts.push_front(part);
                    failed += 1;
                    if failed == TRIES {
                        self.report(batch, News::Held(reason.clone()));
                    }
                    self.shared.stats.retries.add(1);
                    self.shared.stats.set_last_error(reason);
                    self.positions.forget();
                    self.store.release();
                    self.pause(failed);
                }
            }
        }
        true
    }

    fn pause(&self, failed: u32) {
        let until = Instant::now() + (PAUSES.0 * 2u32.pow(failed.min(10))).min(PAUSES.1);
        while Instant::now() < until && !self.closed.load(Ordering::Acquire) {
            let left = until.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(SLICE));
        }
    }

    fn attempt(&mut self, batch: &Batch, mut part: Vec<Item>) -> Tried {
        let shared = self.shared.clone();
        let permit = shared.terms.permit(batch.term);
        if permit.to_write().is_err() {
            return Tried::Over;
        }
        if !shared.terms.wait_until_open(shared.limits.grace()) && !shared.health.is_up() {
            return Tried::Later(part, "the database can't be reached".into());
        }
        match self.positions.read(&mut *self.store, &permit, batch) {
            Ok(news) => news.into_iter().for_each(|news| self.report(batch, news)),
            Err(error) => return self.failed(batch, part, error),
        }
        let is_done = |item: &mut Item| item.1.id <= self.positions.of(batch, item.0).at;
        let done: Vec<Item> = part.extract_if(.., is_done).collect();
        if !done.is_empty() {
            self.report_done(batch, done);
            return Tried::Left(vec![part]);
        }
        // Refused before, and not set aside since: written now it could be put back, and count twice.
        for (run, entry) in &mut part {
            let position = self.positions.of(batch, *run);
            if let Some(failure) = position.refused.get(&entry.id) {
                entry.change = Err(failure.clone());
            } else if entry.id < position.since {
                entry.change = Err(Failure::Input(UNTOLD.into()));
            }
        }
        if part.is_empty() {
            return Tried::Done;
        }
        if let Some(bad) = part.iter().position(|(_, entry)| entry.change.is_err()) {
            if part.len() > 1 {
                let rest = part.split_off(bad + 1);
                let bad = part.split_off(bad);
                return Tried::Left(vec![part, bad, rest]);
            }
        }
        let refused = part[0].1.change.as_ref().err().cloned();
        if let Some(failure) = refused {
            return self.refuse(batch, part, failure);
        }
        let changes = part.iter().filter_map(|(_, entry)| entry.change.as_ref().ok());
        let far = Instant::now() + Duration::from_secs(3600);
        let jobs = changes.enumerate().map(|(at, change)| {
            Job::new(at as u64, change.clone(), far, batch.term, self.nobody.clone())
        });
        let groups = plan_whole(jobs.collect());
        let ends = ends(&part);
        let moved = self.positions.steps(batch, &ends);
        let began = Instant::now();
        match self.store.write(&permit, &moved, &groups) {
            Ok(outcomes) => {
                let now = Instant::now();
                self.positions.moved(batch, &ends, now);
                let rows = groups.iter().map(|group| group.rows.len()).sum();
                shared.stats.committed(rows, now, now.duration_since(began));
                shared.stats.behind_written.add(part.len());
                self.report_written(batch, ends, states(groups, outcomes));
                Tried::Done
            }
            Err(error) => self.failed(batch, part, error),
        }
    }

    fn report_written(&self, batch: &Batch, ends: Vec<(usize, EntryId)>, rows: WrittenRows) {
        let ends = ends.into_iter().map(|(run, to)| (batch.runs[run].source.clone(), to));
        self.report(batch, News::Written(ends.collect(), rows));
    }

    /// Entries that were done before, or refused.
    fn report_done(&self, batch: &Batch, mut items: Vec<Item>) {
        let refused =
            |item: &mut Item| self.positions.of(batch, item.0).refused.contains_key(&item.1.id);
        for (run, entry) in items.extract_if(.., refused).collect::<Vec<_>>() {
            let Some(failure) = self.positions.of(batch, run).refused.get(&entry.id) else {
                continue;
            };
            let source = batch.runs[run].source.clone();
            self.report(batch, News::Refused(source, entry.id, failure.clone()));
        }
        if items.is_empty() {
            return;
        }
        let ends = ends(&items);
        let changes = items.into_iter().filter_map(|(_, entry)| entry.change.ok());
        let rows = changes.map(|Change { target, mapping, .. }| {
            let state = RowState::Unknown;
            (target, WrittenRow { mapping, state, is_as_sent: false })
        });
        self.report_written(batch, ends, rows.collect());
    }

    /// The only entry is refused: that is noted before another one is written.
    fn refuse(&mut self, batch: &Batch, part: Vec<Item>, failure: Failure) -> Tried {
        let shared = self.shared.clone();
        let permit = shared.terms.permit(batch.term);
        let (run, id) = (&batch.runs[part[0].0], part[0].1.id);
        match self.store.refuse(&permit, &run.identity, id, &failure) {
            Ok(()) => {
                self.shared.stats.behind_refused.add(1);
                self.positions.refused(&run.identity, id, failure.clone());
                self.report(batch, News::Refused(run.source.clone(), id, failure));
                Tried::Done
            }
            Err(StoreError::Demoted) => Tried::Over,
            Err(error) => Tried::Later(part, describe(&error)),
        }
    }

    fn failed(&mut self, batch: &Batch, mut part: Vec<Item>, error: StoreError) -> Tried {
        let is_one = part.len() == 1;
        let mapping = part.iter().find_map(|(_, entry)| entry.change.as_ref().ok());
        let mapping: Option<Arc<Mapping>> = mapping.map(|change| change.mapping.clone());
        match error {
            StoreError::Demoted | StoreError::GivenUp => Tried::Over,
            StoreError::Refused(refusal)
                if mapping.is_some_and(|mapping| is_about_entry(&refusal, &mapping)) =>
            {
                match is_one {
                    true => {
                        let change = part[0].1.change.as_ref().ok();
                        let refusal = match change {
                            Some(change) => refusal.for_write(change),
                            None => refusal,
                        };
                        self.refuse(batch, part, Failure::Refused(refusal))
                    }
                    false => halves(part),
                }
            }
            StoreError::Unfit(problem) if is_one => {
                self.refuse(batch, part, Failure::Input(problem))
            }
            StoreError::Unfit(_) | StoreError::Apart | StoreError::Canceled if !is_one => {
                halves(part)
            }
            StoreError::Stale(mappings) => match mappings.get(batch.name.as_bytes()) {
                Some(mapping) => {
                    for (_, entry) in &mut part {
                        let Ok(change) = &mut entry.change else { continue };
                        if let Err(problem) = change.adopt(mapping) {
                            entry.change = Err(Failure::Input(problem));
                        }
                    }
                    Tried::Left(vec![part])
                }
                None => Tried::Later(part, format!("no mapping is named {:?}", batch.name)),
            },
            error => Tried::Later(part, describe(&error)),
        }
    }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
