//! A write that is answered when Redis has it: its entry and the change of the hash, in one unit for the
//! append-only file and replicas.

use std::sync::Arc;
use std::time::Instant;

use super::queue::QUEUES;
use super::{change, drain, queue, stream};
use crate::command::entry::Op;
use crate::command::{Reply, Write};
use crate::config::limits::Limit;
use crate::engine::JobId;
use crate::host::ffi::{Args, Closed, Kind, Str, Value, Writable};
use crate::host::module::{module, negative, Module};
use crate::host::write::admit::{self, refuse};
use crate::host::write::pending::pending;
use crate::host::write::submit::submit;
use crate::host::write::synchronous;
use crate::host::write::waiter::{Completed, Waiter};
use crate::model::action::Action;
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;

/// A command on one row.
pub struct Command {
    pub(super) mapping: Arc<Mapping>,
    pub(super) target: Vec<u8>,
    pub(super) op: Op,
    /// The arguments behind the key, of which an entry has pairs.
    pub(super) words: Vec<Str>,
    /// It is answered `OK`.
    pub(super) is_done: bool,
    /// It changes a field that is kept in Redis only.
    pub(super) is_kept: bool,
}

impl Command {
    /// Of a client's arguments; `write` is what they say of the row.
    fn of(mapping: &Arc<Mapping>, target: &[u8], op: Op, args: Args, write: &Write) -> Command {
        let mut words = Vec::with_capacity(args.len());
        match op {
            Op::Erase => {
                args.from(2).for_each(|field| words.extend([Str::new(field), Str::new(b"")]));
            }
            _ => words.extend(args.from(2).map(Str::new)),
        }
        let replaces = matches!(write.action, Action::Replace(_));
        Command {
            mapping: mapping.clone(),
            target: target.to_vec(),
            op: if replaces { Op::Replace } else { op },
            words,
            is_done: op == Op::Set && write.reply == Reply::Done,
            is_kept: write.kept_change.is_some(),
        }
    }

    /// The deletion of a row.
    pub fn delete(mapping: &Arc<Mapping>, target: &[u8]) -> Command {
        let (mapping, target, words) = (mapping.clone(), target.to_vec(), Vec::new());
        Command { mapping, target, op: Op::Delete, words, is_done: false, is_kept: false }
    }

    /// The id of its row.
    pub(super) fn id(&self) -> &[u8] {
        &self.target[self.mapping.name.len() + 1..]
    }

    /// It does the same whatever the row holds, or that is known.
    fn is_certain(&self, ctx: &Writable) -> bool {
        let kind = ctx.open(&Str::new(&self.target)).kind();
        let is_known = match kind {
            Kind::Hash => true,
            Kind::Empty => self.op == Op::Replace || queue::is_deleted(&self.target),
            Kind::Other => false,
        };
        is_known && !is_behind_writes(&self.target, &self.mapping.name)
    }
}

/// Writes of the key are on their way that were taken while the mapping was written through: they go before.
fn is_behind_writes(target: &[u8], name: &str) -> bool {
    let pending = pending();
    pending.has(target)
        && pending.jobs.values().any(|write| {
            !write.mapping.is_behind && !write.only_looks && write.mapping.name == name
        })
}

/// Runs a client's command. `None`: the client is blocked until the row is read.
pub fn run(
    ctx: &Writable,
    module: &Module,
    args: Args,
    op: Op,
    (mapping, target, write): (&Arc<Mapping>, &[u8], &Write),
) -> Option<Value> {
    let command = Command::of(mapping, target, op, args, write);
    if let Some(value) = at_once(ctx, module, &command) {
        count(module, &value);
        return Some(value);
    }
    if let Err(failure) = admit::ready(module) {
        return Some(refuse(module, &failure));
    }
    match ctx.block() {
        Some(client) => {
            read_first(module, command, Box::new(client), 0);
            None
        }
        None => Some(wait(ctx, module, &command)),
    }
}

/// Deletes a row. Whoever waits is told.
pub fn delete(ctx: &Writable, module: &Module, command: Command, waiter: Box<dyn Waiter>) {
    let Some(value) = at_once(ctx, module, &command) else {
        return read_first(module, command, waiter, 0);
    };
    count(module, &value);
    let key = &command.target;
    waiter.completed(Some(ctx), Completed { write: 0, key, value, failure: None, loaded: None });
}

/// The same where the server waits.
pub fn delete_and_wait(ctx: &Writable, module: &Module, command: &Command) -> Value {
    at_once(ctx, module, command).unwrap_or_else(|| wait(ctx, module, command))
}

/// Does it, or refuses it, where nothing has to be read before.
fn at_once(ctx: &Writable, module: &Module, command: &Command) -> Option<Value> {
    if let Err(failure) = room(module, &command.mapping.name) {
        return Some(refuse(module, &failure));
    }
    command.is_certain(ctx).then(|| apply(ctx, module, command, true))
}

/// Counts a write that was done.
fn count(module: &Module, value: &Value) {
    if !matches!(value, Value::Error(_)) {
        module.count(None, None);
    }
}

