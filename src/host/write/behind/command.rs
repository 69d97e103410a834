//! A write that is answered when Redis has it: its entry and the change of the hash, in one unit for the
//! append-only file and replicas.

use std::sync::Arc;

use super::queues::QUEUES;
use super::unread::Unread;
use super::{attach, change, known};
use crate::command::entry::{self, Op};
use crate::command::{Reply, Write};
use crate::config::limits::Limit;
use crate::engine::JobId;
use crate::host::ffi::{Args, Closed, Kind, Str, Value, Writable};
use crate::host::module::{module, Module};
use crate::host::write::admit::{self, refuse};
use crate::host::write::pending::pending;
use crate::host::write::submit::submit;
use crate::host::write::synchronous;
use crate::host::write::waiter::{Completed, Waiter};
use crate::model::action::Action;
use crate::model::change::Change;
use crate::model::entry_id::EntryId;
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;

/// A command on one row.
pub struct Command {
    pub(super) mapping: Arc<Mapping>,
    pub(super) target: Arc<[u8]>,
    /// The same, as the server's string.
    pub(super) key: Str,
    pub(super) op: Op,
    /// The arguments behind the key, of which an entry has pairs.
    pub(super) words: Vec<Str>,
    /// What they do to the row.
    action: Action,
    /// Where its acknowledgement goes.
    uuid: Vec<u8>,
    /// It is answered `OK`.
    pub(super) is_done: bool,
    /// It changes a field that is kept in Redis only.
    pub(super) is_kept: bool,
}

impl Command {
    /// Of a client's arguments; `write` is what they say of the row.
    pub fn of(mapping: &Arc<Mapping>, target: &[u8], op: Op, args: Args, write: Write) -> Command {
        let words = match op {
            Op::Erase => {
                let no_value = Str::new(b"");
                args.share(2).flat_map(|field| [field, no_value.share()]).collect()
            }
            _ => args.share(2).collect(),
        };
        let replaces = matches!(write.action, Action::Replace(_));
        Command {
            mapping: mapping.clone(),
            target: target.into(),
            key: Str::new(target),
            op: if replaces { Op::Replace } else { op },
            words,
            is_done: op == Op::Set && write.reply == Reply::Done,
            is_kept: write.kept_change.is_some(),
            action: write.action,
            uuid: write.uuid,
        }
    }

    /// A hash as a whole, all of whose fields are set; `write` is what they say of the row.
    pub fn whole(mapping: &Arc<Mapping>, target: &[u8], fields: Vec<Str>, write: Write) -> Command {
        let (op, action, uuid) = (Op::Set, write.action, write.uuid);
        Command { op, words: fields, action, uuid, ..Command::delete(mapping, target) }
    }

    /// The deletion of a row.
    pub fn delete(mapping: &Arc<Mapping>, target: &[u8]) -> Command {
        Command {
            mapping: mapping.clone(),
            target: target.into(),
            key: Str::new(target),
            op: Op::Delete,
            words: Vec::new(),
            action: Action::Delete,
            uuid: Vec::new(),
            is_done: false,
            is_kept: false,
        }
    }

    /// The final key.
    pub fn target(&self) -> &Arc<[u8]> {
        &self.target
    }

    /// The id of its row.
    pub(super) fn id(&self) -> &[u8] {
        &self.target[self.mapping.name.len() + 1..]
    }

    /// It does the same whatever the row holds, or that is known, with what the key holds.
    fn is_certain(&self, kind: Kind) -> bool {
        let is_known = match kind {
            Kind::Hash => true,
            Kind::Empty => self.op == Op::Replace || known::is_deleted(&self.target),
            Kind::Other => false,
        };
        is_known && !is_behind_writes(&self.target, &self.mapping.name)
    }

    /// It sets each column but the key's.
    pub(super) fn sets_all(&self) -> bool {
        match &self.action {
            Action::Upsert(sets) | Action::Replace(sets) => sets.len() == self.mapping.value_len(),
            _ => false,
        }
    }

    /// What its entry says.
    fn parsed(&self) -> Result<(Action, Vec<u8>), String> {
        let head = [self.op.marker(), self.id()];
        let fields: Vec<&[u8]> =
            head.into_iter().chain(self.words.iter().map(Str::as_bytes)).collect();
        entry::parse(&self.mapping, &fields).map(|write| (write.action, write.uuid))
    }

