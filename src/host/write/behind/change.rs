//! The two halves of a write: its entry, and the change of the hash.

use super::command::Command;
use super::queue::{self, Queue, QUEUES};
use super::{attach, stream};
use crate::command::entry::Op;
use crate::host::ffi::{Str, Value, Writable};
use crate::host::module::Module;
use crate::host::write::{field_names, merge};
use crate::model::entry_id::EntryId;
use crate::model::key;

/// Adds the entry. Where the stream is gone, another one is made.
pub fn add(ctx: &Writable, module: &Module, command: &Command) -> Result<(Str, EntryId), Value> {
    let name = &command.mapping.name;
    let (marker, id) = (Str::new(command.op.marker()), Str::new(command.id()));
    let marker = if command.is_kept { Str::new(Op::Set.marker()) } else { marker };
    let mut words = vec![&marker, &id];
    if !command.is_kept {
        words.extend(&command.words);
    }
    for _ in 0..2 {
        attach::make_ours(ctx, module, name)?;
        let stream = QUEUES.get().get(name.as_bytes()).map(Queue::stream);
        let Some(stream) = stream else { continue };
        if let Some(id) = stream::add(ctx, &stream, &words)? {
            return Ok((stream, id));
        }
        queue::emptied(module, Some(name.as_bytes()));
    }
    Err(Value::error("ERR writethrough: the queue's stream can't be made"))
}

/// Runs the command on the hash. An error when it is refused: nothing has changed.
pub fn run(ctx: &Writable, command: &Command, key: &Str, is_new: bool) -> Result<Value, Value> {
    let Command { mapping, op, words, .. } = command;
    let mut args = vec![key];
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
