//! WT.BATCH: many writes in one command, each for itself. They share statements as those of many clients do,
//! and the reply has one element for each.

use std::collections::VecDeque;
use std::ffi::{c_int, CStr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::admit::{self, not_ready, refuse};
use super::command::{self, Prepared};
use super::pending::pending;
use super::submit::submit;
use super::synchronous;
use super::timeout::{give_up, GRACE};
use super::waiter::{Completed, Waiter};
use crate::command::nested;
use crate::config::limits::Limit;
use crate::engine::JobId;
use crate::host::ffi::{Args, Blocked, Command, KeySpec, Run, Value, Writable};
use crate::host::module::{module, Module};
use crate::model::failure::Failure;

/// Writes of one command that are on their way at once, at most: others are not held up by the rest.
const AT_ONCE: usize = 2048;

/// The command.
pub struct Batch;

impl Command for Batch {
    const NAME: &'static CStr = c"wt.batch";
    const SUMMARY: &'static CStr = c"Writes of many rows in one command, each for itself";
    const FLAGS: &'static CStr = c"write deny-oom getkeys-api";
    const CATEGORIES: &'static CStr = c"write hash slow";
    const ARITY: c_int = -4;
    const KEYS: &'static [KeySpec] = &[];
    const FIND_KEYS: Option<fn(Args) -> Vec<usize>> = Some(keys);
    const RUN: Run = Run::Write(run);
}

/// Where the keys of the commands are.
fn keys(args: Args) -> Vec<usize> {
    let commands = nested::ranges(args.len(), |at| args.get(at)).unwrap_or_default();
    commands.into_iter().filter(|range| range.len() > 1).map(|range| range.start + 1).collect()
}

/// A write that is not sent yet, and its place in the reply.
struct Waiting {
    at: usize,
    write: Prepared,
}

/// The writes of one command.
struct Writes {
    /// `None`: the server waits.
    client: Option<Blocked>,
    replies: Vec<Option<Value>>,
    /// Those that are not sent yet, in order.
    rest: VecDeque<Waiting>,
    /// Those without a reply.
    left: usize,
    /// Those on their way, where the server waits.
    sent: Vec<(JobId, usize)>,
}

type Shared = Arc<Mutex<Writes>>;

fn lock(writes: &Shared) -> MutexGuard<'_, Writes> {
    writes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of them, on its way.
struct Part {
    writes: Shared,
    at: usize,
    limit: Limit,
}

impl Waiter for Part {
    fn limit(&self) -> Option<Limit> {
        Some(self.limit)
    }

    fn waits_for(&self, write: JobId, left: fn(&[JobId])) {
        let mut writes = lock(&self.writes);
        match &writes.client {
            Some(client) => client.waits_for(write, left),
            None => writes.sent.push((write, self.at)),
        }
    }

    fn completed(self: Box<Self>, _: Option<&Writable>, completed: Completed) {
        {
            let mut writes = lock(&self.writes);
            writes.reply(self.at, completed.value);
            // Of a client that has gone nothing more is sent.
            if writes.client.as_ref().is_some_and(|client| !client.waits()) {
                writes.left -= writes.rest.len();
                writes.rest.clear();
            }
        }
        if let Some(module) = module() {
            send(module, &self.writes, 1, self.limit);
        }
        lock(&self.writes).answer_when_done();
    }
}

impl Writes {
    fn reply(&mut self, at: usize, value: Value) {
        if self.replies[at].replace(value).is_none() {
            self.left -= 1;
        }
    }

    fn all(&mut self) -> Value {
        let replies = std::mem::take(&mut self.replies).into_iter();
        let lost = || Value::error("ERR writethrough: the reply was lost");
        Value::List(replies.map(|reply| reply.unwrap_or_else(lost)).collect())
    }

    fn answer_when_done(&mut self) {
        let client = if self.left == 0 { self.client.take() } else { None };
        if let Some(client) = client {
            client.answer(self.all());
        }
    }
}

/// Sends so many of those that wait. Where there is no room for one, its reply says so.
fn send(module: &Module, writes: &Shared, count: usize, limit: Limit) {
    let mut sent = 0;
    while sent < count {
        let Some(Waiting { at, write }) = lock(writes).rest.pop_front() else { return };
        if let Err(failure) = admit::room_for(module, 1) {
            lock(writes).reply(at, refuse(module, &failure));
            continue;
        }
        let Prepared { mapping, target, write, acknowledgement } = write;
        let part = Box::new(Part { writes: writes.clone(), at, limit });
        submit(module, &mapping, &target, write, part, acknowledgement);
        sent += 1;
    }
}

fn run(ctx: &Writable, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    let commands = match nested::ranges(args.len(), |at| args.get(at)) {
        Ok(commands) => commands,
        Err(problem) => return Some(refuse(module, &Failure::Input(problem))),
    };
    let mut writes = Writes {
        client: None,
        left: commands.len(),
        replies: vec![None; commands.len()],
        rest: VecDeque::new(),
        sent: Vec::new(),
    };
    for (at, range) in commands.into_iter().enumerate() {
        match command::prepare(ctx, module, args.part(range)) {
            Ok(write) => writes.rest.push_back(Waiting { at, write }),
            Err(reply) => writes.reply(at, reply),
        }
    }
    if writes.left == 0 {
        return Some(writes.all());
    }
    writes.client = ctx.block();
    let is_blocked = writes.client.is_some();
    let writes = Arc::new(Mutex::new(writes));
    if !is_blocked {
        let target = |waiting: &Waiting| waiting.write.target.clone();
        let targets: Vec<Vec<u8>> = lock(&writes).rest.iter().map(target).collect();
        send(module, &writes, usize::MAX, Limit::SyncTimeout);
        return Some(wait(ctx, module, &targets, &writes));
    }
    send(module, &writes, AT_ONCE, Limit::Timeout);
    // There may have been room for none of them.
    lock(&writes).answer_when_done();
    None
}

/// The server waits, for `sync_timeout_ms` at most.
fn wait(ctx: &Writable, module: &Module, targets: &[Vec<u8>], writes: &Shared) -> Value {
    module.shared.stats.sync.add(1);
    let targets: Vec<&[u8]> = targets.iter().map(Vec::as_slice).collect();
    let until = Instant::now() + module.shared.limits.sync_timeout();
    let done = || (lock(writes).left == 0).then_some(());
    if synchronous::serve_until(ctx, module, &targets, until, done).is_some() {
        return lock(writes).all();
    }
    let limit = synchronous::limit(module);
    let sent = std::mem::take(&mut lock(writes).sent);
    let without_reply = |(_, at): &&(JobId, usize)| lock(writes).replies[*at].is_none();
    let given_up = |(id, at): &(JobId, usize)| (*id, *at, give_up(&pending(), *id, &limit));
    let late: Vec<_> = sent.iter().filter(without_reply).map(given_up).collect();
    if late.iter().any(|(.., failure)| failure.is_none()) {
        // A statement waits no longer for a locked row.
        synchronous::serve_until(ctx, module, &targets, until + GRACE, done);
    }
    for (id, at, failure) in late {
        if lock(writes).replies[at].is_some() {
            continue;
        }
        let given_up = failure.or_else(|| give_up(&pending(), id, &limit));
        let reply = synchronous::end(module, id, given_up, false);
        lock(writes).reply(at, reply);
    }
    lock(writes).all()
}
