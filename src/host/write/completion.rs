//! What a committed or refused write does to the data set, and its client's answer.
//!
//! A worker's push → a one-shot → a timer, whose own context merges the batch: a write straight
//! from a one-shot aborts Redis 7.0 with AOF on, and runs inside a busy script's transaction.

use std::time::{Duration, Instant};

use super::cache_only;
use super::command;
use super::kept_change;
use super::merge::{self, Before};
use super::several;
use crate::engine::{RowState, Settled};
use crate::host::cache::in_sync;
use crate::host::cache::verify;
use crate::host::ffi::Value;
use crate::host::ffi::{self, Closed, Ctx, Str, Writable, ASK_AGAIN};
use crate::host::module::error_log::Late;
use crate::host::module::latency;
use crate::host::module::state::{module, Module, Pending, Removed, Waiter};
use crate::host::operator::refresh_many;
use crate::model::failure::Failure;
use crate::model::key;

/// Rows merged in one turn of the event loop, at most: their clients send their next writes, and
/// others are served, while the rest is merged.
const MERGED_AT_ONCE: usize = 128;

/// The one-shot: asks for the timer.
pub fn schedule() {
    ffi::timer(Duration::ZERO, run);
}

/// The timer: merges what is settled.
fn run(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let gate = ctx.writable();
    if gate.as_ref().is_err_and(|closed| *closed == Closed::Paused) {
        return ffi::timer(ASK_AGAIN, run);
    }
    let writable = gate.ok();
    let arrived = module.inbox.take();
    module.state().settled.extend(arrived);
    if !ctx.select(module.config.db) {
        return;
    }
    let began = Instant::now();
    module.apply(|| {
        for _ in 0..MERGED_AT_ONCE {
            let Some(settled) = module.state().settled.pop_front() else { break };
            apply(ctx, writable.as_ref(), module, settled);
        }
    });
    if !module.state().settled.is_empty() {
        // A timer made in a timer waits for a millisecond; a one-shot doesn't.
        ffi::wake(schedule);
    }
    latency::tell(ctx, module, began.elapsed());
}

/// Merges one outcome and answers its clients. A server that follows another one holds what that one
/// holds: nothing is `writable` there, nothing is merged, and the clients are answered all the same.
pub fn apply(ctx: &Ctx, writable: Option<&Writable>, module: &Module, mut settled: Settled) {
    let (again, stage, Removed { pendings, next, is_last }, epoch) = {
        let mut state = module.state();
        // What is taken out makes way for those behind it, which begin anew.
        let stage = state.progress(&settled.target).stage();
        let again = kept_change::make_row(module, &mut state, &mut settled);
        let mut removed = state.remove(&settled);
        let prefix = module.config.prefix.as_bytes();
        removed.is_last &= !state.is_changed_elsewhere(prefix, &settled.target);
        (again, stage, removed, state.epoch)
    };
    if !again.is_empty() || !next.is_empty() {
        module.engine.submit(again.into_iter().chain(next));
    }
    let target = Str::new(&settled.target);
    let before = merge::before(ctx, module, &target, &settled, &pendings);
    let is_of_now = {
        let now = module.shared.terms.now();
        pendings.iter().flatten().all(|pending| pending.term == now)
    };
    match writable {
        None => {}
        Some(ctx) if is_moving(ctx, module, &settled.target) => {
            // A missing key is never wrong; the next write, or WT.REFRESH, makes it where it lives.
            ctx.remove(&target);
            module.state().overtaken.add(settled.target.clone());
            if is_last {
                ctx.remove(&staged_key(module, &settled));
            }
        }
        Some(ctx) if !is_of_now => {
            // Another master may have written the row, and this data set is its own.
            in_sync::reread(module, &settled.target);
            if is_last {
                ctx.remove(&staged_key(module, &settled));
            }
        }
        Some(ctx) => {
            // After a flush a key stays gone.
            let is_visible = pendings.iter().flatten().any(|p| p.epoch == epoch);
            change(ctx, module, &target, &settled, (is_visible, is_last), &pendings, &before);
        }
    }
    in_sync::check_shape(module, &settled);
    let now = Instant::now();
    let of_now = writable.filter(|_| is_of_now);
    let has_kept_change = kept_change::is_among(&pendings);
    let answers = settled.answers.into_iter().zip(before.answers);
    for (((id, answer), value), pending) in answers.zip(pendings) {
        let Some(pending) = pending else { continue };
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
        let late = answer.is_err().then(|| Late { stage, ..Late::of(&pending) });
        match pending.waiter {
            Waiter::Nobody => continue,
            Waiter::Verify => {
                verify::done(module, answer.err());
                continue;
            }
            Waiter::Refresh(number) => {
                refresh_many::done(module, number, id, answer.map(|_| value));
                continue;
            }
            Waiter::Sync => {
                in_sync::done(module, &settled.target, answer.err());
                continue;
            }
            Waiter::Client(client) => client.answer(value),
            Waiter::Part(gather) => several::add(of_now, module, &gather, value),
            Waiter::Server => module.state().sync_answer = Some((id, value)),
        }
        if pending.claim.is_abandoned() {
            module.shared.stats.abandoned.add(1);
            continue;
        }
        if is_error {
            continue;
        }
        if answer.is_ok() {
            module.shared.stats.write.record(now, now.saturating_duration_since(pending.since));
        }
        module.count(answer.as_ref().err(), late);
    }
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
    if is_last
        && is_visible
        && merge::rename(ctx, &staged_key(module, settled), target, settled, pendings, before)
    {
        return;
    }
    let compares = |p: &&Pending| matches!(p.waiter, Waiter::Verify | Waiter::Sync);
    let mut writes = pendings.iter().flatten().filter(|p| !compares(p));
    let only_verifies = !pendings.is_empty() && writes.next().is_none();
    match &settled.state {
        _ if only_verifies => verify::compare(ctx, module, target, settled, pendings, before),
        RowState::Present(image) if is_visible => {
            let target = (target, &*settled.target);
            // What is kept in Redis only follows write by write.
            let kept = if kept_change::is_among(pendings) { &[] } else { pendings };
            merge::row(ctx, module, target, &settled.mapping, image, kept, before);
        }
        RowState::Deleted | RowState::Absent | RowState::Unknown => {
            let called = ctx.call(c"UNLINK", &[target]);
            in_sync::check(module, &settled.target, &called);
        }
        RowState::Present(_) | RowState::Unchanged => {}
    }
    if is_last {
        ctx.call(c"UNLINK", &[&staged_key(module, settled)]);
    }
}

fn staged_key(module: &Module, settled: &Settled) -> Str {
    Str::new(&key::staged(module.config.prefix.as_bytes(), &settled.target))
}

/// True when a call for these keys would be refused: their slot is on its way from or to this
/// node, or has left it.
fn is_moving(ctx: &Ctx, module: &Module, target: &[u8]) -> bool {
    if !ffi::server_flags().is_cluster() {
        return false;
    }
    module.state().overtaken.forget(target);
    let keys = [Str::new(target), Str::new(&key::staged(module.config.prefix.as_bytes(), target))];
    ctx.read(c"EXISTS", &keys.each_ref()).error().is_some_and(command::is_elsewhere)
}
