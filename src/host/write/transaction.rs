//! WT.TRANSACTION: several writes that are one transaction of the database's. WT.ONCE: one of these, or a
//! single write, that is done once, however often it is sent.

use std::ffi::{c_int, CStr};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::admit::{self, not_ready, refuse};
use super::collected::Collected;
use super::once;
use super::part::{self, Prepared};
use super::stage::unstage;
use super::submit::submit_together;
use super::waiter::{Completed, Waiter};
use crate::command::nested;
use crate::config::limits::Limit;
use crate::engine::{JobId, Transaction};
use crate::host::ffi::{Args, Command, KeySpec, Run, Value, Writable};
use crate::host::module::{module, Module};
use crate::model::failure::Failure;
use crate::model::key::Bare;

/// The command.
pub struct WtTransaction;

impl Command for WtTransaction {
    const NAME: &'static CStr = c"wt.transaction";
    const SUMMARY: &'static CStr = c"Writes of several rows that are one transaction in PostgreSQL";
    const FLAGS: &'static CStr = c"write deny-oom getkeys-api";
    const CATEGORIES: &'static CStr = c"write hash slow";
    const ARITY: c_int = -4;
    const KEYS: &'static [KeySpec] = &[];
    const FIND_KEYS: Option<fn(Args) -> Vec<usize>> = Some(keys);
    const RUN: Run = Run::Write(run);
}

fn keys(args: Args) -> Vec<usize> {
    let commands = nested::ranges(args.len(), 1, |at| args.get(at)).unwrap_or_default();
    nested::keys(&commands)
}

fn run(ctx: &Writable, args: Args) -> Option<Value> {
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
    let prepared = match prepare(ctx, module, args, commands, is_list) {
        Ok(prepared) => prepared,
        Err(refusal) => return Some(refusal),
    };
    let targets: Vec<Vec<u8>> = prepared.iter().map(|write| write.target.clone()).collect();
    let once = match once.map(|of| once::of(module, args, &prepared, &of)).transpose() {
        Ok(once) => once,
        Err(failure) => {
            unstage(ctx, module, &targets);
            return Some(refuse(module, &failure));
        }
    };
    let client = ctx.block();
    let limit = if client.is_some() { Limit::Timeout } else { Limit::SyncTimeout };
    let key = |command: &Range<usize>| args.get(command.start + 1).to_vec();
    let all = Arc::new(All {
        replies: Collected::new(prepared.len()),
        keys: commands.iter().map(key).collect(),
        transaction: Transaction::new(super::pending::pending().next_id(), once),
        is_list,
        limit,
        error: Mutex::default(),
    });
    let is_blocked = client.is_some();
    if let Some(client) = client {
        all.replies.belong_to(client);
    }
    let part = |(at, write)| (write, Box::new(Part { all: all.clone(), at }) as Box<dyn Waiter>);
    submit_together(module, &all.transaction, prepared.into_iter().enumerate().map(part));
    if is_blocked {
        return None;
    }
    all.replies.wait(ctx, module, &targets);
    Some(all.reply(all.replies.take()))
}

/// All commands, ready to be sent; or what the client reads, and nothing is staged.
fn prepare(
    ctx: &Writable,
    module: &Module,
    args: Args,
    commands: &[Range<usize>],
    is_list: bool,
) -> Result<Vec<Prepared>, Value> {
    admit::room_for(module, commands.len()).map_err(|failure| refuse(module, &failure))?;
    let mut prepared: Vec<Prepared> = Vec::with_capacity(commands.len());
    for (at, range) in commands.iter().enumerate() {
        let write = part::prepare_in_transaction(ctx, module, args.part(range.clone()));
        match write {
            Ok(write) => part::push(&mut prepared, write),
            Err(refusal) => {
                let targets: Vec<_> = prepared.into_iter().map(|write| write.target).collect();
                unstage(ctx, module, &targets);
                let key = args.part(range.clone()).from(1).next().unwrap_or_default();
                return Err(if is_list { named(refusal, at, key) } else { refusal });
            }
        }
    }
    Ok(prepared)
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
    /// The key of each, as the client has given it.
    keys: Vec<Vec<u8>>,
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
                named(value, at, &self.keys[at])
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
