//! The options that are numbers and can change while the module runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Connections, and worker threads.
    PoolSize,
    /// Writes in one batch, and so rows in one statement, at most.
    BatchMax,
    /// Writes waiting for a worker at most; past it a write gets `WTBUSY`.
    QueueMax,
    /// How long a client waits, in milliseconds.
    Timeout,
    /// How long the server waits where a client can't be blocked, in milliseconds.
    SyncTimeout,
    /// One attempt to connect, in milliseconds.
    ConnectTimeout,
    /// Ids that are known to have no row, at most.
    NegativeMax,
    /// Commands of one `WT.TRANSACTION`, at most.
    TransactionMax,
    /// How long a token of `WT.ONCE` is kept, in seconds.
    OnceTtl,
    /// How often the journal is read, where other programs are followed, in milliseconds.
    FollowInterval,
    /// A write that takes longer is logged, in milliseconds; 0: none is.
    SlowWrite,
    /// Entries of a mapping that wait to be written behind, at most; past it a write gets `WTBUSY`.
    BehindMax,
    /// How long a batch that is written behind may wait for more, in milliseconds.
    BehindDelay,
}

impl Limit {
    /// All of them.
    pub const ALL: [Limit; 13] = [
        Limit::PoolSize,
        Limit::BatchMax,
        Limit::QueueMax,
        Limit::Timeout,
        Limit::SyncTimeout,
        Limit::ConnectTimeout,
        Limit::NegativeMax,
        Limit::TransactionMax,
        Limit::OnceTtl,
        Limit::FollowInterval,
        Limit::SlowWrite,
        Limit::BehindMax,
        Limit::BehindDelay,
    ];

    /// Its name in the document.
    pub const fn key(self) -> &'static str {
        match self {
            Limit::PoolSize => "pool_size",
            Limit::BatchMax => "batch_max",
            Limit::QueueMax => "queue_max",
            Limit::Timeout => "timeout_ms",
            Limit::SyncTimeout => "sync_timeout_ms",
            Limit::ConnectTimeout => "connect_timeout_ms",
            Limit::NegativeMax => "negative_max",
            Limit::TransactionMax => "transaction_max",
            Limit::OnceTtl => "once_ttl",
            Limit::FollowInterval => "follow_interval_ms",
            Limit::SlowWrite => "slow_write_ms",
            Limit::BehindMax => "behind_max",
            Limit::BehindDelay => "behind_delay_ms",
        }
    }

    /// Its name as an option of the server, `pool-size`.
    pub fn option(self) -> String {
        self.key().replace('_', "-")
    }

    /// The least and the greatest value.
    pub const fn range(self) -> (u64, u64) {
        match self {
            Limit::PoolSize => (1, 1000),
            Limit::BatchMax => (1, 10_000),
            Limit::QueueMax | Limit::BehindMax => (1, 100_000_000),
            Limit::BehindDelay => (0, 60_000),
            Limit::NegativeMax => (0, 100_000_000),
            Limit::TransactionMax => (1, 10_000),
            Limit::OnceTtl => (1, 31_536_000),
            Limit::FollowInterval => (10, 60_000),
            Limit::SlowWrite => (0, 3_600_000),
            Limit::Timeout | Limit::SyncTimeout | Limit::ConnectTimeout => (1, 3_600_000),
        }
    }
}

/// Their values now. Any thread reads them; what is begun goes on with what it has read.
#[derive(Debug)]
pub struct Limits([AtomicU64; Limit::ALL.len()]);

impl Limits {
    /// What `say` says of each.
    pub fn new(say: impl Fn(Limit) -> u64) -> Limits {
        Limits(Limit::ALL.map(|limit| AtomicU64::new(say(limit))))
    }

    /// The value of `limit`.
    pub fn get(&self, limit: Limit) -> u64 {
        self.0[limit as usize].load(Relaxed)
    }

    /// Changes a value, which is in its range.
    pub fn set(&self, limit: Limit, value: u64) {
        self.0[limit as usize].store(value, Relaxed);
    }

    /// The value of a limit that is a time.
    pub fn time(&self, limit: Limit) -> Duration {
        Duration::from_millis(self.get(limit))
    }

    /// How long a client waits.
    pub fn timeout(&self) -> Duration {
        self.time(Limit::Timeout)
    }

    /// How long the server waits where a client can't be blocked.
    pub fn sync_timeout(&self) -> Duration {
        self.time(Limit::SyncTimeout)
    }

    /// One attempt to connect.
    pub fn connect_timeout(&self) -> Duration {
        self.time(Limit::ConnectTimeout)
    }

    /// How long an outage may last before writes are refused at once: less than any client waits.
    pub fn grace(&self) -> Duration {
        self.connect_timeout().min(self.timeout().min(self.sync_timeout()) / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_place_of_its_own() {
        let limits = Limits::new(|limit| limit.range().0);
        for (value, limit) in (10..).zip(Limit::ALL) {
            limits.set(limit, value);
        }
        assert!((10..).zip(Limit::ALL).all(|(value, limit)| limits.get(limit) == value));
    }

    #[test]
    fn an_outage_is_told_before_a_client_gives_up() {
        let limits = Limits::new(|limit| match limit {
            Limit::Timeout => 3000,
            _ => 1000,
        });
        assert_eq!(limits.timeout(), Duration::from_secs(3));
        assert_eq!(limits.grace(), Duration::from_millis(500));
    }
}
