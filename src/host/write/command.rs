//! A write takes off: checked, staged, and sent to the workers.

use std::ffi::CStr;
use std::sync::Arc;

use super::acknowledge::Acknowledgement;
use super::admit::{self, not_ready, refuse};
use super::parse::{self, Parse};
use super::pending::pending;
use super::plain::{self, Written};
use super::server_errors::{wrong_arity, WRONG_TYPE};
use super::stage::{stage, stage_plain, stage_with_key};
use super::submit::submit;
use super::{behind, cache_only, misspelt, replacement, rights, synchronous};
use crate::command::entry::Op;
use crate::command::{self, Reply, Staged, Write};
use crate::host::ffi::{Args, Ctx, Kind, Str, Value, Writable};
use crate::host::module::{module, Module};
use crate::model::action::Action;
use crate::model::failure::Failure;
use crate::model::key::{self, RowKey};
use crate::model::mapping::Mapping;

/// `HSET` and `HMSET`.
pub fn hset(ctx: &Writable, args: Args, plain: &CStr) -> Option<Value> {
    if !args.len().is_multiple_of(2) {
        return Some(wrong_arity(plain));
    }
    run(ctx, args, plain, parse::hset)
}

/// Any write of one row, whose key is `args[1]`. `plain` is the server's command.
pub fn run(ctx: &Writable, args: Args, plain: &CStr, parse: Parse) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    let written = plain::written(ctx, module, args.get(1));
    if written == Written::Elsewhere {
        return plain::run_elsewhere(ctx, plain, args);
    }
    // On a staged key the server itself asks for the user's rights, when it runs the command.
    let asks = matches!(written, Written::Plain(_));
    let (mapping, row, mut write, acknowledgement) =
        match understand(ctx, module, written, args, plain, (parse, asks)) {
            Ok(understood) => understood,
            Err(refusal) => return Some(refusal),
        };
    if (plain == c"HSET" || plain == c"HMSET") && replacement::ends(ctx, row.target) {
        write.replaces(&mapping);
    }
    let goes_behind = mapping.is_behind && write.cache.is_none();
    if let Some(op) = goes_behind.then(|| Op::of(plain)).flatten() {
        if let (false, Err(refusal)) = (asks, rights::of_command(ctx, plain, args)) {
            return Some(refusal);
        }
        let is_deletion = write.action == Action::Delete;
        let op = if is_deletion { Op::Delete } else { op };
        return behind::run(ctx, module, args, op, (&mapping, row.target, write));
    }
    if let Some(cache) = &write.cache {
        // Behind the writes that are on their way to this key, or at once.
        if pending().has(row.target) {
            return send(ctx, module, &mapping, row.target, write, acknowledgement);
        }
        let value = module.apply(|| cache_only::run(ctx, row.target, cache, &write.reply));
        if let Some(acknowledgement) = acknowledgement {
            acknowledgement.send(ctx, module, &value);
        }
        return Some(value);
    }
    write.staged = match written {
        Written::Staged if sets_the_whole_row(&mapping, &write) => Staged::Row,
        Written::Staged => Staged::Fields,
        Written::Plain(_) | Written::Elsewhere => Staged::Nothing,
    };
    let staged_reply = match write.staged {
        Staged::Nothing => stage_plain(ctx, module, args, plain, row.target, &write),
        Staged::Row => stage_with_key(ctx, module, args, plain, &mapping, row.id),
        Staged::Fields => stage(ctx, module, args, plain),
    };
    match staged_reply {
        Err(refusal) => return Some(refusal),
        Ok(reply) => answer_by_staged(&mut write, reply),
    }
    send(ctx, module, &mapping, row.target, write, acknowledgement)
}

/// A field that is kept in Redis only is answered as the staged key was, where there is no such field yet.
pub fn answer_by_staged(write: &mut Write, reply: Value) {
    match reply {
        _ if write.kept_change.is_none() => {}
        Value::Integer(n) => write.reply = Reply::Number(n),
        Value::Bytes(text) => write.reply = Reply::Bytes(text),
        _ => {}
    }
}

