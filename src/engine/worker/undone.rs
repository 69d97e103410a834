//! Transactions that did nothing, or may have done nothing: what is run in their place.

use std::sync::Arc;
use std::time::Instant;

use super::errors::{pause, TRIES_AT_ONCE};
use super::in_doubt::mark;
use super::outcome::{describe, UNKNOWN};
use super::parts::{jobs_of, members};
use super::transactions::{apart, in_order, is_once, stands_alone, ungroup, Unit};
use super::Worker;
use crate::engine::in_doubt::{InDoubt, Lost, Resolution};
use crate::engine::{At, Job, Stage, StoreError, Undone, Way};
use crate::model::failure::Failure;
use crate::model::mapping::Mappings;
use crate::plan::group::Group;

/// A token may be sent again.
const CHANGED: &str = "the table's definition has changed meanwhile; nothing was written";

impl Worker {
    /// What is to be run in place of transactions that did nothing, or may have.
    pub(super) fn undone(
        &mut self,
        undone: Undone,
        groups: Vec<Group<Job>>,
        way: Way,
    ) -> Vec<Unit> {
        let Undone { at, error } = undone;
        let error = *error;
        let stage = match &error {
            StoreError::Locked => Some(Stage::Locked),
            StoreError::Down(_) | StoreError::Retry(_) | StoreError::Lost(_) => {
                Some(Stage::Unconnected)
            }
            _ => None,
        };
        let jobs = || groups.iter().flat_map(jobs_of);
        if let Some(stage) = stage {
            jobs().for_each(|job| job.progress.set(stage));
        }
        if !matches!(error, StoreError::Lost(_)) {
            jobs().filter(|job| job.in_doubt.is_none()).for_each(|job| job.claim.take_back());
        }
        if let StoreError::Lost(lost) = error {
            return self.lost_together(groups, lost, way);
        }
        let transactions = ungroup(groups);
        match error {
            StoreError::Refused(_)
            | StoreError::Unfit(_)
            | StoreError::Apart
            | StoreError::Unmet(_)
                if way == Way::Together =>
            {
                apart(transactions)
            }
            StoreError::Locked if transactions.len() > 1 => apart(transactions),
            StoreError::Refused(_) if at == At::Start && way == Way::InOrder => {
                vec![Unit { transactions, way: Way::Unlocked }]
            }
            StoreError::Refused(refusal) => {
                self.shared.stats.set_last_error(describe(&refusal));
                self.refuse(transactions, at, |job| {
                    Failure::Refused(refusal.clone().for_write(&job.change))
                })
            }
            StoreError::Unfit(problem) => {
                self.refuse(transactions, at, |_| Failure::Input(problem.clone()))
            }
            StoreError::Unmet(problem) => {
                self.refuse(transactions, at, |_| Failure::Unmet(problem.clone()))
            }
            StoreError::Canceled => {
                let text =
                    "the database canceled the statement when its time was up; nothing was written";
                self.refuse(transactions, At::Commit, |_| Failure::TimedOut(text.into()))
            }
            StoreError::Demoted => {
                self.fail_demoted(transactions.into_iter().flatten().collect());
                Vec::new()
            }
            StoreError::Locked => {
                self.set_aside(transactions.into_iter().flatten());
                Vec::new()
            }
            StoreError::Conflict(refusal) => {
                self.shared.stats.set_last_error(describe(&refusal));
                self.try_again(transactions, way)
            }
            StoreError::Retry(reason) => {
                self.shared.stats.set_last_error(reason);
                self.try_again(transactions, way)
            }
            StoreError::Down(reason) => {
                self.report_down(&reason);
                match self.shared.health.wait_for_return() {
                    true => self.try_again(transactions, way),
                    false => {
                        let jobs = transactions.into_iter().flatten().collect();
                        let in_doubt = self.give_up(jobs, &reason);
                        self.set_aside(in_doubt);
                        Vec::new()
                    }
                }
            }
            StoreError::Stale(mappings) => self.adopt_together(transactions, &mappings),
            StoreError::GivenUp => vec![Unit { transactions, way }],
            // Of single rows there is no such thing, and what is lost is dealt with above.
            StoreError::Apart | StoreError::Lost(_) => {
                self.refuse(transactions, At::Commit, |_| Failure::TimedOut(UNKNOWN.into()))
            }
        }
    }

