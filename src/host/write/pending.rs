//! Writes on their way: a client that waits, a server that waits, and the end of their patience.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::acknowledge::Acknowledgement;
use super::admit::{self, refuse};
use super::completion;
use super::several::{self, Gather};
use super::timeout::{
    abandon, give_up, refuse_late, time_limit, too_late, unsent, watch_deadlines, FOR_EVER, GRACE,
};
use crate::command::Write;
use crate::config::limits::Limit;
use crate::engine::{Claim, Job, JobId, Settled, Stage};
use crate::host::ffi::Value;
use crate::host::ffi::Writable;
use crate::host::module::error_log::Late;
use crate::host::module::state::{Module, Pending, Waiter};
use crate::model::change::Change;
use crate::model::mapping::Mapping;

/// Sends a staged write to the workers. The client is blocked (`None`), or, where it can't be, the
/// server waits and answers.
pub fn send(
    ctx: &Writable,
    module: &Module,
    mapping: &Arc<Mapping>,
    target: &[u8],
    write: Write,
    acknowledgement: Option<Acknowledgement>,
) -> Option<Value> {
    let client = match ctx.flags().cannot_block() {
        true => None,
        false => ctx.block(),
    };
    match client {
        Some(client) => {
            let waiter = Waiter::Client(client);
            submit(module, mapping, target, write, waiter, acknowledgement);
            None
        }
        None => Some(wait(ctx, module, mapping, target, write, acknowledgement)),
    }
}

/// Hands a write to the workers, behind those of its key.
pub fn submit(
    module: &Module,
    mapping: &Arc<Mapping>,
    target: &[u8],
    write: Write,
    waiter: Waiter,
    acknowledgement: Option<Acknowledgement>,
) -> JobId {
    let since = Instant::now();
    let limit = time_limit(module, &waiter);
    let deadline = since + limit.0.map_or(FOR_EVER, |(_, time)| time);
    let change = Change::new(mapping, target, write.action);
    let has_deadline = matches!(waiter, Waiter::Client(_) | Waiter::Part(_));
    let claim = Arc::new(Claim::default());
    let term = module.shared.terms.now();
    let mut state = module.state();
    let progress = state.progress(target);
    let pending = Pending {
        mapping: mapping.clone(),
        waiter,
        progress: progress.clone(),
        reply: write.reply,
        kept: write.kept,
        dropped: write.dropped,
        kept_change: write.kept_change,
        cache: write.cache,
        acknowledgement,
        claim: claim.clone(),
        only_looks: change.action.only_looks(),
        is_overdue: false,
        epoch: state.epoch,
        term,
        since,
    };
    let id = state.add(pending);
    match &state.jobs[&id].waiter {
        Waiter::Client(client) => client.waits_for(id, abandon),
        Waiter::Part(gather) => several::waits_for(gather, id, abandon),
        Waiter::Refresh(_) => {}
        Waiter::Server | Waiter::Verify | Waiter::Sync | Waiter::Nobody => {}
    }
    if has_deadline && state.deadlines.add(deadline, id) {
        watch_deadlines(&mut state, Instant::now());
    }
    module.shared.stats.waiting.add(1);
    let mut job = Job::new(id, change, deadline, term, module.inbox.clone());
    (job.claim, job.limit, job.progress) = (claim, limit, progress);
    if let Some(job) = state.line_up(job) {
        module.engine.submit([job]);
    }
    id
}

/// The synchronous path: the server waits, for `sync_timeout_ms` at most.
pub fn wait(
    ctx: &Writable,
    module: &Module,
    mapping: &Arc<Mapping>,
    target: &[u8],
    write: Write,
    acknowledgement: Option<Acknowledgement>,
) -> Value {
    module.shared.stats.sync.add(1);
    let limit = time_limit(module, &Waiter::Server);
    let began = Instant::now();
    let until = began + module.shared.limits.sync_timeout();
    let only_looks = write.action.only_looks();
    let id = submit(module, mapping, target, write, Waiter::Server, acknowledgement);
    let answered = || module.state().sync_answer.take_if(|(answered, _)| *answered == id);
    let mut answer = serve_until(ctx, module, &[target], until, answered);
    let mut late = answer.is_none().then(|| give_up(&mut module.state(), id, &limit));
    if let Some(None) = late {
        answer = serve_until(ctx, module, &[target], until + GRACE, answered);
        late = Some(give_up(&mut module.state(), id, &limit));
    }
    let mut state = module.state();
    state.slow_sync = state.slow_sync.max(began.elapsed());
    if let Some((_, value)) = answer {
        return value;
    }
    let (of, only_looks) = match state.jobs.get_mut(&id) {
        Some(pending) => {
            let of = Late::of(pending);
            pending.waiter = Waiter::Nobody;
            (Some(of), pending.only_looks)
        }
        None => (None, only_looks),
    };
    drop(state);
    refuse_late(module, &late.flatten().unwrap_or_else(|| too_late(only_looks, &limit)), of)
}

