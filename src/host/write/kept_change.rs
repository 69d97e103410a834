//! `HINCRBY`, `HINCRBYFLOAT` and `HSETNX` of a field that is kept in Redis only.
//!
//! The row is read first, and the plain command then runs on the final key: nothing is committed when
//! the server refuses it. Where there is no row, one is made (as by HSET of such a field): the field
//! is missing then, so the server has no reason left to refuse.

use super::pending::{Pending, PendingWrites};
use super::timeout::{deadline, time_limit};
use crate::command::{KeptChange, KeptKind};
use crate::engine::{Job, RowState, Settled};
use crate::host::ffi::{Str, Value, Writable};
use crate::host::module::Module;
use crate::model::action::Action;
use crate::model::change::Change;

/// True where one of the writes changes such a field: then what they do to the hash is done one by
/// one, in order.
pub fn is_among(pendings: &[Option<Pending>]) -> bool {
    pendings.iter().flatten().any(|pending| pending.kept_change.is_some())
}

/// The writes that want a row where there is none, and those that were read with them: to be sent
/// again. They stay at the head of their key's line, where nothing was sent behind them.
pub fn make_row(module: &Module, pending: &mut PendingWrites, settled: &mut Settled) -> Vec<Job> {
    if !matches!(settled.state, RowState::Absent) {
        return Vec::new();
    }
    // Who has been told that nothing was written has no row made.
    let wants_row = |pending: &Pending| {
        pending.waiter.is_some()
            && pending.kept_change.as_ref().is_some_and(|change| !change.is_new_row)
    };
    let first = settled
        .answers
        .iter()
        .position(|(id, answer)| answer.is_ok() && pending.jobs.get(id).is_some_and(wants_row));
    let Some(first) = first else { return Vec::new() };
    let mut jobs = Vec::new();
    for (id, _) in settled.answers.split_off(first) {
        let Some(pending) = pending.jobs.get_mut(&id) else { continue };
        let action = match &mut pending.kept_change {
            Some(change) => {
                change.is_new_row = true;
                pending.only_looks = false;
                Action::Upsert(Vec::new())
            }
            None => Action::Read,
        };
        let change = Change::new(&pending.mapping, &settled.target, action);
        let limit = pending.waiter.as_ref().and_then(|waiter| waiter.limit());
        let limit = time_limit(&module.shared.limits, limit);
        let deadline = deadline(pending.since, &limit);
        pending.claim.take_back();
        let mut job = Job::new(id, change, deadline, pending.term, module.inbox.clone());
        (job.claim, job.limit) = (pending.claim.clone(), limit);
        job.progress = pending.progress.clone();
        jobs.push(job);
    }
    module.shared.stats.waiting.add(jobs.len());
    jobs
}

/// Does what a write does to the fields that are kept in Redis only, where the row is merged. `value`
/// is the answer of a command that finds no such field.
pub fn run(ctx: &Writable, target: &Str, pending: &Pending, value: Value) -> Value {
    for (field, kept) in &pending.kept {
        ctx.call(c"HSET", &[target, &Str::new(field), &Str::new(kept)]);
    }
    for field in &pending.dropped {
        ctx.call(c"HDEL", &[target, &Str::new(field)]);
    }
    match &pending.kept_change {
        Some(change) => change_field(ctx, target, change, value),
        None => value,
    }
}

fn change_field(ctx: &Writable, target: &Str, change: &KeptChange, missing: Value) -> Value {
    let command = match change.kind {
        KeptKind::Add => c"HINCRBY",
        KeptKind::AddFloat => c"HINCRBYFLOAT",
        KeptKind::Fill => c"HSETNX",
    };
    let (field, value) = (Str::new(&change.field), Str::new(&change.value));
    let called = ctx.call(command, &[target, &field, &value]);
    match called.refusal() {
        None => called.value(),
        // A row was made, and somebody has written to the hash meanwhile, past the database.
        Some(_) if change.is_new_row => {
            ctx.call(c"HDEL", &[target, &field]);
            ctx.call(command, &[target, &field, &value]);
            missing
        }
        Some(refusal) => refusal,
    }
}
