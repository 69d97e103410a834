//! What a committed or refused write does to the data set, and its client's reply.
//!
//! A worker's push → a one-shot → a timer, whose own context merges the batch: a write straight
//! from a one-shot aborts Redis 7.0 with AOF on, and runs inside a busy script's transaction.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::merge::StagedHash;
use super::pending::{pending, Pending, Removed};
use super::replies::Before;
use super::waiter::{Completed, Loaded, Waiter};
use super::{
    behind, cache_only, compare, external, importing_slots, kept_change, merge, replies,
    slow_writes,
};
use crate::engine::{JobId, RowState, Settled};
use crate::host::ffi::{self, Closed, Ctx, Str, Value, Writable, ASK_AGAIN};
use crate::host::module::error_log::Late;
use crate::host::module::{latency, module, negative, MainThread, Module};
use crate::model::failure::Failure;
use crate::model::key;

/// Rows merged in one turn of the event loop, at most, and for how long: their clients send their next
/// writes, and others are served, while the rest is merged.
const MERGED_AT_ONCE: usize = 128;
const MERGING: Duration = Duration::from_micros(500);

/// What the workers have done and the data set does not show yet, in order.
static SETTLED: MainThread<VecDeque<Settled>> = MainThread::new();

/// The one-shot: asks for the timer.
pub fn schedule() {
    ffi::timer(Duration::ZERO, run);
}

/// The timer: merges what is settled.
fn run(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let gate = ctx.writable();
    if gate.as_ref().is_err_and(|closed| *closed == Closed::Paused) {
        // Reads go on during a pause.
        let arrived = module.inbox.take();
        take_loads(arrived, |_| true).into_iter().for_each(|s| apply(ctx, None, module, s));
        return ffi::timer(ASK_AGAIN, run);
    }
    let writable = gate.ok();
    let arrived = module.inbox.take();
    SETTLED.get().extend(arrived);
    if !ctx.select(module.config.db) {
        return;
    }
    let began = Instant::now();
    module.apply(|| {
        let mut merged = 0;
        // All of a transaction is shown at once.
        let mut is_followed = false;
        let is_over = |merged: usize| {
            merged >= MERGED_AT_ONCE || (merged % 8 == 7 && began.elapsed() > MERGING)
        };
        while is_followed || !is_over(merged) {
            let Some(settled) = SETTLED.get().pop_front() else { break };
            is_followed = settled.is_followed;
            apply(ctx, writable.as_ref(), module, settled);
            merged += 1;
        }
    });
    if !SETTLED.get().is_empty() {
        // A timer made in a timer waits for a millisecond; a one-shot doesn't.
        ffi::wake(schedule);
    }
    latency::tell(ctx, module, began.elapsed());
}

/// Takes what has arrived, and what is there already, of these keys, in order; the rest waits for the
/// timer.
pub fn take_of(arrived: VecDeque<Settled>, targets: &[&[u8]]) -> Vec<Settled> {
    take(arrived, |settled| targets.contains(&&settled.target[..]))
}

/// The same for loads only, which need nothing to be written.
pub fn take_loads(arrived: VecDeque<Settled>, is_of: impl Fn(&[u8]) -> bool) -> Vec<Settled> {
    let pending = pending();
    let loads = |id: &JobId| pending.jobs.get(id).is_some_and(|pending| pending.loads);
    take(arrived, |settled| {
        is_of(&settled.target) && settled.answers.iter().all(|(id, _)| loads(id))
    })
}

fn take(arrived: VecDeque<Settled>, is_wanted: impl Fn(&Settled) -> bool) -> Vec<Settled> {
    let mut settled = SETTLED.get();
    settled.extend(arrived);
    let (mut taken, mut rest) = (Vec::new(), VecDeque::new());
    let mut transaction = Vec::new();
    for next in settled.drain(..) {
        let is_followed = next.is_followed;
        transaction.push(next);
        if is_followed {
            continue;
        }
        // A transaction is taken as a whole.
        match transaction.iter().any(&is_wanted) {
            true => taken.append(&mut transaction),
            false => rest.extend(transaction.drain(..)),
        }
    }
    *settled = rest;
    taken
}

