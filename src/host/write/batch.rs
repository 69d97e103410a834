//! WT.BATCH: many writes in one command, each for itself. They share statements as those of many clients do,
//! and the reply has one element for each.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::admit::{self, not_ready, refuse};
use super::collected::Collected;
use super::part::{self, InBatch, Prepared};
use super::pending::pending;
use super::server_errors::CLIENT_GONE;
use super::submit::submit;
use super::timeout::abandon;
use super::waiter::{Completed, Waiter};
use super::{behind, cache_only};
use crate::command::nested;
use crate::config::limits::Limit;
use crate::engine::JobId;
use crate::host::ffi::{self, Args, Closed, Ctx, Value, Writable, ASK_AGAIN};
use crate::host::module::{module, negative, MainThread, Module};
use crate::model::failure::Failure;

/// Writes of one command that are on their way at once, at most, and those that are done in one turn of the event
/// loop: others are not held up by the rest.
const AT_ONCE: usize = 2048;

/// A write that is not sent yet, and its place in the reply.
struct Waiting {
    at: usize,
    write: InBatch,
}

/// What is to be sent, and what was.
#[derive(Default)]
struct Progress {
    /// Those that are not sent yet, in order.
    rest: VecDeque<Waiting>,
    /// How many are on their way.
    flying: usize,
    /// Those of mappings that are written behind, by key: what follows of a key waits in its line.
    flying_behind: HashMap<Arc<[u8]>, usize>,
}

/// The writes of one command.
#[derive(Clone)]
struct Writes {
    replies: Collected,
    progress: Arc<Mutex<Progress>>,
    limit: Limit,
}

/// One of them, on its way.
struct Part {
    writes: Writes,
    at: usize,
    /// Its key, where the mapping is written behind.
    behind: Option<Arc<[u8]>>,
}

/// Commands whose next writes need a context to change keys in.
static LATER: MainThread<Vec<Writes>> = MainThread::new();

impl Waiter for Part {
    fn limit(&self) -> Option<Limit> {
        Some(self.writes.limit)
    }

    fn waits_for(&self, write: JobId, left: fn(&[JobId])) {
        self.writes.replies.waits_for(write, self.at, left);
    }

    fn completed(self: Box<Self>, writable: Option<&Writable>, completed: Completed) {
        let Part { writes, at, behind } = *self;
        writes.replies.reply(at, completed.value);
        writes.progress().lands(behind);
        match module() {
            Some(module) if writes.replies.has_client() => writes.send(writable, module),
            // Of a client that has gone nothing more is sent.
            _ => writes.leave_the_rest(&Value::error(CLIENT_GONE)),
        }
        writes.replies.answer_when_complete(Value::List);
    }
}

impl Progress {
    fn flies(&mut self, behind: Option<&Arc<[u8]>>) {
        self.flying += 1;
        if let Some(key) = behind {
            *self.flying_behind.entry(key.clone()).or_default() += 1;
        }
    }

    fn lands(&mut self, behind: Option<Arc<[u8]>>) {
        self.flying -= 1;
        let Some(key) = behind else { return };
        if let Some(flying) = self.flying_behind.get_mut(&key) {
            *flying -= 1;
            if *flying == 0 {
                self.flying_behind.remove(&key);
            }
        }
    }
}

impl Writes {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends those that wait, as many as may be on their way. What is done at once needs a context to write in.
    fn send(&self, ctx: Option<&Writable>, module: &Module) {
        let most = if self.limit == Limit::SyncTimeout { usize::MAX } else { AT_ONCE };
        let mut done = 0;
        loop {
            let Waiting { at, write } = {
                let mut progress = self.progress();
                let may_fly = progress.flying < most;
                let Some(next) = may_fly.then(|| progress.rest.pop_front()).flatten() else {
                    return;
                };
                next
            };
            let reply = match write {
                InBatch::Through(write) if !write.mapping.is_behind => {
                    self.submit(module, at, *write)
                }
                write => match ctx.filter(|_| done < most) {
                    Some(ctx) => self.do_here(ctx, module, at, write),
                    None => {
                        self.progress().rest.push_front(Waiting { at, write });
                        return later(self);
                    }
                },
            };
            if let Some(reply) = reply {
                self.replies.reply(at, reply);
                done += 1;
            }
        }
    }

    /// Sends one to the workers. Where there is no room for it, its reply says so.
    fn submit(&self, module: &Module, at: usize, write: Prepared) -> Option<Value> {
        if let Err(failure) = admit::room_for(module, 1) {
            return Some(refuse(module, &failure));
        }
        let Prepared { mapping, target, write, acknowledgement, .. } = write;
        let behind = mapping.is_behind.then(|| Arc::<[u8]>::from(&*target));
        self.progress().flies(behind.as_ref());
        let part = Box::new(Part { writes: self.clone(), at, behind });
        submit(module, &mapping, &target, write, part, acknowledgement);
        None
    }

