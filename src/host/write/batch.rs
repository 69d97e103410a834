//! WT.BATCH: many writes in one command, each for itself. They share statements as those of many clients do,
//! and the reply has one element for each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::admit::{self, not_ready, refuse};
use super::collected::Collected;
use super::part::{self, Prepared};
use super::submit::submit;
use super::waiter::{Completed, Waiter};
use crate::command::nested;
use crate::config::limits::Limit;
use crate::engine::JobId;
use crate::host::ffi::{Args, Value, Writable};
use crate::host::module::{module, Module};
use crate::model::failure::Failure;

/// Writes of one command that are on their way at once, at most: others are not held up by the rest.
const AT_ONCE: usize = 2048;

/// A write that is not sent yet, and its place in the reply.
struct Waiting {
    at: usize,
    write: Prepared,
}

/// Those that are not sent yet, in order.
type Rest = Arc<Mutex<VecDeque<Waiting>>>;

fn lock(rest: &Rest) -> MutexGuard<'_, VecDeque<Waiting>> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writes of one command.
#[derive(Clone)]
struct Writes {
    replies: Collected,
    rest: Rest,
    limit: Limit,
}

/// One of them, on its way.
struct Part {
    writes: Writes,
    at: usize,
}

impl Waiter for Part {
    fn limit(&self) -> Option<Limit> {
        Some(self.writes.limit)
    }

    fn waits_for(&self, write: JobId, left: fn(&[JobId])) {
        self.writes.replies.waits_for(write, self.at, left);
    }

    fn completed(self: Box<Self>, _: Option<&Writable>, completed: Completed) {
        let Part { writes, at } = *self;
        writes.replies.reply(at, completed.value);
        match module() {
            Some(module) if writes.replies.has_client() => writes.send(module, 1),
            // Of a client that has gone nothing more is sent.
            _ => writes.leave_the_rest(),
        }
        writes.replies.answer_when_complete(Value::List);
    }
}

impl Writes {
    /// Sends so many of those that wait. Where there is no room for one, its reply says so.
    fn send(&self, module: &Module, count: usize) {
        let mut sent = 0;
        while sent < count {
            let Some(Waiting { at, write }) = lock(&self.rest).pop_front() else { return };
            if let Err(failure) = admit::room_for(module, 1) {
                self.replies.reply(at, refuse(module, &failure));
                continue;
            }
            let Prepared { mapping, target, write, acknowledgement, .. } = write;
            let part = Box::new(Part { writes: self.clone(), at });
            submit(module, &mapping, &target, write, part, acknowledgement);
            sent += 1;
        }
    }

    fn leave_the_rest(&self) {
        let rest = std::mem::take(&mut *lock(&self.rest));
        let gone = || Value::error("ERR writethrough: the client has gone");
        rest.into_iter().for_each(|waiting| self.replies.reply(waiting.at, gone()));
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
        match part::prepare(ctx, module, args.part(range)) {
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
    let targets: Vec<Vec<u8>> = rest.iter().map(|waiting| waiting.write.target.clone()).collect();
    let client = ctx.block();
    let limit = if client.is_some() { Limit::Timeout } else { Limit::SyncTimeout };
    let writes = Writes { replies, rest: Arc::new(Mutex::new(rest)), limit };
    let Some(client) = client else {
        writes.send(module, usize::MAX);
        writes.replies.wait(ctx, module, &targets);
        return Some(Value::List(writes.replies.take()));
    };
    writes.replies.belong_to(client);
    writes.send(module, AT_ONCE);
    // There may have been room for none of them.
    writes.replies.answer_when_complete(Value::List);
    None
}
