//! The synchronous path: in MULTI, in scripts and where another module calls, no client can be
//! blocked, and the server itself waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::acknowledge::Acknowledgement;
use super::behind;
use super::completion;
use super::pending::pending;
use super::submit::submit;
use super::timeout::{give_up, refuse_late, time_limit, too_late, GRACE};
use super::waiter::{Completed, Waiter};
use crate::command::Write;
use crate::config::limits::Limit;
use crate::engine::{JobId, Limited, Settled};
use crate::host::ffi::{Ctx, Value, Writable};
use crate::host::module::{latency, Module};
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;

/// The main thread waits; the reply goes here.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Option<Value>>>);

impl Server {
    fn take(&self) -> Option<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Waiter for Server {
    fn limit(&self) -> Option<Limit> {
        Some(Limit::SyncTimeout)
    }

    fn completed(self: Box<Self>, _: Option<&Writable>, completed: Completed) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(completed.value);
    }
}

/// How long the server waits for one write, as a client reads it.
pub fn limit(module: &Module) -> Limited {
    time_limit(&module.shared.limits, Some(Limit::SyncTimeout))
}

/// Sends a write and waits for it, for `sync_timeout_ms` at most. The value is what the client reads.
pub fn wait(
    ctx: &Writable,
    module: &Module,
    mapping: &Arc<Mapping>,
    target: &[u8],
    write: Write,
    acknowledgement: Option<Acknowledgement>,
) -> Value {
    module.shared.stats.sync.add(1);
    let limit = limit(module);
    let began = Instant::now();
    let until = began + module.shared.limits.sync_timeout();
    let only_looks = write.only_looks();
    let server = Server::default();
    let waiter = Box::new(server.clone());
    let id = submit(module, mapping, target, write, waiter, acknowledgement);
    let mut reply = serve_until(ctx, module, &[target], until, || server.take());
    let mut late = reply.is_none().then(|| give_up(&pending(), id, &limit));
    if let Some(None) = late {
        reply = serve_until(ctx, module, &[target], until + GRACE, || server.take());
        late = Some(give_up(&pending(), id, &limit));
    }
    latency::waited(began.elapsed());
    if let Some(value) = reply {
        return value;
    }
    end(module, id, late.flatten(), only_looks)
}

/// The server's time for a write is up, and nobody waits for it any more. `given_up`: it is never sent.
pub fn end(module: &Module, id: JobId, given_up: Option<Failure>, only_looks: bool) -> Value {
    let (of, only_looks) = match pending().jobs.get_mut(&id) {
        Some(pending) => {
            let of = pending.late();
            pending.waiter = None;
            (Some(of), pending.only_looks)
        }
        None => (None, only_looks),
    };
    let failure = given_up.unwrap_or_else(|| too_late(only_looks, &limit(module)));
    refuse_late(module, &failure, of)
}

/// The server waits until no write of these keys is on its way, for `sync_timeout_ms` at most.
/// False when one still is.
pub fn settle(ctx: &Writable, module: &Module, targets: &[&[u8]]) -> bool {
    let until = Instant::now() + module.shared.limits.sync_timeout();
    let settled = || {
        let pending = pending();
        (!targets.iter().any(|target| pending.has(target))).then_some(())
    };
    serve_until(ctx, module, targets, until, settled).is_some()
}

/// Applies what the workers do to these keys until `done` has something, or until that time. First
/// what they have done already: a later write is behind one that is committed and not merged yet.
pub fn serve_until<T>(
    ctx: &Writable,
    module: &Module,
    targets: &[&[u8]],
    until: Instant,
    done: impl Fn() -> Option<T>,
) -> Option<T> {
    let apply = |arrived| {
        let mine = with_waited_for(targets, |targets| completion::take_of(arrived, targets));
        module
            .apply(|| mine.into_iter().for_each(|s| completion::apply(ctx, Some(ctx), module, s)));
        behind::serve(ctx, module);
    };
    serve(module, until, apply, || false, done)
}

/// The same for loads, while nothing may be written. It ends at once when a write that stands before one
/// has to be merged first: that waits for the server.
pub fn serve_loads_until<T>(
    ctx: &Ctx,
    module: &Module,
    targets: &[&[u8]],
    until: Instant,
    done: impl Fn() -> Option<T>,
) -> Option<T> {
    let apply = |arrived| {
        let loads = completion::take_loads(arrived, |key| targets.contains(&key));
        loads.into_iter().for_each(|settled| completion::apply(ctx, None, module, settled));
    };
    serve(module, until, apply, || with_waited_for(targets, completion::has_any), done)
}

/// With these keys, and those whose writes they may wait for.
fn with_waited_for<T>(targets: &[&[u8]], then: impl FnOnce(&[&[u8]]) -> T) -> T {
    let others = pending().waited_for(targets);
    if others.is_empty() {
        return then(targets);
    }
    let all: Vec<&[u8]> =
        targets.iter().copied().chain(others.iter().map(|key| &key[..])).collect();
    then(&all)
}

/// Applies what arrives until `done` has something, until there is no use in waiting, or until that
/// time. Other keys wait for the timer.
fn serve<T>(
    module: &Module,
    until: Instant,
    apply: impl Fn(VecDeque<Settled>),
    is_useless: impl Fn() -> bool,
    done: impl Fn() -> Option<T>,
) -> Option<T> {
    let mut arrived = VecDeque::new();
    loop {
        apply(arrived);
        let result = done();
        if result.is_some() || is_useless() || Instant::now() >= until {
            return result;
        }
        module.engine.wake();
        arrived = module.inbox.wait(until);
    }
}