    /// It is queued: what the thread gets. `None`: that is told by the stream alone.
    pub(super) fn entry(self, id: EntryId) -> Option<Unread> {
        if self.is_kept {
            return None;
        }
        // After a restart the entry is all that is left.
        debug_assert_eq!(self.parsed(), Ok((self.action.clone(), self.uuid.clone())));
        let Command { mapping, target, action, uuid, .. } = self;
        let change = Ok(Change::of(&mapping, target.clone(), action));
        Some(Unread { id, target, uuid, change })
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
    (mapping, target, write): (&Arc<Mapping>, &[u8], Write),
) -> Option<Value> {
    let command = Command::of(mapping, target, op, args, write);
    let command = match at_once(ctx, module, command) {
        Ok(value) => return Some(value),
        Err(command) => command,
    };
    match ctx.block() {
        Some(client) => {
            in_line(module, command, Box::new(client));
            None
        }
        None => Some(wait(ctx, module, command)),
    }
}

/// Deletes a row. Whoever waits is told.
pub fn delete(ctx: &Writable, module: &Module, command: Command, waiter: Box<dyn Waiter>) {
    let target = command.target.clone();
    let value = match at_once(ctx, module, command) {
        Ok(value) => value,
        Err(command) => return in_line(module, command, waiter),
    };
    let key = &target;
    waiter.completed(Some(ctx), Completed { write: 0, key, value, failure: None, loaded: None });
}

/// The same where the server waits.
pub fn run_and_wait(ctx: &Writable, module: &Module, command: Command) -> Value {
    at_once(ctx, module, command).unwrap_or_else(|command| wait(ctx, module, command))
}

/// Does it, or refuses it. Where its row has to be read before, the command comes back.
pub fn at_once(ctx: &Writable, module: &Module, command: Command) -> Result<Value, Command> {
    if let Err(failure) = room(module, &command.mapping.name) {
        return Ok(refuse(module, &failure));
    }
    let kind = ctx.open(&command.key).kind();
    if !command.is_certain(kind) {
        // Entries of the row may be where its queue is.
        if attach::is_elsewhere(&command.target) {
            return Ok(attach::elsewhere());
        }
        return match admit::ready(module) {
            Ok(()) => Err(command),
            Err(failure) => Ok(refuse(module, &failure)),
        };
    }
    let value = change::apply(ctx, module, command, kind, true);
    if !matches!(value, Value::Error(_)) {
        module.count(None, None);
    }
    Ok(value)
}

/// There is room for one more entry.
fn room(module: &Module, name: &str) -> Result<(), Failure> {
    let most = module.shared.limits.get(Limit::BehindMax);
    let entries = QUEUES.get().get(name.as_bytes()).map_or(0, |queues| queues.sums.entries.get());
    match entries >= most {
        true => Err(Failure::Behind(entries as usize)),
        false => Ok(()),
    }
}

/// Runs the command when its row is read, behind what stands in the key's line.
pub fn in_line(module: &Module, command: Command, waiter: Box<dyn Waiter>) {
    read_first(module, command, waiter, 0);
}

/// Reads the row, in the key's line; then the command is run.
fn read_first(module: &Module, command: Command, waiter: Box<dyn Waiter>, tries: u32) {
    let (mapping, target) = (command.mapping.clone(), command.target.clone());
    let late = Box::new(Late { command, waiter, tries });
    submit(module, &mapping, &target, Write::read(Reply::Found), late, None);
}

/// The server waits for the row.
fn wait(ctx: &Writable, module: &Module, command: Command) -> Value {
    let (mapping, target) = (&command.mapping, &command.target);
    let read = || Write::read(Reply::Found);
    let mut found = synchronous::wait(ctx, module, mapping, target, read(), None);
    let mut kind = ctx.open(&command.key).kind();
    if found == Value::Integer(1) && kind != Kind::Hash {
        // It has gone again; or the row has no value, so that there is no hash.
        found = synchronous::wait(ctx, module, mapping, target, read(), None);
        kind = ctx.open(&command.key).kind();
    }
    match found {
        Value::Integer(found) => change::apply(ctx, module, command, kind, found != 0),
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
                let kind = ctx.open(&command.key).kind();
                // It has gone again; or the row has no value, so that there is no hash.
                if *found != 0 && kind != Kind::Hash && tries < 2 {
                    return read_first(module, command, waiter, tries + 1);
                }
                change::apply(ctx, module, command, kind, *found != 0)
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
