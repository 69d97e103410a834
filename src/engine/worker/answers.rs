//! Writes that are settled: committed, refused, or not begun.

use std::time::Instant;

use super::outcome::{added_later, settle_all};
use super::parts::singly;
use super::Worker;
use crate::engine::job::{Job, Row, RowState};
use crate::engine::{Image, Outcome, Settled, Stage};
use crate::model::action::Action;
use crate::model::failure::Failure;
use crate::model::form::Form;
use crate::plan::group::{by_form, Group};

impl Worker {
    /// Answers the rows of a committed statement. Returns rows whose writes must go one by one.
    pub(super) fn settle(
        &mut self,
        form: &Form,
        rows: impl Iterator<Item = (Row, Outcome)>,
    ) -> Vec<Group<Job>> {
        let (mut left, mut missing) = (Vec::new(), Vec::new());
        let mut settled = Vec::with_capacity(rows.size_hint().0);
        for (row, outcome) in rows {
            match outcome {
                Ok(None) if *form == Form::Mixed => missing.push(row),
                Ok(image) => settled.push(done(form, row, image)),
                Err(_) if row.members.len() > 1 => left.extend(singly(row)),
                Err(failure) => {
                    let answer = |_| Err(failure.clone());
                    settled.push(settle_all(row.members, answer, RowState::Unchanged));
                }
            }
        }
        self.completions.push(settled);
        left.extend(by_form(missing));
        left
    }

    /// Tells the clients of writes that were not done.
    pub(super) fn fail(&self, jobs: Vec<Job>, failure: &Failure) {
        let settle = |job: Job| {
            let state =
                if job.in_doubt.is_some() { RowState::Unknown } else { RowState::Unchanged };
            settle_all(vec![job], |_| Err(failure.clone()), state)
        };
        self.completions.push(jobs.into_iter().map(settle).collect());
    }

    /// Writes that were given up, or whose client's time is up, are not begun. One that may be
    /// committed already becomes a read of its row, so that the cache follows the database.
    pub(super) fn drop_expired(&self, jobs: Vec<Job>) -> Vec<Job> {
        let now = Instant::now();
        let is_over = |job: &Job| job.deadline <= now || job.claim.is_given_up();
        let (expired, mut rest): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| job.in_doubt.is_none() && is_over(job));
        for job in rest.iter_mut().filter(|job| job.deadline <= now) {
            job.change.action = Action::Read;
        }
        for job in expired {
            let failure = Failure::unsent(job.progress.stage() == Stage::Locked, &job.limit);
            self.fail(vec![job], &failure);
        }
        rest
    }

    /// Refuses what was never sent. Returns the writes whose outcome is not known.
    pub(super) fn give_up(&self, jobs: Vec<Job>, reason: &str) -> Vec<Job> {
        let (in_doubt, refused): (Vec<Job>, Vec<Job>) =
            jobs.into_iter().partition(|job| job.in_doubt.is_some());
        self.fail(refused, &Failure::Down(reason.to_string()));
        in_doubt
    }
}

/// A row whose statement is committed: it has left this.
pub(super) fn done(form: &Form, row: Row, image: Option<Image>) -> Settled {
    let state = match image {
        _ if *form == Form::Pass => RowState::Unchanged,
        Some(_) if *form == Form::Delete => RowState::Deleted,
        Some(image) => RowState::Present(image),
        None => RowState::Absent,
    };
    let later = added_later(&row);
    settle_all(row.members, |at| Ok(later[at]), state)
}
