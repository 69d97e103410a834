//! Writes on their way: a client that waits, a server that waits, and the end of their patience.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::acknowledge::Acknowledgement;
use super::admit::{self, refuse};
use super::complaints::Late;
use super::completion;
use super::ffi::{self, Closed, Ctx, Writable};
use super::gather::{self, Gather};
use super::state::{module, Module, Pending, State, Waiter};
use super::value::Value;
use crate::change::Change;
use crate::command::Write;
use crate::engine::{Job, JobId, Settled, Stage};
use crate::failure::Failure;
use crate::limits::Limit;
use crate::mapping::Mapping;

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
    let timeout = match waiter {
        Waiter::Server => module.shared.limits.sync_timeout(),
        Waiter::Client(_) | Waiter::Part(_) => module.shared.limits.timeout(),
        // Nobody's patience ends.
        Waiter::Verify | Waiter::Sync | Waiter::Nobody => Duration::from_secs(365 * 24 * 3600),
    };
    let since = Instant::now();
    let deadline = since + timeout;
    let change = Change::new(mapping, target, write.action);
    let has_deadline = matches!(waiter, Waiter::Client(_) | Waiter::Part(_));
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
        cache: write.cache,
        acknowledgement,
        epoch: state.epoch,
        term,
        since,
    };
    let id = state.add(pending);
    if has_deadline {
        expect(&mut state, deadline, id);
    }
    module.shared.stats.waiting.add(1);
    let mut job = Job::new(id, change, deadline, term, module.inbox.clone());
    job.progress = progress;
    if let Some(job) = state.line_up(job) {
        module.engine.submit([job]);
    }
    id
}

/// Notes when a client's time is up. Deadlines come in order, but for those after `timeout-ms` was
/// lowered.
fn expect(state: &mut State, deadline: Instant, id: JobId) {
    let at = match state.deadlines.back() {
        Some((last, _)) if *last > deadline => {
            state.deadlines.partition_point(|(earlier, _)| *earlier <= deadline)
        }
        _ => state.deadlines.len(),
    };
    state.deadlines.insert(at, (deadline, id));
    if at == 0 {
        watch_deadlines(state, Instant::now());
    }
}

/// Sets the timer for the first deadline, in place of one that is set.
fn watch_deadlines(state: &mut State, now: Instant) {
    if let Some(timer) = state.deadline_timer.take() {
        timer.stop();
    }
    if let Some((next, _)) = state.deadlines.front() {
        // A millisecond more: timers count whole ones.
        let left = next.saturating_duration_since(now) + Duration::from_millis(1);
        state.deadline_timer = Some(ffi::stoppable_timer(left, end_of_time));
    }
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
    let timeout = module.shared.limits.sync_timeout();
    let began = Instant::now();
    let until = began + timeout;
    let id = submit(module, mapping, target, write, Waiter::Server, acknowledgement);
    let answer = serve_until(ctx, module, &[target], until, || {
        module.state().sync_answer.take_if(|(answered, _)| *answered == id)
    });
    let mut state = module.state();
    state.slow_sync = state.slow_sync.max(began.elapsed());
    if let Some((_, value)) = answer {
        return value;
    }
    let late = state.jobs.get_mut(&id).map(|pending| {
        let late = Late::of(pending);
        pending.waiter = Waiter::Nobody;
        late
    });
    drop(state);
    refuse_late(module, &too_late("sync_timeout_ms", timeout), late)
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

/// Several writes with one answer, the sum of theirs. `None`: the client is blocked. `stage` is
/// done with the final key of each before it is sent. Only where the server waits is anything
/// changed here; the answers of a blocked client's writes are merged when the gate is open.
pub fn send_all(
    ctx: &Ctx,
    gate: Result<&Writable, Closed>,
    module: &Module,
    writes: Vec<(Arc<Mapping>, Vec<u8>, Write)>,
    stage: impl Fn(&[u8]),
    then: gather::Then,
) -> Option<Value> {
    if let Err(failure) = admit::room_for(module, writes.len()) {
        return Some(refuse(module, &failure));
    }
    let client = match ctx.flags().cannot_block() || writes.is_empty() {
        true => None,
        false => ctx.block(),
    };
    let Some(client) = client else {
        let ctx = match gate {
            Ok(ctx) => ctx,
            Err(closed) => return Some(closed.into()),
        };
        let (mut sum, mut error) = (0, None);
        let timeout = module.shared.limits.sync_timeout();
        let until = Instant::now() + timeout;
        for (mapping, target, write) in writes {
            // The server waits once, not once for each.
            if Instant::now() >= until {
                let failure = too_late("sync_timeout_ms", timeout);
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
        return Some(match error {
            Some(error) => error,
            None => Value::Integer(sum + then.run(ctx, module)),
        });
    };
    let gather = Arc::new(Mutex::new(Gather::new(client, writes.len(), then)));
    for (mapping, target, write) in writes {
        stage(&target);
        submit(module, &mapping, &target, write, Waiter::Part(gather.clone()), None);
    }
    None
}

fn too_late(option: &str, timeout: Duration) -> Failure {
    Failure::TimedOut(format!(
        "no answer from the database within {option} = {}; the write may still be committed, \
         and if it is, the cache follows",
        timeout.as_millis(),
    ))
}

/// The answer of a write that its client has waited for in vain.
fn refuse_late(module: &Module, failure: &Failure, late: Option<Late>) -> Value {
    module.count(Some(failure), late);
    Value::from(failure)
}

/// A timer: answers the clients whose time is up. Their writes go on.
fn end_of_time(_: &Ctx) {
    let Some(module) = module() else { return };
    let mut late = Vec::new();
    {
        let mut state = module.state();
        let now = Instant::now();
        while let Some((deadline, id)) = state.deadlines.front().copied() {
            let is_due = deadline <= now;
            match state.jobs.get_mut(&id) {
                Some(pending) if is_due => {
                    let of = Late::of(pending);
                    late.push((of, std::mem::replace(&mut pending.waiter, Waiter::Nobody)));
                }
                Some(_) => break,
                None => {}
            }
            state.deadlines.pop_front();
        }
        state.deadline_timer = None;
        watch_deadlines(&mut state, now);
    }
    let failure = too_late("timeout_ms", module.shared.limits.timeout());
    for (late, waiter) in late {
        let answer = || refuse_late(module, &failure, Some(late));
        match waiter {
            Waiter::Client(client) => client.answer(answer()),
            Waiter::Part(gather) => gather::add(None, module, &gather, answer()),
            Waiter::Server | Waiter::Verify | Waiter::Sync | Waiter::Nobody => {}
        }
    }
}
