//! Time limits of those who wait: a client whose time is up, and one that has gone.

use std::time::{Duration, Instant};

use super::pending::{pending, PendingWrites};
use super::server_errors::CLIENT_GONE;
use super::waiter::Completed;
use crate::config::limits::{Limit, Limits};
use crate::engine::{JobId, Limited, Stage};
use crate::host::ffi::{self, Ctx, Timer, Value};
use crate::host::module::error_log::Late;
use crate::host::module::{module, MainThread, Module};
use crate::model::failure::Failure;

/// What is told of a write that is on its way when its client's time is up, if that is known so much
/// later: a statement waits no longer for a locked row.
pub const GRACE: Duration = Duration::from_millis(100);

/// A deadline that is not met.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The timer for the first deadline.
static TIMER: MainThread<Option<Timer>> = MainThread::new();

/// How long somebody waits for a write, as a client reads it.
pub fn time_limit(limits: &Limits, limit: Option<Limit>) -> Limited {
    Limited(limit.map(|limit| (limit.key(), limits.time(limit))))
}

/// The end of that time.
pub fn deadline(since: Instant, limit: &Limited) -> Instant {
    since + limit.0.map_or(FOR_EVER, |(_, time)| time)
}

/// Sets the timer for the first deadline, in place of one that is set.
pub fn watch_deadlines(pending: &PendingWrites, now: Instant) {
    let mut timer = TIMER.get();
    if let Some(timer) = timer.take() {
        timer.stop();
    }
    if let Some((next, _)) = pending.deadlines.first() {
        // A millisecond more: timers count whole ones.
        let left = next.saturating_duration_since(now) + Duration::from_millis(1);
        *timer = Some(ffi::stoppable_timer(left, end_of_time));
    }
}

/// Has a write whose client's time is up never sent. `None`: it is on its way, or may be written.
pub fn give_up(pending: &PendingWrites, id: JobId, limit: &Limited) -> Option<Failure> {
    let pending = pending.jobs.get(&id)?;
    let is_locked = pending.progress.stage() == Stage::Locked;
    pending.claim.give_up().then(|| unsent(pending.only_looks, is_locked, limit))
}

/// What the client reads whose time is up before anything was sent.
pub fn unsent(only_looks: bool, is_locked: bool, limit: &Limited) -> Failure {
    match only_looks && !is_locked {
        true => too_late(true, limit),
        false => Failure::unsent(is_locked, limit),
    }
}

/// What a client reads whose write is on its way, or may have been written.
pub fn too_late(only_looks: bool, limit: &Limited) -> Failure {
    Failure::TimedOut(match only_looks {
        true => return Failure::unread(limit),
        false => format!(
            "no answer from the database {limit}; the write may still be committed, and if it is, \
             the cache follows"
        ),
    })
}

/// The reply to a write whose client's time is up.
pub fn refuse_late(module: &Module, failure: &Failure, late: Option<Late>) -> Value {
    module.count(Some(failure), late);
    Value::from(failure)
}

/// A client has gone. What was not sent for it never is.
pub fn abandon(ids: &[JobId]) {
    let Some(module) = module() else { return };
    let mut gone = Vec::new();
    {
        let mut pending = pending();
        for id in ids {
            let Some(pending) = pending.jobs.get_mut(id) else { continue };
            if pending.claim.leave() {
                gone.push((*id, pending.waiter.take()));
            }
        }
    }
    module.shared.stats.abandoned.add(gone.len());
    for (write, waiter) in gone {
        let Some(waiter) = waiter else { continue };
        // The server drops the replies.
        let value = Value::error(CLIENT_GONE);
        waiter.completed(None, Completed { write, key: &[], value, failure: None, loaded: None });
    }
}

/// A timer: answers the clients whose time is up. What was not sent for them never is; all else
/// goes on.
fn end_of_time(_: &Ctx) {
    let Some(module) = module() else { return };
    let mut late = Vec::new();
    let limit = time_limit(&module.shared.limits, Some(Limit::Timeout));
    {
        let mut pending = pending();
        let now = Instant::now();
        while let Some((deadline, id)) = pending.deadlines.first() {
            if deadline > now && pending.jobs.contains_key(&id) {
                break;
            }
            pending.deadlines.remove_first();
            let failure = give_up(&pending, id, &limit);
            let Some(job) = pending.jobs.get_mut(&id) else { continue };
            if failure.is_none() && !std::mem::replace(&mut job.is_overdue, true) {
                pending.deadlines.add(now + GRACE, id);
                continue;
            }
            let failure = failure.unwrap_or_else(|| too_late(job.only_looks, &limit));
            let of = job.late();
            late.push((id, job.waiter.take(), failure, of));
        }
        *TIMER.get() = None;
        watch_deadlines(&pending, now);
    }
    for (write, waiter, failure, of) in late {
        let Some(waiter) = waiter else { continue };
        let value = match waiter.is_write() {
            true => refuse_late(module, &failure, Some(of)),
            false => Value::from(&failure),
        };
        let failure = Some(&failure);
        waiter.completed(None, Completed { write, key: &[], value, failure, loaded: None });
    }
}
