//! WT.TRANSACTION: several writes that are one transaction of the database's. WT.ONCE: one of these, or a
//! single write, that is done once, however often it is sent.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::admit::{self, not_ready, refuse};
use super::collected::Collected;
use super::once;
use super::part::{self, Prepared};
use super::pending::pending;
use super::stage::unstage;
use super::submit::submit_together;
use super::waiter::{Completed, Waiter};
use crate::command::nested;
use crate::config::limits::Limit;
use crate::engine::{JobId, Once, Transaction};
use crate::host::ffi::{Args, Blocked, Value, Writable};
use crate::host::module::{module, Module};
use crate::model::failure::Failure;
use crate::model::key::Bare;

/// Runs the command. `None`: the client is blocked.
pub fn run(ctx: &Writable, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    match commands(module, args, 1) {
        Ok(commands) => send(ctx, module, args, &commands, None),
        Err(failure) => Some(refuse(module, &failure)),
    }
}

/// Where the commands are. `first`: where their number is.
pub fn commands(module: &Module, args: Args, first: usize) -> Result<Vec<Range<usize>>, Failure> {
    let commands = nested::ranges(args.len(), first, |at| args.get(at)).map_err(Failure::Input)?;
    let most = module.shared.limits.get(Limit::TransactionMax);
    if commands.len() as u64 > most {
        return Err(Failure::Input(format!(
            "{} commands are more than transaction_max = {most}",
            commands.len()
        )));
    }
    Ok(commands)
}

/// What is done once, as its client sends it.
pub struct OnceArgs<'a> {
    /// The token.
    pub token: &'a [u8],
    /// The reply is an array.
    pub is_list: bool,
}

/// Sends the commands as one transaction. `None`: the client is blocked.
pub fn send(
    ctx: &Writable,
    module: &Module,
    args: Args,
    commands: &[Range<usize>],
    once: Option<OnceArgs>,
) -> Option<Value> {
    let is_list = once.as_ref().is_none_or(|once| once.is_list);
    let commands: Vec<Args> = commands.iter().map(|range| args.part(range.clone())).collect();
    let prepared = match prepare(ctx, module, &commands) {
        Ok(prepared) => prepared,
        Err((at, refusal)) if is_list => {
            let key = commands[at].from(1).next().unwrap_or_default();
            return Some(named(refusal, at, key));
        }
        Err((_, refusal)) => return Some(refusal),
    };
    let once = match once.map(|of| once::of(module, args, &prepared, &of)).transpose() {
        Ok(once) => once,
        Err(failure) => {
            unstage(ctx, module, prepared.targets());
            return Some(refuse(module, &failure));
        }
    };
    let client = ctx.block();
    let is_blocked = client.is_some();
    let targets: Vec<Vec<u8>> = prepared.targets().map(<[u8]>::to_vec).collect();
    let all = submit(module, prepared, &commands, (is_list, once), client);
    if is_blocked {
        return None;
    }
    all.replies.wait(ctx, module, &targets);
    Some(all.reply(all.replies.take()))
}

/// Runs the commands as one transaction, while the server waits. Returns the reply of each.
pub fn run_each(ctx: &Writable, module: &Module, commands: &[Args]) -> Vec<Value> {
    let prepared = match prepare(ctx, module, commands) {
        Ok(prepared) => prepared,
        Err((at, refusal)) => {
            let mut replies = vec![Value::from(&Failure::Aborted); commands.len()];
            replies[at] = refusal;
            return replies;
        }
    };
    let targets: Vec<Vec<u8>> = prepared.targets().map(<[u8]>::to_vec).collect();
    let all = submit(module, prepared, commands, (true, None), None);
    all.replies.wait(ctx, module, &targets);
    all.replies.take()
}

/// The commands of a transaction, ready to be sent.
pub struct Transacted {
    /// The writes of all, in order.
    pub writes: Vec<Prepared>,
    /// How many of them are each command's.
    pub spans: Vec<usize>,
}

impl Transacted {
    fn targets(&self) -> impl Iterator<Item = &[u8]> {
        self.writes.iter().map(|write| &write.target[..])
    }
}

