//! A write takes off: checked, staged, and sent to the workers.

use std::ffi::CStr;

use super::acknowledge::Acknowledgement;
use super::admit::{self, not_ready, refuse};
use super::cache_only;
use super::misspelt;
use super::pending;
use super::rights;
use crate::command::{self, Reply, Write};
use crate::host::ffi::Value;
use crate::host::ffi::{Args, Ctx, Kind, Str, Writable};
use crate::host::module::state::{module, Module};
use crate::model::change::Action;
use crate::model::failure::Failure;
use crate::model::key::{self, Show};
use crate::model::mapping::Mapping;

/// What Redis says of a key of another type.
pub const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// Reads a command's arguments: the mapping, the id, all arguments.
type Parse = fn(&Mapping, &[u8], Args) -> Result<Write, String>;

/// `HSET` and `HMSET`.
pub fn hset(ctx: &Writable, args: Args, plain: &CStr) -> Option<Value> {
    if !args.len().is_multiple_of(2) {
        return Some(wrong_arity(plain));
    }
    run(ctx, args, plain, |mapping, id, args| command::hset(mapping, id, args.from(2)))
}

/// Redis' own words.
pub fn wrong_arity(plain: &CStr) -> Value {
    let name = plain.to_string_lossy().to_lowercase();
    Value::error(format!("ERR wrong number of arguments for '{name}' command"))
}

/// Any write of one staged key, `args[1]`. `plain` is the server's command.
pub fn run(ctx: &Writable, args: Args, plain: &CStr, parse: Parse) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    let admitted = admit::staged(ctx, module, args.get(1)).and_then(|(mapping, staged)| {
        let write = parse(&mapping, staged.id, args).map_err(Failure::Input)?;
        Ok((mapping, staged, write))
    });
    let (mapping, staged, mut write) = match admitted {
        Ok(admitted) => admitted,
        Err(failure) => {
            let refusal = refuse(module, &failure);
            return Some(acknowledge_refusal(ctx, module, args, plain, refusal));
        }
    };
    let acknowledgement = match admit_operation(ctx, args, plain, staged.target, &write) {
        Ok(acknowledgement) => acknowledgement,
        Err(refusal) => return Some(refusal),
    };
    if plain == c"HMSET" {
        write.reply = Reply::Done;
    } else if write.cache.is_some() {
        write.reply = Reply::Changed;
    }
    if ctx.open(&Str::new(staged.target)).kind() == Kind::Other {
        let refusal = Value::error(WRONG_TYPE);
        if let Some(acknowledgement) = acknowledgement {
            acknowledgement.send(ctx, module, &refusal);
        }
        return Some(refusal);
    }
    if let Some(cache) = &write.cache {
        // Behind the writes that are on their way to this key, or at once.
        if module.state().keys.contains_key(staged.target) {
            return pending::send(ctx, module, &mapping, staged.target, write, acknowledgement);
        }
        let value = module.apply(|| cache_only::run(ctx, staged.target, cache, &write.reply));
        if let Some(acknowledgement) = acknowledgement {
            acknowledgement.send(ctx, module, &value);
        }
        return Some(value);
    }
    let staged_reply = match sets_the_whole_row(&mapping, &write) {
        true => stage_with_key(ctx, module, args, plain, &mapping, staged.id),
        false => stage(ctx, module, args, plain, &[]),
    };
    match staged_reply {
        Err(refusal) => return Some(refusal),
        // The answer where there is no such field yet.
        Ok(Value::Integer(n)) if write.kept_change.is_some() => write.reply = Reply::Number(n),
        Ok(Value::Bytes(text)) if write.kept_change.is_some() => write.reply = Reply::Bytes(text),
        Ok(_) => {}
    }
    pending::send(ctx, module, &mapping, staged.target, write, acknowledgement)
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
    let args = args.strings(1);
    if !ctx.may_run(plain, &args) {
        return Err(no_permission(plain, args[0].as_bytes()));
    }
    rights::of_operation(ctx, args[0], target, write)?;
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
    let staged = key::parse(module.config.prefix.as_bytes(), args.get(1));
    let target = match staged {
        Ok(staged) => Some(staged.target),
        Err(key::NotStaged) => misspelt::target(module, args.get(1)),
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
    let values = mapping.columns.len() - mapping.key_len;
    matches!(&write.action, Action::Upsert(sets) if sets.len() == values)
}