/// There is room for one more entry.
fn room(module: &Module, name: &str) -> Result<(), Failure> {
    let most = module.shared.limits.get(Limit::BehindMax);
    let entries = QUEUES.get().get(name.as_bytes()).map_or(0, |queue| queue.entries);
    match entries >= most {
        true => Err(Failure::Behind(entries as usize)),
        false => Ok(()),
    }
}

/// Reads the row, in the key's line; then the command is run.
fn read_first(module: &Module, command: Command, waiter: Box<dyn Waiter>, tries: u32) {
    let (mapping, target) = (command.mapping.clone(), command.target.clone());
    let late = Box::new(Late { command, waiter, tries });
    submit(module, &mapping, &target, Write::read(Reply::Found), late, None);
}

/// The server waits for the row.
fn wait(ctx: &Writable, module: &Module, command: &Command) -> Value {
    let (mapping, target) = (&command.mapping, &command.target);
    let read = || Write::read(Reply::Found);
    let mut found = synchronous::wait(ctx, module, mapping, target, read(), None);
    let is_hash = ctx.open(&Str::new(target)).kind() == Kind::Hash;
    if found == Value::Integer(1) && !is_hash {
        // It has gone again; or the row has no value, so that there is no hash.
        found = synchronous::wait(ctx, module, mapping, target, read(), None);
    }
    match found {
        Value::Integer(found) => apply(ctx, module, command, found != 0),
        refusal => refusal,
    }
}

/// A command that waits for its row.
struct Late {
    command: Command,
    waiter: Box<dyn Waiter>,
    tries: u32,
}

impl Waiter for Late {
    fn limit(&self) -> Option<Limit> {
        self.waiter.limit()
    }

    fn waits_for(&self, write: JobId, left: fn(&[JobId])) {
        self.waiter.waits_for(write, left);
    }

    fn completed(self: Box<Self>, writable: Option<&Writable>, completed: Completed) {
        let Late { command, waiter, tries } = *self;
        let value = match (&completed.value, writable, module()) {
            // Writes of the key that go through may be behind this one.
            (Value::Integer(_), Some(_), Some(module)) if !is_behind_now(module, &command) => {
                Value::error("WTBUSY the mapping is written through from now on; try again")
            }
            (Value::Integer(found), Some(ctx), Some(module)) => {
                let is_hash = ctx.open(&Str::new(&command.target)).kind() == Kind::Hash;
                // It has gone again; or the row has no value, so that there is no hash.
                if *found != 0 && !is_hash && tries < 2 {
                    return read_first(module, command, waiter, tries + 1);
                }
                apply(ctx, module, &command, *found != 0)
            }
            (Value::Integer(_), ..) => Value::from(Closed::Following),
            (refusal, ..) => refusal.clone(),
        };
        waiter.completed(writable, Completed { value, ..completed });
    }
}

fn is_behind_now(module: &Module, command: &Command) -> bool {
    let mappings = module.catalog.mappings();
    let name = command.mapping.name.as_bytes();
    mappings.is_ok_and(|mappings| mappings.get(name).is_some_and(|mapping| mapping.is_behind))
}

/// Adds the entry and changes the hash. `has_row`: where there is no hash, whether there is a row all the same.
fn apply(ctx: &Writable, module: &Module, command: &Command, has_row: bool) -> Value {
    let Command { mapping, target, op, words, .. } = command;
    let key = Str::new(target);
    let kind = ctx.open(&key).kind();
    let has_row = kind == Kind::Hash || (has_row && !queue::is_deleted(target));
    let is_new = kind != Kind::Hash;
    match op {
        Op::Erase | Op::Delete if !has_row => return Value::Integer(0),
        Op::Erase if is_new => return Value::Integer(0),
        Op::SetNx if !is_new && ctx.open(&key).has(&words[0]) => return Value::Integer(0),
        _ => {}
    }
    let changed = module.apply(|| {
        // A field that Redis alone keeps needs its row, and no more.
        let added = match command.is_kept && !is_new {
            true => None,
            false => Some(change::add(ctx, module, command)?),
        };
        let undo = |value: Value| {
            if let Some((stream, id)) = &added {
                stream::delete(ctx, stream, *id);
            }
            value
        };
        let value = change::run(ctx, command, &key, is_new).map_err(undo)?;
        if *op == Op::Erase && value == Value::Integer(0) {
            return Err(undo(value));
        }
        Ok((value, added.map(|(_, id)| id)))
    });
    let (value, id) = match changed {
        Ok(changed) => changed,
        Err(value) => return value,
    };
    if let Some(id) = id {
        let mut queues = QUEUES.get();
        if let Some(queue) = queues.get_mut(mapping.name.as_bytes()) {
            queue.add(target, *op == Op::Delete);
            if queue.entries == queue.sent.len() as u64 {
                queue.unread_since = Some(Instant::now());
            }
            queue.entries += 1;
            queue.last = id;
        }
    }
    // What is being read of the row is older.
    pending().evicted(target);
    negative::end(target);
    drain::soon();
    value
}
