//! Writes whose connection was lost: what became of them is found out before anything else is done
//! with their rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::errors::pause;
use super::parts::{jobs_of, members};
use super::Worker;
use crate::engine::in_doubt::{InDoubt, Lost, Resolution};
use crate::engine::{Job, StoreError};
use crate::model::failure::Failure;
use crate::model::form::Form;
use crate::plan::group::Group;

impl Worker {
    /// Finds out what became of a statement, while its clients have time. What can be done twice is
    /// done again; what must be done once is asked for. Returns what is left to run.
    pub(super) fn lost(&mut self, group: Group<Job>, lost: Lost) -> Vec<Group<Job>> {
        self.shared.stats.set_last_error(lost.reason.clone());
        if group.form == Form::Read {
            return self.again(group);
        }
        let doubt = Arc::new(InDoubt::new(&self.shared, lost));
        // Who only reads may have all the time there is.
        let writes = jobs_of(&group).filter(|job| !job.change.action.only_looks());
        let deadline = writes.map(|job| job.deadline).max();
        for tries in 0.. {
            // Not on the connection of this batch, which may be as old as the lost one.
            self.store.release();
            match self.store.resolve(&doubt.lost, std::slice::from_ref(&group)) {
                Ok(Resolution::Committed(outcomes)) => {
                    return self.settle(&group.form, group.rows.into_iter().zip(outcomes));
                }
                Ok(Resolution::NotCommitted) => {
                    jobs_of(&group).for_each(|job| job.claim.take_back());
                    return self.again(group);
                }
                Ok(Resolution::Ended) if group.form.is_once() => {
                    doubt.end();
                    let failure = Failure::TimedOut(format!(
                        "{}; the write may or may not be committed",
                        doubt.lost.reason
                    ));
                    self.fail(in_doubt(group, &doubt), &failure);
                    return Vec::new();
                }
                Ok(Resolution::Ended) => {
                    doubt.end();
                    let group = mark(group, &doubt);
                    return self.again(group);
                }
                Err(StoreError::Down(reason)) => self.report_down(&reason),
                Err(StoreError::Retry(reason)) => self.shared.stats.set_last_error(reason),
                Ok(Resolution::Running) | Err(_) => {}
            }
            // The database is away for long: others need the worker to be told so.
            let is_away = !group.form.is_once() && self.shared.health.refusal().is_some();
            if is_away || deadline.is_none_or(|deadline| deadline <= Instant::now()) {
                break;
            }
            std::thread::sleep(pause(tries));
        }
        let in_doubt = in_doubt(group, &doubt);
        self.set_aside(in_doubt);
        Vec::new()
    }

    /// The writes that may be planned. Those of a statement that may still be running stay aside:
    /// a row that is read now could change afterwards.
    pub(super) fn settle_in_doubt(&mut self, jobs: Vec<Job>) -> Vec<Job> {
        if jobs.iter().all(|job| job.in_doubt.is_none()) {
            return jobs;
        }
        let mut resolutions: HashMap<*const InDoubt, bool> = HashMap::new();
        let (mut ready, mut aside) = (Vec::new(), Vec::new());
        for mut job in jobs {
            let Some(doubt) = job.in_doubt.clone() else {
                ready.push(job);
                continue;
            };
            if !doubt.is_over() {
                let was_not = *resolutions.entry(Arc::as_ptr(&doubt)).or_insert_with(|| match self
                    .store
                    .resolve(&doubt.lost, &[])
                {
                    Ok(Resolution::NotCommitted) => true,
                    Ok(Resolution::Committed(_) | Resolution::Ended) => {
                        doubt.end();
                        false
                    }
                    Ok(Resolution::Running) | Err(_) => false,
                });
                if was_not {
                    job.claim.take_back();
                    job.in_doubt = None;
                }
            }
            match job.in_doubt.as_ref().is_none_or(|doubt| doubt.is_over()) {
                true => ready.push(job),
                false => aside.push(job),
            }
        }
        self.set_aside(aside);
        ready
    }
}

pub(super) fn mark(mut group: Group<Job>, doubt: &Arc<InDoubt>) -> Group<Job> {
    let all = group.rows.iter_mut().flat_map(|row| &mut row.members);
    all.for_each(|job| job.in_doubt = Some(doubt.clone()));
    group
}

fn in_doubt(group: Group<Job>, doubt: &Arc<InDoubt>) -> Vec<Job> {
    members(mark(group, doubt))
}