/// What a command does to which row, checked; or what its client reads.
pub fn understand<'a>(
    ctx: &Writable,
    module: &Module,
    written: Written,
    args: Args<'a>,
    plain: &CStr,
    (parse, asks_for_rights): (Parse, bool),
) -> Result<(Arc<Mapping>, RowKey<'a>, Write, Option<Acknowledgement>), Value> {
    let admitted = admit::row(ctx, module, written, args.get(1)).and_then(|(mapping, row)| {
        let write = parse(&mapping, row.id, args).map_err(Failure::Input)?;
        Ok((mapping, row, write))
    });
    let (mapping, row, mut write) = admitted.map_err(|failure| {
        let refusal = refuse(module, &failure);
        acknowledge_refusal(ctx, module, args, plain, refusal)
    })?;
    if asks_for_rights {
        rights::of_command(ctx, plain, args)?;
    }
    let acknowledgement = admit_operation(ctx, args, plain, row.target, &write)?;
    if plain == c"HMSET" {
        (write.command, write.reply) = ("HMSET", Reply::Done);
    } else if write.cache.is_some() {
        write.reply = Reply::Changed;
    }
    // DEL takes a key of any type.
    let is_removed = plain == c"DEL" || plain == c"UNLINK";
    if !is_removed && ctx.open(&Str::new(row.target)).kind() == Kind::Other {
        let refusal = Value::error(WRONG_TYPE);
        if let Some(acknowledgement) = acknowledgement {
            acknowledgement.send(ctx, module, &refusal);
        }
        return Err(refusal);
    }
    Ok((mapping, row, write, acknowledgement))
}

/// What the user needs rights for besides the staged command itself: rgsync's operation, and the
/// acknowledgement. An error is what the client reads.
fn admit_operation(
    ctx: &Ctx,
    args: Args,
    plain: &CStr,
    target: &[u8],
    write: &Write,
) -> Result<Option<Acknowledgement>, Value> {
    let is_operation = write.cache.is_some() || write.action == Action::Delete;
    if write.uuid.is_empty() && !is_operation {
        return Ok(None);
    }
    rights::of_command(ctx, plain, args)?;
    rights::of_operation(ctx, args.strings(1)[0], target, write)?;
    Acknowledgement::admit(ctx, target, &write.uuid)
}

/// Acknowledges a write that was refused before it was understood, where its client waits for that.
fn acknowledge_refusal(
    ctx: &Writable,
    module: &Module,
    args: Args,
    plain: &CStr,
    refusal: Value,
) -> Value {
    let uuid = match plain == c"HSET" || plain == c"HMSET" {
        true => command::uuid(args.from(2)),
        false => &[],
    };
    let name = args.get(1);
    let target = match key::parse(module.config.prefix.as_bytes(), name) {
        Ok(staged) => Some(staged.target),
        Err(key::NotStaged) => {
            let is_plain = module.catalog.plain_key(name).is_some();
            misspelt::target(module, name).or(is_plain.then_some(name))
        }
    };
    let is_ours = ctx.db() == module.config.db;
    if let (Some(target), true) = (target, is_ours && ctx.may_run(plain, &args.strings(1))) {
        if let Ok(Some(acknowledgement)) = Acknowledgement::admit(ctx, target, uuid) {
            acknowledgement.send(ctx, module, &refusal);
        }
    }
    refusal
}

/// True when the write sets every column but the key's.
fn sets_the_whole_row(mapping: &Mapping, write: &Write) -> bool {
    matches!(&write.action, Action::Upsert(sets) if sets.len() == mapping.value_len())
}

/// Sends a staged write to the workers. The client is blocked (`None`), or, where it can't be, the
/// server waits and answers.
fn send(
    ctx: &Writable,
    module: &Module,
    mapping: &Arc<Mapping>,
    target: &[u8],
    write: Write,
    acknowledgement: Option<Acknowledgement>,
) -> Option<Value> {
    match ctx.block() {
        Some(client) => {
            submit(module, mapping, target, write, Box::new(client), acknowledgement);
            None
        }
        None => Some(synchronous::wait(ctx, module, mapping, target, write, acknowledgement)),
    }
}
