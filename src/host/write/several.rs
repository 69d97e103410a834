//! Several writes of one command, with one reply: the sum of theirs.

use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::admit::{self, refuse};
use super::behind::{self, Command};
use super::pending::pending;
use super::submit::submit;
use super::synchronous;
use super::timeout::{refuse_late, unsent};
use super::waiter::{Completed, Waiter};
use crate::command::Write;
use crate::config::limits::Limit;
use crate::engine::{JobId, Stage};
use crate::host::ffi::{Blocked, Str, Value, Writable};
use crate::host::module::error_log::Late;
use crate::host::module::{module, negative, Module};
use crate::model::action::Action;
use crate::model::mapping::Mapping;

/// What is done when every write has succeeded: plain keys are deleted.
pub struct Then {
    /// DEL or UNLINK.
    pub command: &'static CStr,
    /// The keys.
    pub keys: Vec<Vec<u8>>,
}

impl Then {
    /// Nothing more is to be done.
    pub const NOTHING: Then = Then { command: c"UNLINK", keys: Vec::new() };

    /// Does it. Returns how many keys were there.
    pub fn run(&self, ctx: &Writable, module: &Module) -> i64 {
        if self.keys.is_empty() {
            return 0;
        }
        for key in &self.keys {
            pending().evicted(key);
            negative::end(key);
        }
        let keys: Vec<Str> = self.keys.iter().map(|key| Str::new(key)).collect();
        let keys: Vec<&Str> = keys.iter().collect();
        module.apply(|| ctx.call(self.command, &keys).integer())
    }
}

/// A blocked client that waits for several writes.
struct Several {
    client: Option<Blocked>,
    left: usize,
    sum: i64,
    error: Option<Value>,
    then: Then,
}

/// One of the writes.
struct Part(Arc<Mutex<Several>>);

impl Part {
    fn all(&self) -> MutexGuard<'_, Several> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter for Part {
    fn limit(&self) -> Option<Limit> {
        Some(Limit::Timeout)
    }

    fn waits_for(&self, write: JobId, left: fn(&[JobId])) {
        if let Some(client) = &self.all().client {
            client.waits_for(write, left);
        }
    }

    /// The last one answers the client: with the first error, if any. Where nothing may be written,
    /// nothing more is done.
    fn completed(self: Box<Self>, writable: Option<&Writable>, completed: Completed) {
        let mut all = self.all();
        match completed.value {
            Value::Integer(n) => all.sum += n,
            other => {
                all.error.get_or_insert(other);
            }
        }
        all.left -= 1;
        if all.left > 0 {
            return;
        }
        let reply = all.error.take().unwrap_or_else(|| {
            let removed =
                writable.zip(module()).map_or(0, |(ctx, module)| all.then.run(ctx, module));
            Value::Integer(all.sum + removed)
        });
        if let Some(client) = all.client.take() {
            client.answer(reply);
        }
    }
}

/// A write, its final key and the mapping of that.
pub type Addressed = (Arc<Mapping>, Vec<u8>, Write);

/// Sends them. `None`: the client is blocked. `stage` is done with the final key of each before it is
/// sent.
pub fn send(
    ctx: &Writable,
    module: &Module,
    writes: Vec<Addressed>,
    stage: impl Fn(&[u8]),
    then: Then,
) -> Option<Value> {
    if let Err(failure) = admit::room_for(module, writes.len()) {
        return Some(refuse(module, &failure));
    }
    let client = if writes.is_empty() { None } else { ctx.block() };
    let Some(client) = client else {
        return Some(wait(ctx, module, writes, stage, &then));
    };
    let left = writes.len();
    let all = Several { client: Some(client), left, sum: 0, error: None, then };
    let all = Arc::new(Mutex::new(all));
    for (mapping, target, write) in writes {
        let part = Box::new(Part(all.clone()));
        if mapping.is_behind && write.action == Action::Delete {
            behind::delete(ctx, module, Command::delete(&mapping, &target), part);
            continue;
        }
        stage(&target);
        submit(module, &mapping, &target, write, part, None);
    }
    None
}

/// The same where the server waits: for `sync_timeout_ms` once, not once for each.
pub fn wait(
    ctx: &Writable,
    module: &Module,
    writes: Vec<Addressed>,
    stage: impl Fn(&[u8]),
    then: &Then,
) -> Value {
    let (mut sum, mut error) = (0, None);
    let until = Instant::now() + module.shared.limits.sync_timeout();
    for (mapping, target, write) in writes {
        if Instant::now() >= until {
            let limit = synchronous::limit(module);
            let failure = unsent(write.only_looks(), false, &limit);
            let late = Late { mapping, stage: Stage::Queued, limit: Limit::SyncTimeout };
            error.get_or_insert_with(|| refuse_late(module, &failure, Some(late)));
            break;
        }
        let waited = match mapping.is_behind && write.action == Action::Delete {
            true => behind::run_and_wait(ctx, module, Command::delete(&mapping, &target)),
            false => {
                stage(&target);
                synchronous::wait(ctx, module, &mapping, &target, write, None)
            }
        };
        match waited {
            Value::Integer(n) => sum += n,
            other => drop(error.get_or_insert(other)),
        }
    }
    error.unwrap_or_else(|| Value::Integer(sum + then.run(ctx, module)))
}