/// True when a write of these keys is done and not merged yet.
pub fn has_any(targets: &[&[u8]]) -> bool {
    SETTLED.get().iter().any(|settled| targets.contains(&&settled.target[..]))
}

/// Merges one outcome and answers its clients. A server that follows another one holds what that one
/// holds: nothing is `writable` there, nothing is merged, and the clients are answered all the same.
pub fn apply(ctx: &Ctx, writable: Option<&Writable>, module: &Module, mut settled: Settled) {
    let (again, removed, epoch) = {
        let mut pending = pending();
        let again = kept_change::make_row(module, &mut pending, &mut settled);
        let mut removed = pending.remove(&settled);
        let prefix = module.config.prefix.as_bytes();
        removed.is_last &= !external::is_changed(prefix, &settled.target);
        (again, removed, pending.epoch)
    };
    let Removed { mut pendings, next, is_last, is_evicted, stage, sent } = removed;
    if !again.is_empty() || !next.is_empty() {
        behind::send(module, again.into_iter().chain(next));
    }
    let now = module.shared.terms.now();
    let is_of_now = pendings.iter().flatten().all(|pending| pending.term == now);
    if let [Some(pending)] = &mut pendings[..] {
        if pending.loads {
            // Nobody waits any more: the key stays missing.
            let Some(waiter) = pending.waiter.take() else { return };
            let is_outdated = is_evicted
                || behind::is_waiting(&settled.target)
                || pending.epoch != epoch
                || module.catalog.is_reshaped(&settled.mapping);
            let writable = writable.filter(|_| is_of_now);
            return load(ctx, writable, module, (waiter, is_outdated), settled);
        }
    }
    // A read before it in line may have found no row.
    negative::end(&settled.target);
    let target = Str::new(&settled.target);
    let before = replies::before(ctx, &target, &settled, &pendings);
    match writable {
        None => {}
        Some(ctx) if importing_slots::is_moving(ctx, module, &settled.target) => {
            // A missing key is never wrong; the next write, or WT.REFRESH, makes it where it lives.
            ctx.remove(&target);
            importing_slots::add(settled.target.clone());
            if is_last {
                ctx.remove(&staged_key(module, &settled));
            }
        }
        Some(ctx) if !is_of_now => {
            // Another master may have written the row, and this data set is its own.
            module.stale_keys.add(&settled.target);
            if is_last {
                ctx.remove(&staged_key(module, &settled));
            }
        }
        // The hash is newer than what was read.
        Some(_) if behind::is_newer(&settled, is_evicted) => {
            behind::overtaken(module, &settled.target, compare::is_all(&pendings));
        }
        Some(ctx) => {
            // After a flush a key stays gone.
            let is_visible = pendings.iter().flatten().any(|p| p.epoch == epoch);
            change(ctx, module, &target, &settled, (is_visible, is_last), &pendings, &before);
            // Somebody has changed the row, perhaps, before he evicted the key, and after it was written
            // here: the next read loads it.
            if is_evicted && settled.mapping.read_through && !kept_change::is_among(&pendings) {
                ctx.remove(&target);
            }
        }
    }
    // What a write has made of a key may be of an earlier shape: it was sent before the change of the
    // table was known.
    let is_present = matches!(settled.state, RowState::Present(_));
    if is_present && module.catalog.is_reshaped(&settled.mapping) {
        module.stale_keys.add(&settled.target);
    }
    let of_now = writable.filter(|_| is_of_now);
    let has_kept_change = kept_change::is_among(&pendings);
    let now = Instant::now();
    let answers = settled.answers.into_iter().zip(before.replies);
    for (((write, answer), value), pending) in answers.zip(pendings) {
        let Some(mut pending) = pending else { continue };
        let answer = match pending.only_looks {
            true => answer.map_err(Failure::of_read),
            false => answer,
        };
        let is_visible = pending.epoch == epoch;
        let value = match (&answer, &pending.cache, of_now) {
            (Err(failure), ..) => Value::from(failure),
            (Ok(_), Some(cache), Some(ctx)) if is_visible => {
                cache_only::run(ctx, &settled.target, cache, &pending.reply)
            }
            (Ok(_), Some(cache), Some(_)) => cache_only::flushed(cache, &pending.reply),
            (Ok(_), None, Some(ctx)) if has_kept_change && is_visible => {
                kept_change::run(ctx, &target, &pending, value)
            }
            (Ok(_), ..) => value,
        };
        // A field that is kept in Redis only may be one that the server can't count.
        let is_error = answer.is_ok() && matches!(value, Value::Error(_));
        if let (Some(acknowledgement), Some(ctx)) = (&pending.acknowledgement, writable) {
            acknowledgement.send(ctx, module, &value);
        }
        let Some(waiter) = pending.waiter.take() else { continue };
        let (limit, is_write, failure) = (waiter.limit(), waiter.is_write(), answer.as_ref().err());
        let completed = Completed { write, key: &settled.target, value, failure, loaded: None };
        waiter.completed(of_now, completed);
        let Some(limit) = limit.filter(|_| is_write) else { continue };
        if pending.claim.is_abandoned() {
            module.shared.stats.abandoned.add(1);
            continue;
        }
        if is_error {
            continue;
        }
        let waited = now.saturating_duration_since(pending.since);
        if answer.is_ok() {
            module.shared.stats.write.record(now, waited);
        }
        slow_writes::note(module, &settled.target, &pending, waited, sent.map(|sent| now - sent));
        let late = failure.map(|_| Late { mapping: pending.mapping, stage, limit });
        module.count(failure, late);
    }
}

