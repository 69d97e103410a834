//! The thread that writes one mapping's queue.

use std::collections::{HashMap, VecDeque};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::errors::{describe, is_about_entry};
use super::history::History;
use super::states::states;
use super::tried::{halves, Tried};
use super::{Batch, BehindStore, Entry, Moved, News, Position, Report, Reports, WrittenRow};
use crate::engine::job::{Completions, Job, RowState, Settled};
use crate::engine::{Shared, StoreError};
use crate::model::change::Change;
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;
use crate::plan::batch::plan_whole;

/// The first pause before another try, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Tries that may fail before the queue is said to be held.
const TRIES: u32 = 3;

/// A pause is looked at so often: whether the thread is to end.
const SLICE: Duration = Duration::from_millis(20);

/// Refused entries that are remembered, at most; past it the database is asked again.
const REFUSED_MAX: usize = 10_000;

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
    /// By identity: what is known of it, since nobody else moves it.
    positions: HashMap<Arc<str>, Position>,
    /// What was known before.
    history: History,
    nobody: Arc<dyn Completions>,
}

impl Drain {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: Box<dyn BehindStore>,
        reports: Arc<Reports>,
        closed: Arc<AtomicBool>,
    ) -> Drain {
        let (positions, history) = Default::default();
        Drain { shared, store, reports, closed, positions, history, nobody: Arc::new(Nobody) }
    }

    /// Writes batches until there is nobody who sends any. A panic ends a batch, and what it had left is read
    /// again.
    pub(super) fn run(mut self, batches: &Receiver<Batch>) {
        while let Ok(mut batch) = batches.recv() {
            let written = catch_unwind(AssertUnwindSafe(|| self.write(&mut batch)));
            if !written.as_ref().is_ok_and(|is_done| *is_done) {
                // What follows would move the position past what is left: it is read again.
                batch.live.store(false, Ordering::Release);
            }
            if written.is_err() {
                self.positions.clear();
                let text = "a thread that writes behind panicked; please report this";
                self.shared.stats.set_last_error(text.into());
            }
            self.store.release();
            self.report(&batch, News::End);
        }
    }

    fn report(&self, batch: &Batch, news: News) {
        let (name, live) = (batch.name.clone(), batch.live.clone());
        self.reports.push([Report { name, live, news }]);
    }

    /// False when something is left.
    fn write(&mut self, batch: &mut Batch) -> bool {
        let mut parts = VecDeque::from([std::mem::take(&mut batch.entries)]);
        let mut failed = 0;
        while let Some(part) = parts.pop_front() {
            let is_over =
                || self.closed.load(Ordering::Acquire) || !batch.live.load(Ordering::Acquire);
            if is_over() {
                return false;
            }
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
                    self.positions.clear();
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

    fn attempt(&mut self, batch: &Batch, mut part: Vec<Entry>) -> Tried {
        let shared = self.shared.clone();
        let permit = shared.terms.permit(batch.term);
        if permit.to_write().is_err() {
            return Tried::Over;
        }
        if !shared.terms.wait_until_open(shared.limits.grace()) && !shared.health.is_up() {
            return Tried::Later(part, "the database can't be reached".into());
        }
        if !self.positions.contains_key(&batch.identity) {
            match self.store.position(&permit, &batch.identity, &batch.name) {
                Ok(position) => drop(self.positions.insert(batch.identity.clone(), position)),
                Err(error) => return self.failed(batch, part, error),
            }
            let at = self.at(batch).at;
            for news in self.history.find(batch, at) {
                self.report(batch, news);
            }
        }
        let from = self.at(batch).at;
        let done = part.iter().position(|entry| entry.id > from).unwrap_or(part.len());
        if done > 0 {
            self.report_done(batch, part.drain(..done));
            return Tried::Left(vec![part]);
        }
        // Refused before, and not set aside since: written now it could be put back, and count twice.
        let position = self.at(batch);
        for entry in &mut part {
            if let Some(failure) = position.refused.get(&entry.id) {
                entry.change = Err(failure.clone());
            } else if entry.id < position.since {
                entry.change = Err(Failure::Input(UNTOLD.into()));
            }
        }
        let Some(last) = part.last().map(|entry| entry.id) else { return Tried::Done };
        if let Some(bad) = part.iter().position(|entry| entry.change.is_err()) {
            if part.len() > 1 {
                let rest = part.split_off(bad + 1);
                let bad = part.split_off(bad);
                return Tried::Left(vec![part, bad, rest]);
            }
        }
        let refused = part[0].change.as_ref().err().cloned();
        if let Some(failure) = refused {
            return self.refuse(batch, part, failure);
        }
        let changes = part.iter().filter_map(|entry| entry.change.as_ref().ok());
        let far = Instant::now() + Duration::from_secs(3600);
        let jobs = changes.enumerate().map(|(at, change)| {
            Job::new(at as u64, change.clone(), far, batch.term, self.nobody.clone())
        });
        let groups = plan_whole(jobs.collect());
        let moved = Moved { identity: &batch.identity, from, to: last };
        let began = Instant::now();
        match self.store.write(&permit, &moved, &groups) {
            Ok(outcomes) => {
                if let Some(position) = self.positions.get_mut(&batch.identity) {
                    position.at = last;
                }
                let now = Instant::now();
                self.history.confirm(batch, last, now);
                let rows = groups.iter().map(|group| group.rows.len()).sum();
                shared.stats.committed(rows, now, now.duration_since(began));
                shared.stats.behind_written.add(part.len());
                self.report(batch, News::Written(last, states(groups, outcomes).collect()));
                Tried::Done
            }
            Err(error) => self.failed(batch, part, error),
        }
    }

    fn at(&self, batch: &Batch) -> &Position {
        &self.positions[&batch.identity]
    }

    /// Entries that were done before, or refused.
    fn report_done(&self, batch: &Batch, entries: impl Iterator<Item = Entry>) {
        let position = self.at(batch);
        let mut rows = Vec::new();
        let mut last = None;
        for entry in entries {
            if let Some(failure) = position.refused.get(&entry.id) {
                self.report(batch, News::Refused(entry.id, failure.clone()));
                continue;
            }
            last = Some(entry.id);
            if let Ok(change) = entry.change {
                let Change { target, mapping, .. } = change;
                let state = RowState::Unknown;
                rows.push(WrittenRow { target, mapping, state, is_as_sent: false });
            }
        }
        if let Some(last) = last {
            self.report(batch, News::Written(last, rows));
        }
    }

    /// The only entry is refused: that is noted before another one is written.
    fn refuse(&mut self, batch: &Batch, part: Vec<Entry>, failure: Failure) -> Tried {
        let shared = self.shared.clone();
        let permit = shared.terms.permit(batch.term);
        match self.store.refuse(&permit, &batch.identity, part[0].id, &failure) {
            Ok(()) => {
                self.shared.stats.behind_refused.add(1);
                if let Some(position) = self.positions.get_mut(&batch.identity) {
                    position.refused.insert(part[0].id, failure.clone());
                    if position.refused.len() > REFUSED_MAX {
                        self.positions.remove(&batch.identity);
                    }
                }
                self.report(batch, News::Refused(part[0].id, failure));
                Tried::Done
            }
            Err(StoreError::Demoted) => Tried::Over,
            Err(error) => Tried::Later(part, describe(&error)),
        }
    }

    fn failed(&mut self, batch: &Batch, mut part: Vec<Entry>, error: StoreError) -> Tried {
        let is_one = part.len() == 1;
        let mapping = part.iter().find_map(|entry| entry.change.as_ref().ok());
        let mapping: Option<Arc<Mapping>> = mapping.map(|change| change.mapping.clone());
        match error {
            StoreError::Demoted | StoreError::GivenUp => Tried::Over,
            StoreError::Refused(refusal)
                if mapping.is_some_and(|mapping| is_about_entry(&refusal, &mapping)) =>
            {
                match is_one {
                    true => {
                        let change = part[0].change.as_ref().ok();
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
                    for entry in &mut part {
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