    /// The only transaction is refused: by the write of this number, or as a whole.
    fn refuse(
        &mut self,
        transactions: Vec<Vec<Job>>,
        at: At,
        failure: impl Fn(&Job) -> Failure,
    ) -> Vec<Unit> {
        for jobs in transactions {
            for (number, job) in jobs.into_iter().enumerate() {
                let failure = match at {
                    At::Statement(at) if at != number => Failure::Aborted,
                    _ => failure(&job),
                };
                self.fail(vec![job], &failure);
            }
        }
        Vec::new()
    }

    fn try_again(&mut self, transactions: Vec<Vec<Job>>, way: Way) -> Vec<Unit> {
        self.shared.stats.retries.add(1);
        self.store.release();
        let mut transactions = transactions;
        let jobs = || transactions.iter().flatten();
        let tries = jobs().map(|job| job.tries).max().unwrap_or(0);
        if tries >= TRIES_AT_ONCE {
            self.set_aside(transactions.into_iter().flatten());
            return Vec::new();
        }
        transactions.iter_mut().flatten().for_each(|job| job.tries += 1);
        std::thread::sleep(pause(tries));
        vec![Unit { transactions, way }]
    }

    /// A table has changed: all writes of a transaction are for the tables as they are now, or none is.
    fn adopt_together(&mut self, transactions: Vec<Vec<Job>>, mappings: &Mappings) -> Vec<Unit> {
        let mut units = Vec::new();
        for mut jobs in transactions {
            // Its reply is by the columns as they were.
            if is_once(&jobs[0]) {
                self.fail(jobs, &Failure::Down(CHANGED.into()));
                continue;
            }
            let adopt = |job: &mut Job| {
                let mapping = mappings.get(job.change.mapping.name.as_bytes());
                mapping.map_or(Ok(()), |mapping| job.change.adopt(mapping))
            };
            let problem = jobs
                .iter_mut()
                .map(adopt)
                .enumerate()
                .find_map(|(at, adopted)| adopted.err().map(|problem| (at, problem)));
            match problem {
                Some((at, problem)) => {
                    self.refuse(vec![jobs], At::Statement(at), |_| Failure::Input(problem.clone()));
                }
                None if stands_alone(&jobs) => {
                    units.push(Unit { transactions: vec![jobs], way: Way::Together });
                }
                None => units.extend(in_order(vec![jobs])),
            }
        }
        units
    }

    /// Finds out what became of transactions, while their clients have time. They are never done again
    /// unless it is known that they were not, or that they can't be done twice.
    fn lost_together(&mut self, groups: Vec<Group<Job>>, lost: Lost, way: Way) -> Vec<Unit> {
        self.shared.stats.set_last_error(lost.reason.clone());
        let doubt = Arc::new(InDoubt::new(&self.shared, lost));
        let jobs = || groups.iter().flat_map(jobs_of);
        let deadline = jobs().map(|job| job.deadline).max();
        let is_once = jobs().all(is_once);
        for tries in 0.. {
            self.store.release();
            match self.store.resolve(&doubt.lost, &groups) {
                Ok(Resolution::Committed(outcomes)) => {
                    // The stored reply is read by the next try.
                    if is_once {
                        return self.try_again(ungroup(groups), way);
                    }
                    self.settle_together(groups, outcomes.into_iter());
                    return Vec::new();
                }
                Ok(Resolution::NotCommitted) => {
                    jobs().for_each(|job| job.claim.take_back());
                    return self.try_again(ungroup(groups), way);
                }
                Ok(Resolution::Ended) if is_once => return self.try_again(ungroup(groups), way),
                Ok(Resolution::Ended) => {
                    doubt.end();
                    let failure = Failure::TimedOut(format!(
                        "{}; the transaction may or may not be committed",
                        doubt.lost.reason
                    ));
                    let marked = groups.into_iter().flat_map(|group| members(mark(group, &doubt)));
                    self.fail(marked.collect(), &failure);
                    return Vec::new();
                }
                Err(StoreError::Down(reason)) => self.report_down(&reason),
                Err(StoreError::Retry(reason)) => self.shared.stats.set_last_error(reason),
                Ok(Resolution::Running) | Err(_) => {}
            }
            if deadline.is_none_or(|deadline| deadline <= Instant::now()) {
                break;
            }
            std::thread::sleep(pause(tries));
        }
        let marked = groups.into_iter().map(|group| mark(group, &doubt)).collect();
        self.set_aside(ungroup(marked).into_iter().flatten());
        Vec::new()
    }
}
