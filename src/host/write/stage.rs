//! A staged key is written: by the client's own command, with the client's rights. The keyspace
//! notification is what stages the change.

use std::ffi::CStr;

use super::field_names;
use super::server_errors::no_permission;
use crate::host::ffi::{Args, Str, Value, Writable};
use crate::host::module::{MainThread, Module};
use crate::model::mapping::Mapping;

/// Bytes; keys are shorter.
const KEPT: usize = 4096;

/// The staged key that a command of ours is writing. The buffer is kept from write to write, unless
/// it has grown past [`KEPT`].
#[derive(Default)]
struct Staging {
    key: Vec<u8>,
    staged: bool,
}

static STAGING: MainThread<Staging> = MainThread::new();

/// A key has changed. True when it is the one that a command of ours is writing: the change is
/// staged.
pub fn notice(key: &[u8]) -> bool {
    let mut staging = STAGING.get();
    let is_it = staging.key == key;
    staging.staged |= is_it;
    is_it
}

/// Runs `command` while the keyspace handler expects a change of `key`. The second value: it came.
pub fn staging<T>(key: &[u8], command: impl FnOnce() -> T) -> (T, bool) {
    {
        let mut staging = STAGING.get();
        staging.staged = false;
        staging.key.clear();
        staging.key.extend_from_slice(key);
    }
    let result = command();
    let mut staging = STAGING.get();
    staging.key.clear();
    staging.key.shrink_to(KEPT);
    (result, std::mem::take(&mut staging.staged))
}

/// Stages the key's fields, too: such a staged hash is the row, to be renamed and no more.
pub fn stage_with_key(
    ctx: &Writable,
    module: &Module,
    args: Args,
    plain: &CStr,
    mapping: &Mapping,
    id: &[u8],
) -> Result<Value, Value> {
    let fields = field_names::of(mapping);
    let parts: Vec<Str> = id.splitn(mapping.key_len, |&b| b == b':').map(Str::new).collect();
    let key = fields.iter().zip(&parts).filter_map(|(field, part)| Some([field.as_ref()?, part]));
    let key: Vec<&Str> = key.flatten().collect();
    stage(ctx, module, args, plain, &key)
}

/// Runs the client's own command on the staged key, with Redis' own checks of its arguments, and with
/// `more` fields and values. Returns the command's reply on the staged key, or the error: then nothing
/// has changed.
pub fn stage(
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
    let (reply, mut noticed) = staging(args.get(1), || ctx.call_as_user(plain, args, more));
    if let Some(refusal) = reply.refusal() {
        return Err(refusal);
    }
    // HDEL finds nothing to delete, or leaves nothing.
    if plain == c"HDEL" {
        noticed = mark(ctx, args.get(1), plain);
    }
    match noticed {
        true => Ok(reply.value()),
        false => Err(Value::error("ERR writethrough: the server announced no change of the key")),
    }
}

/// Makes a staged key that says what is on its way, for commands that leave none.
pub fn mark(ctx: &Writable, key: &[u8], plain: &CStr) -> bool {
    let args = [Str::new(key), Str::new(b"#"), Str::new(plain.to_bytes())];
    let (reply, noticed) = staging(key, || ctx.call(c"HSET", &args.each_ref()));
    reply.error().is_none() && noticed
}
