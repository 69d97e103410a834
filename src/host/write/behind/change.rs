//! The two halves of a write: its entry, and the change of the hash.

use super::command::Command;
use super::place::slot_of;
use super::queues::{self, QUEUES};
use super::{attach, drain, known, stream};
use crate::command::entry::Op;
use crate::host::ffi::{Kind, Str, Value, Writable};
use crate::host::module::{negative, Module};
use crate::host::write::pending::pending;
use crate::host::write::{field_names, merge};
use crate::model::entry_id::EntryId;
use crate::model::key;

/// Adds the entry and changes the hash. `has_row`: where there is no hash, whether there is a row all the same.
pub fn apply(
    ctx: &Writable,
    module: &Module,
    command: Command,
    kind: Kind,
    has_row: bool,
) -> Value {
    let (target, op, is_new) = (command.target.clone(), command.op, kind != Kind::Hash);
    let has_row = !is_new || (has_row && !known::is_deleted(&target));
    match op {
        Op::Erase | Op::Delete if !has_row => return Value::Integer(0),
        Op::Erase if is_new => return Value::Integer(0),
        Op::SetNx if !is_new && ctx.open(&command.key).has(&command.words[0]) => {
            return Value::Integer(0)
        }
        _ => {}
    }
    let changed = module.apply(|| {
        // A field that Redis alone keeps needs its row, and no more.
        let added = match command.is_kept && !is_new {
            true => None,
            false => Some(add(ctx, module, &command)?),
        };
        let undo = |value: Value| {
            if let Some((stream, id)) = &added {
                stream::delete(ctx, stream, *id);
            }
            value
        };
        let value = run(ctx, &command, is_new).map_err(undo)?;
        if op == Op::Erase && value == Value::Integer(0) {
            return Err(undo(value));
        }
        Ok((value, added.map(|(_, id)| id)))
    });
    let (value, id) = match changed {
        Ok(changed) => changed,
        Err(value) => return value,
    };
    if let Some(id) = id {
        let (slot, mut all) = (slot_of(&target), QUEUES.get());
        if let Some(queues) = all.get_mut(command.mapping.name.as_bytes()) {
            if let Some(queue) = queues.by_slot.get_mut(&slot) {
                let entries = queue.add(&target);
                (entries.is_deleted, entries.is_shown) = (op == Op::Delete, command.sets_all());
            }
            queues.added(slot, id, command.entry(id));
        }
    }
    // What is being read of the row is older.
    pending().evicted(&target);
    negative::end(&target);
    drain::soon();
    value
}

/// Adds the entry. Where the stream is gone, another one is made.
fn add(ctx: &Writable, module: &Module, command: &Command) -> Result<(Str, EntryId), Value> {
    let name = &command.mapping.name;
    let op = if command.is_kept { Op::Set } else { command.op };
    let (marker, id) = (Str::new(op.marker()), Str::new(command.id()));
    let mut words = vec![&marker, &id];
    if !command.is_kept {
        words.extend(&command.words);
    }
    let slot = slot_of(&command.target);
    for _ in 0..2 {
        let stream = attach::make_ours(ctx, module, name, slot)?;
        if let Some(id) = stream::add(ctx, &stream, &words)? {
            return Ok((stream, id));
        }
        queues::lost(module, name, slot);
    }
    Err(Value::error("ERR writethrough: the queue's stream can't be made"))
}

/// Runs the command on the hash. An error when it is refused: nothing has changed.
fn run(ctx: &Writable, command: &Command, is_new: bool) -> Result<Value, Value> {
    let Command { mapping, key, op, words, .. } = command;
    let mut args = Vec::with_capacity(1 + words.len());
    args.push(key);
    match op {
        Op::Set | Op::Replace => {
            // rgsync's operation is no field.
            let is_field =
                |pair: &&[Str]| pair[0].as_bytes() != b"#" || mapping.column_of(b"#", 0).is_some();
            args.extend(words.chunks_exact(2).filter(is_field).flatten());
        }
        Op::Erase => args.extend(words.iter().step_by(2)),
        Op::SetNx | Op::Add | Op::AddFloat => args.extend(words),
        Op::Delete => {}
    }
    let value = match args.len() {
        1 if *op != Op::Delete => Value::Integer(0),
        _ => {
            let reply = ctx.call(op.command(), &args);
            match reply.refusal() {
                Some(refusal) => return Err(refusal),
                None => reply.value(),
            }
        }
    };
    if matches!(op, Op::Delete) {
        return Ok(Value::Integer(1));
    }
    if is_new && *op != Op::Erase {
        let names = field_names::of(mapping);
        let parts = key::id_parts(command.id(), mapping.key_len).unwrap_or_default();
        let parts: Vec<Str> = parts.into_iter().map(Str::new).collect();
        let pairs =
            names.iter().zip(&parts).filter_map(|(name, part)| Some([name.as_ref()?, part]));
        let pairs: Vec<&Str> = std::iter::once(key).chain(pairs.flatten()).collect();
        if pairs.len() > 1 {
            ctx.call(c"HSET", &pairs);
        }
    }
    merge::expire(ctx, key, mapping);
    Ok(if command.is_done { Value::OK } else { value })
}