/// Applies what the workers do to these keys until `done` has something, or until that time. First
/// what they have done already: a later write is behind one that is committed and not merged yet.
fn serve_until<T>(
    ctx: &Writable,
    module: &Module,
    targets: &[&[u8]],
    until: Instant,
    done: impl Fn() -> Option<T>,
) -> Option<T> {
    let mut arrived = VecDeque::new();
    loop {
        apply_to(ctx, module, arrived, targets);
        let result = done();
        if result.is_some() || Instant::now() >= until {
            return result;
        }
        module.engine.wake();
        arrived = module.inbox.wait(until);
    }
}

/// Applies what the workers have done to these keys, in order; other keys wait for the timer.
fn apply_to(ctx: &Writable, module: &Module, arrived: VecDeque<Settled>, targets: &[&[u8]]) {
    let mine = {
        let mut state = module.state();
        state.settled.extend(arrived);
        let is_mine = |settled: &Settled| targets.contains(&&settled.target[..]);
        let (mine, rest): (Vec<_>, Vec<_>) = state.settled.drain(..).partition(is_mine);
        state.settled = rest.into();
        mine
    };
    module.apply(|| mine.into_iter().for_each(|s| completion::apply(ctx, Some(ctx), module, s)));
}

/// The server waits until no write of these keys is on its way, for `sync_timeout_ms` at most.
/// False when one still is.
pub fn settle(ctx: &Writable, module: &Module, targets: &[&[u8]]) -> bool {
    let until = Instant::now() + module.shared.limits.sync_timeout();
    let is_on_its_way = |target: &&[u8]| module.state().keys.contains_key(*target);
    let settled = || (!targets.iter().any(is_on_its_way)).then_some(());
    serve_until(ctx, module, targets, until, settled).is_some()
}

/// A write, its final key and the mapping of that.
pub type Addressed = (Arc<Mapping>, Vec<u8>, Write);

/// Several writes with one answer, the sum of theirs. `None`: the client is blocked. `stage` is
/// done with the final key of each before it is sent.
pub fn send_all(
    ctx: &Writable,
    module: &Module,
    writes: Vec<Addressed>,
    stage: impl Fn(&[u8]),
    then: several::Then,
) -> Option<Value> {
    if let Err(failure) = admit::room_for(module, writes.len()) {
        return Some(refuse(module, &failure));
    }
    let client = match ctx.flags().cannot_block() || writes.is_empty() {
        true => None,
        false => ctx.block(),
    };
    let Some(client) = client else {
        return Some(wait_all(ctx, module, writes, stage, &then));
    };
    let gather = Arc::new(Mutex::new(Gather::new(client, writes.len(), then)));
    for (mapping, target, write) in writes {
        stage(&target);
        submit(module, &mapping, &target, write, Waiter::Part(gather.clone()), None);
    }
    None
}

/// The same where the server waits: for `sync_timeout_ms` once, not once for each.
pub fn wait_all(
    ctx: &Writable,
    module: &Module,
    writes: Vec<Addressed>,
    stage: impl Fn(&[u8]),
    then: &several::Then,
) -> Value {
    let (mut sum, mut error) = (0, None);
    let until = Instant::now() + module.shared.limits.sync_timeout();
    for (mapping, target, write) in writes {
        if Instant::now() >= until {
            let limit = time_limit(module, &Waiter::Server);
            let failure = unsent(write.action.only_looks(), false, &limit);
            let late = Late { mapping, stage: Stage::Queued, limit: Limit::SyncTimeout };
            error.get_or_insert_with(|| refuse_late(module, &failure, Some(late)));
            break;
        }
        stage(&target);
        match wait(ctx, module, &mapping, &target, write, None) {
            Value::Integer(n) => sum += n,
            other => drop(error.get_or_insert(other)),
        }
    }
    match error {
        Some(error) => error,
        None => Value::Integer(sum + then.run(ctx, module)),
    }
}
