//! Writes that wait aside, so that other rows go on: somebody else has locked their row, or they
//! have failed again and again.
//!
//! The writes of a transaction wait under the key of its first one: nothing else of its keys is on its way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::job::{Job, JobId};
use crate::model::map::Map;

/// The pause before the first try; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const MOST_DOUBLINGS: u32 = 5;

/// The writes set aside, by key, each key's in order.
#[derive(Default)]
pub struct LockWaits {
    lines: Map<Arc<[u8]>, Line>,
}

struct Line {
    jobs: Vec<Job>,
    retry: Instant,
}

impl LockWaits {
    /// Sets writes aside, behind those of the same key that are aside already.
    pub fn add(&mut self, jobs: impl IntoIterator<Item = Job>) {
        // The transaction that is being added, and its first write's key.
        let mut of_all: Option<(JobId, Arc<[u8]>)> = None;
        for mut job in jobs {
            let own = job.change.target.clone();
            let key = match (&job.transaction, &of_all) {
                (None, _) => own,
                (Some(transaction), Some((id, key))) if *id == transaction.id => key.clone(),
                (Some(transaction), _) => of_all.insert((transaction.id, own)).1.clone(),
            };
            let line = self.lines.entry(key).or_insert_with(|| {
                let pause = FIRST_PAUSE * (1 << job.tries.min(MOST_DOUBLINGS));
                Line { jobs: Vec::new(), retry: Instant::now() + pause }
            });
            job.tries += 1;
            line.jobs.push(job);
        }
    }

    /// When the next try is due.
    pub fn next_retry(&self) -> Option<Instant> {
        self.lines.values().map(|line| line.retry).min()
    }

    /// Takes out the lines whose next try is due.
    pub fn due(&mut self, now: Instant, batch: &mut Vec<Job>) {
        if !self.lines.is_empty() {
            let due = self.lines.extract_if(|_, line| line.retry <= now);
            batch.extend(due.flat_map(|(_, line)| line.jobs));
        }
    }
}
