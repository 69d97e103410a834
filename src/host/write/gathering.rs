//! A transaction in its keys' lines: it goes when nothing else of all these keys is on its way.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::pending::{Line, PendingWrites};
use crate::engine::{Job, JobId};

/// A transaction that is not on its way yet.
#[derive(Default)]
pub(super) struct Gathering {
    /// How many of its writes are not gathered yet.
    missing: usize,
    /// Those that are.
    jobs: Vec<Job>,
    /// The keys of all.
    targets: Vec<Arc<[u8]>>,
}

impl PendingWrites {
    /// Puts the writes of a transaction in their keys' lines. Returns them when they may go at once.
    pub fn line_up_together(&mut self, transaction: JobId, jobs: Vec<Job>) -> VecDeque<Job> {
        let targets = jobs.iter().map(|job| job.change.target.clone()).collect();
        let is_free = |job: &Job| !self.lines.contains_key(&job.change.target);
        let free: Vec<bool> = jobs.iter().map(is_free).collect();
        let (missing, mut first) = (jobs.len(), Vec::new());
        for (job, is_free) in jobs.into_iter().zip(free) {
            let progress = job.progress.clone();
            let new = || Line { progress, ..Line::default() };
            let line = self.lines.entry(job.change.target.clone()).or_insert_with(new);
            match is_free {
                true => {
                    line.sent += 1;
                    first.push(job);
                }
                false => line.behind.push_back(job),
            }
        }
        self.gathering.insert(transaction, Gathering { missing, jobs: Vec::new(), targets });
        self.gather(transaction, first.into())
    }

    /// Nothing else of these writes' keys is on its way. Returns the transaction when that is so of all.
    pub(super) fn gather(&mut self, transaction: JobId, jobs: VecDeque<Job>) -> VecDeque<Job> {
        let Some(gathering) = self.gathering.get_mut(&transaction) else { return jobs };
        gathering.missing -= jobs.len();
        gathering.jobs.extend(jobs);
        if gathering.missing > 0 {
            return VecDeque::new();
        }
        let mut jobs = self.gathering.remove(&transaction).unwrap_or_default().jobs;
        jobs.sort_by_key(Job::id);
        jobs.into()
    }

    /// The other keys whose writes these keys' may wait for: a transaction in their lines waits for all of its own.
    pub fn waited_for(&self, targets: &[&[u8]]) -> Vec<Arc<[u8]>> {
        let mut others = Vec::new();
        let mut known: HashSet<&[u8]> = HashSet::new();
        let mut left: Vec<&Gathering> = self.gathering.values().collect();
        if !left.is_empty() {
            known.extend(targets);
        }
        loop {
            let is_among = |gathering: &&&Gathering| {
                gathering.targets.iter().any(|target| known.contains(&target[..]))
            };
            let (next, rest): (Vec<&Gathering>, Vec<&Gathering>) =
                left.iter().partition(|gathering| is_among(gathering));
            if next.is_empty() {
                return others;
            }
            for target in next.iter().flat_map(|gathering| &gathering.targets) {
                if known.insert(target) {
                    others.push(target.clone());
                }
            }
            left = rest;
        }
    }
}
