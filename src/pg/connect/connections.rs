//! The pool, which gives way to another one when its size changes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use r2d2::{Pool, PooledConnection};

use super::pool::Manager;
use super::session::Session;
use crate::config::limits::{Limit, Limits};

/// Connections for whoever has a statement to run.
#[derive(Clone)]
pub struct Connections {
    manager: Manager,
    limits: Arc<Limits>,
    pool: Arc<Mutex<Pool<Manager>>>,
    /// How many pools there were before this one.
    earlier: Arc<AtomicU64>,
}

impl Connections {
    /// A pool of [`Limit::PoolSize`] connections, which are made when they are needed.
    pub fn new(manager: Manager, limits: Arc<Limits>) -> Connections {
        let pool = Arc::new(Mutex::new(manager.clone().pool(&limits)));
        Connections { manager, limits, pool, earlier: Arc::default() }
    }

    fn pool(&self) -> Pool<Manager> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A connection; waits for one that long.
    pub fn get(&self, timeout: Duration) -> Result<PooledConnection<Manager>, r2d2::Error> {
        self.pool().get_timeout(timeout)
    }

    /// True when the session may be used: it was made in the term of now.
    pub fn is_of_now(&self, session: &Session) -> bool {
        self.manager.is_of_now(session)
    }

    /// How long a new one may take.
    pub fn limit(&self) -> Duration {
        self.manager.limit()
    }

    /// How many there are, and how many of them nobody uses.
    pub fn count(&self) -> (u32, u32) {
        let state = self.pool().state();
        (state.connections, state.idle_connections)
    }

    /// Every connection there may be is there, and in use: who waits for one waits for its user.
    pub fn are_all_used(&self) -> bool {
        let (made, idle) = self.count();
        idle == 0 && u64::from(made) >= self.limits.get(Limit::PoolSize)
    }

    /// Which pool it is: what an earlier one has said isn't about this one.
    pub fn number(&self) -> u64 {
        self.earlier.load(Ordering::Acquire)
    }

    /// A session was not ours alone: the next one is looked at again.
    pub fn distrust(&self) {
        self.manager.distrust();
        self.renew();
    }

    /// Begins with a new pool: its size has changed, or no connection of the old one is of use. One
    /// that is in use is closed when it comes back.
    pub fn renew(&self) {
        let pool = self.manager.clone().pool(&self.limits);
        let old =
            std::mem::replace(&mut *self.pool.lock().unwrap_or_else(PoisonError::into_inner), pool);
        self.earlier.fetch_add(1, Ordering::Release);
        // To say goodbye to a database takes a moment that the main thread doesn't have.
        let _ = std::thread::Builder::new().name("wt-retire".into()).spawn(|| drop(old));
    }
}
