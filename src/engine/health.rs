//! Whether the database can be reached, as one fact that all threads share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::limits::Limits;
use crate::model::failure;

/// Whether the database can be reached.
pub struct Health {
    limits: Arc<Limits>,
    up: AtomicBool,
    outage: Mutex<Outage>,
    changed: Condvar,
}

struct Outage {
    /// When it began; long ago when the database was never reached.
    since: Option<Instant>,
    reason: String,
    /// Where it answers, there is no grace: nothing is won by waiting.
    kind: failure::Outage,
    closed: bool,
    /// The probe is asked to look at once.
    nudged: bool,
}

impl Health {
    /// Away until somebody has reached the database.
    pub fn new(limits: Arc<Limits>) -> Health {
        let reason = "the database has not been reached yet".to_string();
        Health {
            limits,
            up: AtomicBool::new(false),
            outage: Mutex::new(Outage {
                since: None,
                reason,
                kind: failure::Outage::Away,
                closed: false,
                nudged: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while the database is known to be reachable.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Why writes are refused at once: the database has been away for longer than the grace, or
    /// takes no writes.
    pub fn refusal(&self) -> Option<String> {
        if self.is_up() {
            return None;
        }
        let outage = self.outage();
        let long = outage.since.is_none_or(|since| since.elapsed() >= self.limits.grace());
        (long || outage.kind != failure::Outage::Away).then(|| outage.reason.clone())
    }

    /// How long the database has been away, and why. `None`: it is up; the time is `None` when it
    /// was never reached.
    pub fn away(&self) -> Option<(Option<Duration>, String)> {
        if self.is_up() {
            return None;
        }
        let outage = self.outage();
        Some((outage.since.map(|since| since.elapsed()), outage.reason.clone()))
    }

    /// What keeps writes from the database, while it is not up.
    pub fn kind(&self) -> failure::Outage {
        self.outage().kind
    }

    /// The database was reached.
    pub fn report_up(&self) {
        let _outage = self.outage();
        self.up.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    /// The database could not be reached. True when that is news.
    pub fn report_down(&self, reason: &str) -> bool {
        let mut outage = self.outage();
        let was_up = self.up.swap(false, Ordering::AcqRel);
        if was_up {
            outage.since = Some(Instant::now());
        }
        outage.reason = reason.to_string();
        outage.kind = failure::Outage::of(reason);
        self.changed.notify_all();
        was_up
    }

    /// Nobody needs to wait any more.
    pub fn close(&self) {
        self.outage().closed = true;
        self.changed.notify_all();
    }

    /// True after [`Health::close`].
    pub fn is_closed(&self) -> bool {
        self.outage().closed
    }

    /// Ends the probe's pause.
    pub fn nudge(&self) {
        self.outage().nudged = true;
        self.changed.notify_all();
    }

    /// What a probe does between two attempts: waits `away` while the database is away, and `up`
    /// at most while it is up. False when closed.
    pub fn wait_to_probe(&self, away: Duration, up: Duration) -> bool {
        let outage = self.outage();
        let was_up = self.is_up();
        let most = if was_up { up } else { away };
        let wait = |o: &mut Outage| !o.closed && !o.nudged && self.is_up() == was_up;
        let woken = self.changed.wait_timeout_while(outage, most, wait);
        let mut outage = woken.unwrap_or_else(PoisonError::into_inner).0;
        outage.nudged = false;
        !outage.closed
    }

    /// Waits until the database is up, or its grace is over, or there is none. True when it is up.
    pub fn wait_for_return(&self) -> bool {
        let mut outage = self.outage();
        while !outage.closed && !self.is_up() && outage.kind == failure::Outage::Away {
            let over = outage.since.map(|since| since + self.limits.grace());
            let left = over.map(|over| over.saturating_duration_since(Instant::now()));
            match left.filter(|left| !left.is_zero()) {
                None => return false,
                Some(left) => {
                    let woken = self.changed.wait_timeout(outage, left);
                    outage = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        self.is_up()
    }
}
