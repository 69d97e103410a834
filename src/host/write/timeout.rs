//! The end of somebody's patience: a client whose time is up, and one that has gone.

use std::time::{Duration, Instant};

use super::several;
use crate::config::limits::Limit;
use crate::engine::{JobId, Limited, Stage};
use crate::host::ffi::Value;
use crate::host::ffi::{self, Ctx};
use crate::host::module::error_log::Late;
use crate::host::module::state::{module, Module, State, Waiter};
use crate::host::operator::refresh_many::{self, Refresh};
use crate::model::failure::Failure;

/// How long somebody waits for a write. Nobody's patience ends.
pub fn time_limit(module: &Module, waiter: &Waiter) -> Limited {
    let limits = &module.shared.limits;
    Limited(match waiter {
        Waiter::Server => Some((Limit::SyncTimeout.key(), limits.sync_timeout())),
        Waiter::Client(_) | Waiter::Part(_) => Some((Limit::Timeout.key(), limits.timeout())),
        Waiter::Refresh(_) | Waiter::Verify | Waiter::Sync | Waiter::Nobody => None,
    })
}

/// A deadline that is not met.
pub const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Sets the timer for the first deadline, in place of one that is set.
pub fn watch_deadlines(state: &mut State, now: Instant) {
    if let Some(timer) = state.deadline_timer.take() {
        timer.stop();
    }
    if let Some((next, _)) = state.deadlines.first() {
        // A millisecond more: timers count whole ones.
        let left = next.saturating_duration_since(now) + Duration::from_millis(1);
        state.deadline_timer = Some(ffi::stoppable_timer(left, end_of_time));
    }
}

/// What is told of a write that is on its way when its client's time is up, if that is known so much
/// later: a statement waits no longer for a locked row.
pub const GRACE: Duration = Duration::from_millis(100);

/// Has a write whose client's time is up never sent. `None`: it is on its way, or may be written.
pub fn give_up(state: &mut State, id: JobId, limit: &Limited) -> Option<Failure> {
    let pending = state.jobs.get(&id)?;
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

/// A client has gone. What was not sent for it never is.
pub fn abandon(ids: &[JobId]) {
    let Some(module) = module() else { return };
    let (mut gone, mut refreshes) = (Vec::new(), Vec::new());
    {
        let mut state = module.state();
        for id in ids {
            let Some(pending) = state.jobs.get_mut(id) else {
                refreshes.extend(refresh_many::take(&mut state, *id));
                continue;
            };
            if pending.claim.leave() {
                gone.push(std::mem::replace(&mut pending.waiter, Waiter::Nobody));
            }
        }
    }
    refreshes.into_iter().for_each(Refresh::drop_answer);
    module.shared.stats.abandoned.add(gone.len());
    for waiter in gone {
        // The server drops the answers.
        let value = Value::error("ERR writethrough: the client has gone");
        match waiter {
            Waiter::Client(client) => client.answer(value),
            Waiter::Part(gather) => several::add(None, module, &gather, value),
            Waiter::Refresh(_) => {}
            Waiter::Server | Waiter::Verify | Waiter::Sync | Waiter::Nobody => {}
        }
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

/// The answer of a write that its client has waited for in vain.
pub fn refuse_late(module: &Module, failure: &Failure, late: Option<Late>) -> Value {
    module.count(Some(failure), late);
    Value::from(failure)
}

/// A timer: answers the clients whose time is up. What was not sent for them never is; all else
/// goes on.
fn end_of_time(_: &Ctx) {
    let Some(module) = module() else { return };
    let mut late = Vec::new();
    let limit = Limited(Some((Limit::Timeout.key(), module.shared.limits.timeout())));
    {
        let mut state = module.state();
        let now = Instant::now();
        while let Some((deadline, id)) = state.deadlines.first() {
            if deadline > now && state.jobs.contains_key(&id) {
                break;
            }
            state.deadlines.remove_first();
            let failure = give_up(&mut state, id, &limit);
            let Some(pending) = state.jobs.get_mut(&id) else { continue };
            if failure.is_none() && !std::mem::replace(&mut pending.is_overdue, true) {
                state.deadlines.add(now + GRACE, id);
                continue;
            }
            let failure = failure.unwrap_or_else(|| too_late(pending.only_looks, &limit));
            let of = Late::of(pending);
            late.push((std::mem::replace(&mut pending.waiter, Waiter::Nobody), failure, of));
        }
        state.deadline_timer = None;
        watch_deadlines(&mut state, now);
    }
    for (waiter, failure, of) in late {
        let answer = || refuse_late(module, &failure, Some(of));
        match waiter {
            Waiter::Client(client) => client.answer(answer()),
            Waiter::Part(gather) => several::add(None, module, &gather, answer()),
            Waiter::Refresh(_) => {}
            Waiter::Server | Waiter::Verify | Waiter::Sync | Waiter::Nobody => {}
        }
    }
}
