//! What a write waits for, as its client's time goes by.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;

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
pub struct Progress(Arc<AtomicU8>);

impl Progress {
    /// Where they are now.
    pub fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.0.load(Ordering::Relaxed))]
    }

    /// They are there now.
    pub fn set(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    /// A statement is sent. One for a row that was locked is answered soon: it still is, or it is
    /// written.
    pub fn sent(&self) {
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
            progress.sent();
            let locked = stage == Stage::Locked;
            assert_eq!(progress.stage(), if locked { Stage::Locked } else { Stage::Sent });
        }
    }
}
