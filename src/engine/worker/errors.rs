//! What a statement that failed leaves to run: the one place that decides what is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::outcome::describe;
use super::parts::{halves, jobs_of, members, parts, rows_apart, singly, split, unmix, Part};
use super::Worker;
use crate::engine::{Job, Stage, StoreError};
use crate::model::failure::{Failure, Refusal};
use crate::model::form::Form;
use crate::model::mapping::Mappings;
use crate::plan::batch::plan;
use crate::plan::group::Group;

/// The pause before a statement is tried again after a conflict or a lost connection; each further
/// one doubles it.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
const MOST_DOUBLINGS: u32 = 5;

/// After so many tries, the writes wait aside, so that other rows go on.
pub(super) const TRIES_AT_ONCE: u32 = 2;

impl Worker {
    /// Returns what is to be run in place of a statement that did nothing, or may have.
    pub(super) fn handle(&mut self, error: StoreError, part: Part) -> Vec<Part> {
        self.count(&error);
        let stage = match &error {
            StoreError::Locked if part.group.rows.len() == 1 => Some(Stage::Locked),
            StoreError::Down(_) | StoreError::Retry(_) | StoreError::Lost(_) => {
                Some(Stage::Unconnected)
            }
            _ => None,
        };
        if let Some(stage) = stage {
            jobs_of(&part.group).for_each(|job| job.progress.set(stage));
        }
        release_claims(&error, &part.group);
        let left = match error {
            StoreError::Refused(refusal) => return self.isolate(part, refusal),
            StoreError::Unfit(problem) => {
                self.fail(members(part.group), &Failure::Input(problem));
                Vec::new()
            }
            StoreError::Unmet(problem) => {
                self.fail(members(part.group), &Failure::Unmet(problem));
                Vec::new()
            }
            StoreError::Apart => return parts(rows_apart(part.group)),
            StoreError::Locked if part.group.rows.len() > 1 => halves(part.group).into(),
            StoreError::Locked => {
                self.set_aside(members(part.group));
                Vec::new()
            }
            StoreError::Conflict(refusal) => {
                self.shared.stats.set_last_error(describe(&refusal));
                self.again(part.group)
            }
            StoreError::Canceled => {
                let failure = Failure::TimedOut(
                    "the database canceled the statement when its time was up; nothing was written"
                        .into(),
                );
                self.fail(members(part.group), &failure);
                Vec::new()
            }
            StoreError::Down(reason) => {
                self.report_down(&reason);
                if self.shared.health.wait_for_return() {
                    self.again(part.group)
                } else {
                    let in_doubt = self.give_up(members(part.group), &reason);
                    self.set_aside(in_doubt);
                    Vec::new()
                }
            }
            StoreError::Demoted => {
                self.fail_demoted(members(part.group));
                Vec::new()
            }
            StoreError::GivenUp => plan(self.drop_expired(members(part.group))),
            StoreError::Stale(mappings) => plan(self.adopt(members(part.group), &mappings)),
            StoreError::Retry(reason) => {
                self.shared.stats.set_last_error(reason);
                self.again(part.group)
            }
            StoreError::Lost(lost) => self.lost(part.group, lost),
        };
        parts(left)
    }

    pub(super) fn count(&self, error: &StoreError) {
        let stats = &self.shared.stats;
        match error {
            StoreError::Conflict(_) => stats.conflicts.add(1),
            StoreError::Locked => stats.locked.add(1),
            StoreError::Canceled => stats.canceled.add(1),
            StoreError::Lost(_) => stats.lost.add(1),
            StoreError::Down(_) => stats.unconnected.add(1),
            // A refused write is counted when its client is answered.
            StoreError::Refused(_)
            | StoreError::Unfit(_)
            | StoreError::Apart
            | StoreError::Unmet(_)
            | StoreError::Stale(_)
            | StoreError::Retry(_)
            | StoreError::Demoted
            | StoreError::GivenUp => {}
        }
    }

    /// The table has changed: the writes are for the table as it is now.
    fn adopt(&self, jobs: Vec<Job>, mappings: &Mappings) -> Vec<Job> {
        let mut adopted = Vec::with_capacity(jobs.len());
        for mut job in jobs {
            let mapping = mappings.get(job.change.mapping.name.as_bytes());
            match mapping.map(|mapping| job.change.adopt(mapping)) {
                Some(Err(problem)) => self.fail(vec![job], &Failure::Input(problem)),
                _ => adopted.push(job),
            }
        }
        adopted
    }

    /// A statement with a bad row: the row apart from the others, then its writes one by one, in
    /// order, until the bad write stands alone and is refused.
    fn isolate(&mut self, mut part: Part, refusal: Refusal) -> Vec<Part> {
        let group = &mut part.group;
        if group.form == Form::Mixed {
            return unmix(part, &refusal);
        }
        if group.rows.len() > 1 {
            return split(part, refusal);
        }
        if group.rows[0].members.len() > 1 {
            return parts(singly(group.rows.remove(0)));
        }
        self.shared.stats.set_last_error(describe(&refusal));
        let refusal = refusal.for_write(group.rows[0].change());
        self.fail(members(part.group), &Failure::Refused(refusal));
        Vec::new()
    }

    pub(super) fn again(&mut self, group: Group<Job>) -> Vec<Group<Job>> {
        self.shared.stats.retries.add(1);
        self.store.release();
        let mut jobs = members(group);
        let tries = jobs.iter().map(|job| job.tries).max().unwrap_or(0);
        if tries >= TRIES_AT_ONCE {
            self.set_aside(jobs);
            return Vec::new();
        }
        jobs.iter_mut().for_each(|job| job.tries += 1);
        std::thread::sleep(pause(tries));
        plan(self.drop_expired(jobs))
    }

    pub(super) fn report_down(&self, reason: &str) {
        self.shared.stats.set_last_error(reason.to_string());
        self.shared.health.report_down(reason);
    }
}

/// After a statement that has done nothing, its writes can be given up again.
fn release_claims(error: &StoreError, group: &Group<Job>) {
    if !matches!(error, StoreError::Lost(_) | StoreError::GivenUp) {
        jobs_of(group).filter(|job| job.in_doubt.is_none()).for_each(|job| job.claim.take_back());
    }
}

/// A pause that grows with the tries, and differs: who failed together need not come back together.
pub(super) fn pause(tries: u32) -> Duration {
    let pause = RETRY_PAUSE * (1 << tries.min(MOST_DOUBLINGS));
    let share = (RandomState::new().hash_one(tries) % 1024) as u32;
    pause / 2 + pause * share / 1024
}