/// A row that was read to be loaded: whoever waits for it does the rest.
fn load(
    ctx: &Ctx,
    writable: Option<&Writable>,
    module: &Module,
    (waiter, is_outdated): (Box<dyn Waiter>, bool),
    mut settled: Settled,
) {
    let Some((write, answer)) = settled.answers.pop() else { return };
    // A key whose slot is moving is made where it lives.
    let writable = writable.filter(|_| !importing_slots::is_moving(ctx, module, &settled.target));
    let failure = answer.map_err(Failure::of_read).err();
    let value = failure.as_ref().map_or(Value::OK, Value::from);
    let loaded = Loaded { state: &settled.state, mapping: &settled.mapping, is_outdated };
    let (key, failure, loaded) = (&settled.target, failure.as_ref(), Some(loaded));
    waiter.completed(writable, Completed { write, key, value, failure, loaded });
}

/// Makes the final key what the outcome says. When no other write of the key is on its way, the
/// staged key goes.
fn change(
    ctx: &Writable,
    module: &Module,
    target: &Str,
    settled: &Settled,
    (is_visible, is_last): (bool, bool),
    pendings: &[Option<Pending>],
    before: &Before,
) {
    // A write of a plain key has left none.
    let staged = staged_key(module, settled);
    let left = if is_last { StagedHash::of(ctx, &staged) } else { None };
    if let (Some(left), true) = (&left, is_visible) {
        if merge::rename(ctx, (&staged, left), target, settled, pendings, before) {
            return;
        }
    }
    match &settled.state {
        _ if compare::is_all(pendings) => {
            compare::run(ctx, module, target, settled, pendings, before);
        }
        RowState::Present(image) if is_visible => {
            let target = (target, &*settled.target);
            // What is kept in Redis only follows write by write.
            let kept = if kept_change::is_among(pendings) { &[] } else { pendings };
            merge::row(ctx, module, target, &settled.mapping, image, kept, before);
        }
        RowState::Deleted | RowState::Absent | RowState::Unknown => {
            let called = ctx.call(c"UNLINK", &[target]);
            module.stale_keys.check(&settled.target, &called);
        }
        RowState::Present(_) | RowState::Unchanged => {}
    }
    if left.is_some() {
        ctx.call(c"UNLINK", &[&staged]);
    }
}

fn staged_key(module: &Module, settled: &Settled) -> Str {
    Str::new(&key::staged(module.config.prefix.as_bytes(), &settled.target))
}