/// Stages the key's fields, too: such a staged hash is the row, to be renamed and no more.
fn stage_with_key(
    ctx: &Writable,
    module: &Module,
    args: Args,
    plain: &CStr,
    mapping: &Mapping,
    id: &[u8],
) -> Result<Value, Value> {
    let fields = module.state().field_strings(mapping);
    let parts: Vec<Str> = id.splitn(mapping.key_len, |&b| b == b':').map(Str::new).collect();
    let key = fields.iter().zip(&parts).filter_map(|(field, part)| Some([field.as_ref()?, part]));
    let key: Vec<&Str> = key.flatten().collect();
    stage(ctx, module, args, plain, &key)
}

/// Runs the client's own command on the staged key, with the client's rights and Redis' own checks
/// of its arguments, and with `more` fields and values. The keyspace notification is what stages the
/// change. Returns the command's answer on the staged key, or the error: then nothing has changed.
fn stage(
    ctx: &Writable,
    module: &Module,
    args: Args,
    plain: &CStr,
    more: &[&Str],
) -> Result<Value, Value> {
    // These look at what is there, and what another write has staged is not what is there.
    let looks = plain == c"HINCRBY" || plain == c"HINCRBYFLOAT" || plain == c"HSETNX";
    if looks {
        let key = args.strings(1);
        if ctx.open(key[0]).has(key[1]) {
            if !ctx.may_run(plain, &key) {
                return Err(no_permission(plain, key[0].as_bytes()));
            }
            module.apply(|| {
                // Emptied, the key would be gone, and missing where its slot moves to another node.
                let sign = [key[0], &Str::new(b"#"), &Str::new(plain.to_bytes())];
                ctx.call(c"HSET", &sign);
                ctx.call(c"HDEL", &key[..2]);
            });
        }
    }
    let command = || ctx.call_as_user(plain, args, more);
    let (reply, mut noticed) = staging(module, args.get(1), command);
    if let Some(error) = reply.error() {
        return Err(Value::error(as_user_sees(error)));
    }
    // HDEL finds nothing to delete, or leaves nothing.
    if plain == c"HDEL" {
        noticed = mark(ctx, module, args.get(1), plain);
    }
    match noticed {
        true => Ok(reply.value()),
        false => Err(Value::error("ERR writethrough: the server announced no change of the key")),
    }
}

/// Makes a staged key that says what is on its way, for commands that leave none.
pub fn mark(ctx: &Writable, module: &Module, key: &[u8], plain: &CStr) -> bool {
    let args = [Str::new(key), Str::new(b"#"), Str::new(plain.to_bytes())];
    let mark = || ctx.call(c"HSET", &args.each_ref());
    let (reply, noticed) = staging(module, key, mark);
    reply.error().is_none() && noticed
}

/// Runs `command` while the keyspace handler expects a change of `key`. The second value: it came.
pub fn staging<T>(module: &Module, key: &[u8], command: impl FnOnce() -> T) -> (T, bool) {
    module.state().staging.begin(key);
    let result = command();
    (result, module.state().staging.end())
}

/// Redis 7.0 answers a call without rights in words of its own.
pub fn as_user_sees(error: &[u8]) -> Vec<u8> {
    const OLD: &[u8] = b"ERR acl verification failed, ";
    if is_elsewhere(error) {
        // What Redis says of keys that are neither here nor there; clients of a cluster know it.
        return b"TRYAGAIN the slot of this key is moving to another node".to_vec();
    }
    match error.strip_prefix(OLD) {
        Some(reason) => [b"NOPERM ", reason].concat(),
        None => error.to_vec(),
    }
}

/// True when the server refuses a call since the key's slot is another node's, or is moving.
pub fn is_elsewhere(error: &[u8]) -> bool {
    error.ends_with(b"Attempted to access a non local key in a cluster node")
}

/// What a user without the plain command's rights reads.
pub fn no_permission(plain: &CStr, key: &[u8]) -> Value {
    let name = plain.to_string_lossy().to_lowercase();
    Value::error(format!("NOPERM this user has no permissions to run '{name}' on {}", Show(key)))
}
