//! When clients' time is up, in order.

use std::collections::VecDeque;
use std::time::Instant;

use crate::engine::JobId;

/// Deadlines of answered writes that may be kept besides those of the writes on their way.
const KEPT: usize = 1024;

/// The deadlines of writes on their way, and of some that are answered already: a deadline is taken
/// out when its time has come, or with many others.
#[derive(Default)]
pub struct Deadlines {
    queue: VecDeque<(Instant, JobId)>,
}

impl Deadlines {
    /// Adds a write's deadline. They come in order, but for those after `timeout-ms` was lowered.
    /// True when it is the first now.
    pub fn add(&mut self, deadline: Instant, id: JobId) -> bool {
        let at = match self.queue.back() {
            Some((last, _)) if *last > deadline => {
                self.queue.partition_point(|(earlier, _)| *earlier <= deadline)
            }
            _ => self.queue.len(),
        };
        self.queue.insert(at, (deadline, id));
        at == 0
    }

    /// The first one.
    pub fn first(&self) -> Option<(Instant, JobId)> {
        self.queue.front().copied()
    }

    /// Takes out the first one.
    pub fn remove_first(&mut self) {
        self.queue.pop_front();
    }

    /// Takes out those of answered writes where they are more than the writes `on_their_way`. What
    /// that costs is shared by as many answers.
    pub fn forget_answered(&mut self, on_their_way: usize, is_on_its_way: impl Fn(JobId) -> bool) {
        if self.queue.len() > 2 * on_their_way + KEPT {
            self.queue.retain(|(_, id)| is_on_its_way(*id));
            self.queue.shrink_to(2 * on_their_way + KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::time::Duration;

    #[test]
    fn they_are_in_order() {
        let now = Instant::now();
        let mut deadlines = Deadlines::default();
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(deadlines.add(later(5), 1));
        assert!(!deadlines.add(later(6), 2));
        assert!(deadlines.add(later(1), 3));
        assert!(!deadlines.add(later(5), 4));
        let mut order = Vec::new();
        while let Some((_, id)) = deadlines.first() {
            order.push(id);
            deadlines.remove_first();
        }
        assert_eq!(order, [3, 1, 4, 2]);
    }

    /// A million writes, 100 at a time, each of which could take an hour.
    #[test]
    fn answered_writes_are_forgotten_long_before_their_time() {
        let hour = Instant::now() + Duration::from_secs(3600);
        let (mut deadlines, mut jobs) = (Deadlines::default(), HashSet::new());
        for id in 0..1_000_000 {
            jobs.insert(id);
            deadlines.add(hour, id);
            if id >= 100 {
                jobs.remove(&(id - 100));
                deadlines.forget_answered(jobs.len(), |id| jobs.contains(&id));
            }
            assert!(deadlines.queue.len() <= 2 * jobs.len() + KEPT + 1);
            if id % 50_000 == 0 {
                let kept: HashSet<_> = deadlines.queue.iter().map(|(_, id)| *id).collect();
                assert!(jobs.is_subset(&kept), "a write on its way has its deadline");
            }
        }
        // A burst leaves nothing behind.
        for id in 0..100_000 {
            deadlines.add(hour, 2_000_000 + id);
        }
        deadlines.forget_answered(0, |_| false);
        assert!(deadlines.queue.is_empty() && deadlines.queue.capacity() <= 2 * KEPT);
    }
}
