//! Transactions: the writes of one command that are committed together, or not at all.
//!
//! Many of them share a transaction of the database's where that is certain to do what each would do by
//! itself: see [`Change::stands_alone`](crate::model::change::Change::stands_alone). Where that is refused,
//! each goes by itself; and where a transaction by itself is refused, its writes go one after the other, in
//! order, so that the refused one is known.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::answers::done;
use super::parts::{jobs_of, members};
use super::Worker;
#[cfg(debug_assertions)]
use crate::engine::failpoint;
use crate::engine::{Job, Outcome, Settled, Stage, Transacted, Transaction, Way};
use crate::model::action::Action;
use crate::model::failure::Failure;
use crate::plan::batch::{plan_singly, plan_whole};
use crate::plan::group::Group;

/// Transactions that are run as one.
pub(super) struct Unit {
    /// The writes of each, in order.
    pub transactions: Vec<Vec<Job>>,
    /// How.
    pub way: Way,
}

/// The writes of transactions, and the others.
pub(super) fn take_out(jobs: Vec<Job>) -> (Vec<Vec<Job>>, Vec<Job>) {
    let (mut transactions, mut others): (Vec<Vec<Job>>, _) = (Vec::new(), Vec::new());
    for job in jobs {
        if job.transaction.is_none() {
            others.push(job);
            continue;
        }
        match transactions.last_mut().filter(|last| last[0].goes_with(&job)) {
            Some(last) => last.push(job),
            None => transactions.push(vec![job]),
        }
    }
    (transactions, others)
}

/// A transaction that is done once.
pub(super) fn is_once(job: &Job) -> bool {
    job.transaction.as_ref().is_some_and(|of| of.once.is_some())
}

/// A transaction that may be done together with others, in any order.
pub(super) fn stands_alone(jobs: &[Job]) -> bool {
    !is_once(&jobs[0]) && jobs.iter().all(|job| job.change.stands_alone())
}

impl Worker {
    /// Runs transactions. Returns writes that are left to run as any others.
    pub(super) fn transact(&mut self, transactions: Vec<Vec<Job>>) -> Vec<Job> {
        let (together, singly): (Vec<Vec<Job>>, Vec<Vec<Job>>) =
            transactions.into_iter().partition(|jobs| stands_alone(jobs));
        let mut units = VecDeque::new();
        if !together.is_empty() {
            units.push_back(Unit { transactions: together, way: Way::Together });
        }
        units.extend(in_order(singly));
        let mut left = Vec::new();
        while let Some(mut unit) = units.pop_front() {
            unit.transactions = self.drop_over(unit.transactions, &mut left);
            if unit.transactions.is_empty() {
                continue;
            }
            for unit in self.attempt(unit, &mut left).into_iter().rev() {
                units.push_front(unit);
            }
        }
        left
    }

    /// Those that may be begun: what was given up, or is too late, is answered. What may be committed
    /// already becomes reads of its rows, so that the cache follows the database.
    fn drop_over(&self, transactions: Vec<Vec<Job>>, reads: &mut Vec<Job>) -> Vec<Vec<Job>> {
        let now = Instant::now();
        let mut rest = Vec::new();
        for jobs in transactions {
            let first = &jobs[0];
            let is_over = first.deadline <= now || first.claim.is_given_up();
            if self.permit().is_too_late_for(first) {
                self.fail_demoted(jobs);
            } else if first.in_doubt.is_some() && (first.deadline <= now || !is_once(first)) {
                reads.extend(into_reads(jobs));
            } else if first.in_doubt.is_none() && is_over {
                let (is_locked, limit) = (first.progress.stage() == Stage::Locked, first.limit);
                self.fail(jobs, &Failure::unsent(is_locked, &limit));
            } else if let (Some(reason), None) = (self.shared.health.refusal(), &first.in_doubt) {
                self.fail(jobs, &Failure::Down(reason));
            } else {
                rest.push(jobs);
            }
        }
        rest
    }

