//! What a write waits for, as its client's time goes by.

use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// What a write waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A worker, or a write of its row that is ahead of it.
    Queued,
    /// The database's answer to its statement.
    Sent,
    /// Its row, which another session has locked. It is tried again and again.
    Locked,
    /// A connection: its own was lost, or none could be had.
    Unconnected,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Stage; 4] = [Stage::Queued, Stage::Sent, Stage::Locked, Stage::Unconnected];
}

/// The stage of the writes of one row that are on their way. A worker tells, the main thread looks.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Reached>);

#[derive(Debug, Default)]
struct Reached {
    stage: AtomicU8,
    /// When they were sent first, in microseconds since [`START`]; 0: not yet.
    sent: AtomicU64,
}

/// A moment before any write.
static START: LazyLock<Instant> = LazyLock::new(|| Instant::now() - Duration::from_micros(1));

impl Progress {
    /// Where they are now.
    pub fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.0.stage.load(Ordering::Relaxed))]
    }

    /// When a statement with them was sent first.
    pub fn first_sent(&self) -> Option<Instant> {
        match self.0.sent.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(*START + Duration::from_micros(micros)),
        }
    }

    /// They are there now.
    pub fn set(&self, stage: Stage) {
        self.0.stage.store(stage as u8, Ordering::Relaxed);
        if stage == Stage::Queued {
            self.0.sent.store(0, Ordering::Relaxed);
        }
    }

    /// A statement is sent. One for a row that was locked is answered soon: it still is, or it is
    /// written.
    pub fn sent(&self, now: Instant) {
        if self.0.sent.load(Ordering::Relaxed) == 0 {
            let since = now.saturating_duration_since(*START).max(Duration::from_micros(1));
            let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
            self.0.sent.store(micros, Ordering::Relaxed);
        }
        if self.stage() != Stage::Locked {
            self.set(Stage::Sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_row_stays_locked_while_it_is_tried() {
        let progress = Progress::default();
        assert_eq!(progress.stage(), Stage::Queued);
        for stage in Stage::ALL {
            progress.set(stage);
            assert_eq!(progress.clone().stage(), stage);
            progress.sent(Instant::now());
            let locked = stage == Stage::Locked;
            assert_eq!(progress.stage(), if locked { Stage::Locked } else { Stage::Sent });
        }
    }

    #[test]
    fn the_first_of_several_tries_counts_until_others_of_the_row_begin_anew() {
        let progress = Progress::default();
        assert_eq!(progress.first_sent(), None);
        let before = Instant::now() - Duration::from_micros(1);
        progress.sent(Instant::now());
        let first = progress.first_sent().expect("it was sent");
        assert!(before <= first && first <= Instant::now());
        progress.set(Stage::Locked);
        progress.sent(Instant::now());
        assert_eq!(progress.first_sent(), Some(first));
        progress.set(Stage::Queued);
        assert_eq!(progress.first_sent(), None);
    }
}
