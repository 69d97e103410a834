//! What is left of a turn when its term is over, and what has to be done before a term begins.

use super::Worker;
use crate::engine::{Demoted, Job, Permit, Shared};
use crate::model::failure::Failure;

impl Worker {
    /// What the statements of this turn need.
    pub(super) fn permit(&self) -> Permit<'_> {
        self.shared.terms.permit(self.term)
    }

    /// Waits until earlier masters were told to end. Where the database answers, and that can't be
    /// done in a while, it goes on without; where it is away, nothing is sent.
    pub(super) fn await_opening(&self) {
        let Shared { health, terms, limits, .. } = &*self.shared;
        while health.refusal().is_none() && !terms.wait_until_open(limits.grace()) {
            if health.is_up() {
                terms.open(terms.now());
            }
        }
    }

    /// Writes of an earlier term are not begun, nor any while this server follows another one.
    pub(super) fn drop_late(&self, jobs: Vec<Job>) -> Vec<Job> {
        let permit = self.permit();
        let is_late = |job: &Job| permit.is_too_late_for(job);
        let (late, rest): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(is_late);
        self.fail_demoted(late);
        rest
    }

    /// This server is no master any more, or not in the term in which these writes were taken.
    pub(super) fn fail_demoted(&self, jobs: Vec<Job>) {
        for in_doubt in self.give_up(jobs, &Demoted.to_string()) {
            let text = "this server follows another one now; the write may or may not be committed";
            self.fail(vec![in_doubt], &Failure::TimedOut(text.into()));
        }
    }
}