/// All commands, ready to be sent; or the one that is refused, and what its client reads: then nothing is
/// staged.
fn prepare(
    ctx: &Writable,
    module: &Module,
    commands: &[Args],
) -> Result<Transacted, (usize, Value)> {
    let mut all = Transacted { writes: Vec::with_capacity(commands.len()), spans: Vec::new() };
    for (at, command) in commands.iter().enumerate() {
        let refusal = match part::prepare_in_transaction(ctx, module, *command) {
            Ok(writes) => {
                all.spans.push(writes.len());
                writes.into_iter().for_each(|write| part::push(&mut all.writes, write));
                continue;
            }
            Err(refusal) => refusal,
        };
        unstage(ctx, module, all.targets());
        return Err((at, refusal));
    }
    match admit::room_for(module, all.writes.len()) {
        Ok(()) => Ok(all),
        Err(failure) => {
            unstage(ctx, module, all.targets());
            Err((commands.len() - 1, refuse(module, &failure)))
        }
    }
}

fn submit(
    module: &Module,
    prepared: Transacted,
    commands: &[Args],
    (is_list, once): (bool, Option<Once>),
    client: Option<Blocked>,
) -> Arc<All> {
    let limit = if client.is_some() { Limit::Timeout } else { Limit::SyncTimeout };
    let Transacted { writes, spans } = prepared;
    let of = spans.iter().enumerate().flat_map(|(at, span)| {
        let keys = commands[at].from(1).take(*span);
        keys.map(move |key| (at, key.to_vec()))
    });
    let all = Arc::new(All {
        of: of.collect(),
        replies: Collected::new(spans),
        transaction: Transaction::new(pending().next_id(), once),
        is_list,
        limit,
        error: Mutex::default(),
    });
    if let Some(client) = client {
        all.replies.belong_to(client);
    }
    let part = |(at, write)| (write, Box::new(Part { all: all.clone(), at }) as Box<dyn Waiter>);
    submit_together(module, &all.transaction, writes.into_iter().enumerate().map(part));
    all
}

/// An error that says which command it is about.
fn named(error: Value, at: usize, key: &[u8]) -> Value {
    match error {
        Value::Error(text) => {
            let more = format!(" command={} key={}", at + 1, Bare(key));
            Value::error([text.to_bytes(), more.as_bytes()].concat())
        }
        other => other,
    }
}

/// The writes of one command.
struct All {
    replies: Collected,
    /// Of which command each is, and its key, as the client has given it.
    of: Vec<(usize, Vec<u8>)>,
    transaction: Arc<Transaction>,
    is_list: bool,
    limit: Limit,
    error: Mutex<Error>,
}

/// Why the transaction did nothing, or may have done nothing.
#[derive(Default)]
struct Error {
    /// The first one that is an error itself, and its place.
    first: Option<(usize, Value)>,
    /// Others did nothing because of it.
    is_of_one: bool,
}

impl All {
    /// What the client reads.
    fn reply(&self, replies: Vec<Value>) -> Value {
        if let Some(stored) = self.transaction.reply() {
            return once::decode(stored);
        }
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        match error.first.take() {
            Some((at, value)) if self.is_list && (error.is_of_one || replies.len() == 1) => {
                let (command, key) = &self.of[at];
                named(value, *command, key)
            }
            Some((_, value)) => value,
            None => match replies.iter().find(|reply| matches!(reply, Value::Error(_))) {
                Some(error) => error.clone(),
                None if self.is_list => Value::List(replies),
                None => replies.into_iter().next().unwrap_or(Value::OK),
            },
        }
    }
}

/// One of them, on its way.
struct Part {
    all: Arc<All>,
    at: usize,
}

impl Waiter for Part {
    fn limit(&self) -> Option<Limit> {
        Some(self.all.limit)
    }

    fn waits_for(&self, write: JobId, left: fn(&[JobId])) {
        self.all.replies.waits_for(write, self.at, left);
    }

    fn completed(self: Box<Self>, _: Option<&Writable>, completed: Completed) {
        let Part { all, at } = *self;
        {
            let mut error = all.error.lock().unwrap_or_else(PoisonError::into_inner);
            match completed.failure {
                Some(Failure::Aborted) => error.is_of_one = true,
                Some(_) => drop(error.first.get_or_insert((at, completed.value.clone()))),
                None => {}
            }
        }
        all.replies.reply(at, completed.value);
        all.replies.answer_when_complete(|replies| all.reply(replies));
    }
}