    /// Runs a unit. Returns what is to be run in its place.
    fn attempt(&mut self, unit: Unit, left: &mut Vec<Job>) -> Vec<Unit> {
        let Unit { transactions, way } = unit;
        let of = transactions[0][0].transaction.clone();
        let once = of.as_ref().and_then(|of| of.once.as_ref());
        let count = transactions.len();
        let jobs: Vec<Job> = transactions.into_iter().flatten().collect();
        let groups = match way {
            Way::Together => plan_whole(jobs),
            Way::InOrder | Way::Unlocked => plan_singly(jobs),
        };
        let began = Instant::now();
        groups.iter().flat_map(jobs_of).for_each(|job| job.progress.sent(began));
        #[cfg(debug_assertions)]
        groups.iter().for_each(|group| failpoint::hit(&group.rows, "panic-before"));
        let permit = self.shared.terms.permit(self.term);
        let undone = match self.store.transact(&permit, &groups, way, once) {
            Ok(Transacted::Now(outcomes, reply)) => {
                #[cfg(debug_assertions)]
                groups.iter().for_each(|group| failpoint::hit(&group.rows, "panic-after"));
                let (now, rows) =
                    (Instant::now(), groups.iter().map(|group| group.rows.len()).sum());
                self.shared.stats.committed(rows, now, now.duration_since(began));
                self.shared.stats.transactions.add(count);
                if let (Some(of), Some(reply)) = (&of, reply) {
                    of.keep_reply(reply);
                }
                self.settle_together(groups, outcomes.into_iter().flatten());
                return Vec::new();
            }
            Ok(Transacted::Before(reply)) => {
                if let Some(of) = &of {
                    of.keep_reply(reply);
                }
                let jobs = groups.into_iter().flat_map(members).collect();
                left.extend(into_reads(jobs));
                return Vec::new();
            }
            Err(undone) => undone,
        };
        self.count(&undone.error);
        self.undone(undone, groups, way)
    }

    /// Answers transactions that are committed; the cache shows all of one at once.
    pub(super) fn settle_together(
        &mut self,
        groups: Vec<Group<Job>>,
        outcomes: impl Iterator<Item = Outcome>,
    ) {
        let number = |of: &Option<Arc<Transaction>>| of.as_ref().map(|of| of.id);
        let rows = groups.into_iter().flat_map(|group| {
            let form = group.form;
            group.rows.into_iter().map(move |row| (form.clone(), row))
        });
        let mut settled: Vec<(_, Settled)> = rows
            .zip(outcomes)
            .map(|((form, row), outcome)| {
                let of = number(&row.members[0].transaction);
                (of, done(&form, row, outcome.ok().flatten()))
            })
            .collect();
        settled.sort_by_key(|(of, _)| *of);
        for at in 1..settled.len() {
            settled[at - 1].1.is_followed = settled[at - 1].0 == settled[at].0;
        }
        self.completions.push(settled.into_iter().map(|(_, settled)| settled).collect());
    }
}

/// Each by itself.
pub(super) fn in_order(transactions: Vec<Vec<Job>>) -> impl Iterator<Item = Unit> {
    transactions.into_iter().map(|jobs| Unit { transactions: vec![jobs], way: Way::InOrder })
}

/// Two halves of several; one by itself goes in order.
pub(super) fn apart(mut transactions: Vec<Vec<Job>>) -> Vec<Unit> {
    match transactions.len() {
        1 => in_order(transactions).collect(),
        len => {
            let second = transactions.split_off(len / 2);
            let unit = |transactions| Unit { transactions, way: Way::Together };
            vec![unit(transactions), unit(second)]
        }
    }
}

/// The writes of each transaction, in order.
pub(super) fn ungroup(groups: Vec<Group<Job>>) -> Vec<Vec<Job>> {
    let mut jobs: Vec<Job> = groups.into_iter().flat_map(members).collect();
    let number = |job: &Job| job.transaction.as_ref().map(|of| of.id);
    jobs.sort_by_key(|job| (number(job), job.id()));
    take_out(jobs).0
}

/// Only what the rows hold is still to be found out.
fn into_reads(mut jobs: Vec<Job>) -> Vec<Job> {
    for job in &mut jobs {
        job.transaction = None;
        job.change.action = Action::Read;
    }
    jobs
}