    /// One of a mapping that is written behind. `None`: something has to be done before.
    fn do_here(&self, ctx: &Writable, module: &Module, at: usize, write: InBatch) -> Option<Value> {
        match write {
            InBatch::Behind(command) => self.write_behind(ctx, module, at, command),
            InBatch::Through(write) => self.change_cache(ctx, module, at, *write),
        }
    }

    /// One that has an entry. `None`: its row is read before.
    fn write_behind(
        &self,
        ctx: &Writable,
        module: &Module,
        at: usize,
        command: behind::Command,
    ) -> Option<Value> {
        let key = command.target().clone();
        let is_first = !self.progress().flying_behind.contains_key(&key);
        let command = match is_first {
            true => match behind::at_once(ctx, module, command) {
                Ok(reply) => return Some(reply),
                Err(command) => command,
            },
            false => command,
        };
        self.progress().flies(Some(&key));
        let part = Box::new(Part { writes: self.clone(), at, behind: Some(key) });
        behind::in_line(module, command, part);
        None
    }

    /// One that changes the cache only, of a mapping that is written behind. `None`: it stands behind others.
    fn change_cache(
        &self,
        ctx: &Writable,
        module: &Module,
        at: usize,
        write: Prepared,
    ) -> Option<Value> {
        let Some(cache) = &write.write.cache else { return self.submit(module, at, write) };
        if pending().has(&write.target) {
            return self.submit(module, at, write);
        }
        negative::end(&write.target);
        let value = module.apply(|| cache_only::run(ctx, &write.target, cache, &write.write.reply));
        if let Some(acknowledgement) = write.acknowledgement {
            acknowledgement.send(ctx, module, &value);
        }
        Some(value)
    }

    fn leave_the_rest(&self, why: &Value) {
        let rest = std::mem::take(&mut self.progress().rest);
        rest.into_iter().for_each(|waiting| self.replies.reply(waiting.at, why.clone()));
    }
}

/// The next ones of these are sent in the next turn of the event loop.
fn later(writes: &Writes) {
    let mut later = LATER.get();
    // While there are any, a timer is set.
    if later.is_empty() {
        ffi::timer(Duration::ZERO, go_on);
    }
    if !later.iter().any(|known| Arc::ptr_eq(&known.progress, &writes.progress)) {
        later.push(writes.clone());
    }
}

/// The timer.
fn go_on(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let gate = match ctx.writable() {
        Err(Closed::Paused) => return ffi::timer(ASK_AGAIN, go_on),
        gate => gate,
    };
    let all = std::mem::take(&mut *LATER.get());
    ctx.select(module.config.db);
    for writes in all {
        match &gate {
            _ if !writes.replies.has_client() => {
                writes.leave_the_rest(&Value::error(CLIENT_GONE));
            }
            Ok(ctx) => writes.send(Some(ctx), module),
            Err(closed) => writes.leave_the_rest(&(*closed).into()),
        }
        writes.replies.answer_when_complete(Value::List);
    }
}

/// Runs the command. `None`: the client is blocked.
pub fn run(ctx: &Writable, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    let commands = match nested::ranges(args.len(), 1, |at| args.get(at)) {
        Ok(commands) => commands,
        Err(problem) => return Some(refuse(module, &Failure::Input(problem))),
    };
    let (mut rest, mut refused) = (VecDeque::new(), Vec::new());
    let (mut spans, mut at) = (Vec::with_capacity(commands.len()), 0);
    for range in commands {
        match part::prepare_in_batch(ctx, module, args.part(range)) {
            Ok(writes) => {
                spans.push(writes.len());
                rest.extend((at..).zip(writes).map(|(at, write)| Waiting { at, write }));
            }
            Err(reply) => {
                spans.push(1);
                refused.push((at, reply));
            }
        }
        at += spans.last().copied().unwrap_or(0);
    }
    let replies = Collected::new(spans);
    refused.into_iter().for_each(|(at, reply)| replies.reply(at, reply));
    if replies.is_complete() {
        return Some(Value::List(replies.take()));
    }
    let targets: Vec<Vec<u8>> =
        rest.iter().map(|waiting| waiting.write.target().to_vec()).collect();
    let client = ctx.block();
    let limit = if client.is_some() { Limit::Timeout } else { Limit::SyncTimeout };
    let progress = Arc::new(Mutex::new(Progress { rest, ..Progress::default() }));
    let writes = Writes { replies, progress, limit };
    let Some(client) = client else {
        writes.send(Some(ctx), module);
        writes.replies.wait(ctx, module, &targets);
        return Some(Value::List(writes.replies.take()));
    };
    // It is told when it goes, also while none of its writes is on its way.
    client.waits_for(pending().next_id(), abandon);
    writes.replies.belong_to(client);
    writes.send(Some(ctx), module);
    // All may be done, or there may have been room for none of them.
    writes.replies.answer_when_complete(Value::List);
    None
}
