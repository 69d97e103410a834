//! A staged key is written: by the client's own command, with the client's rights. The keyspace
//! notification is what stages the change.

use std::ffi::CStr;

use super::field_names;
use super::pending::pending;
use super::server_errors::{no_permission, NO_INTEGER};
use crate::command::Write;
use crate::host::ffi::{Args, Str, Value, Writable};
use crate::host::module::{MainThread, Module};
use crate::model::key;
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
    stage_by(ctx, module, plain, &args.strings(1), By::User(args, &key))
}

/// Runs the client's own command on the staged key, with Redis' own checks of its arguments. Returns the
/// command's reply on the staged key, or the error: then nothing has changed.
pub fn stage(ctx: &Writable, module: &Module, args: Args, plain: &CStr) -> Result<Value, Value> {
    stage_by(ctx, module, plain, &args.strings(1), By::User(args, &[]))
}

/// The same for a write of a plain key, by a client that may. Most leave no staged key: the arguments
/// are checked. But in a cluster the node that a slot moves to knows of a write on its way here by the
/// staged key only.
pub fn stage_plain(
    ctx: &Writable,
    module: &Module,
    args: Args,
    plain: &CStr,
    target: &[u8],
    write: &Write,
) -> Result<Value, Value> {
    let words = args.strings(1);
    if write.kept_change.is_some() || plain == c"HINCRBYFLOAT" {
        // What the server makes of the number is known when it has done it.
        let staged = staged(module, target);
        let words: Vec<&Str> = std::iter::once(&staged).chain(words.into_iter().skip(1)).collect();
        return stage_by(ctx, module, plain, &words, By::Module);
    }
    // The database may read a number in another way.
    if plain == c"HINCRBY" && !words[2].is_integer() {
        return Err(Value::error(NO_INTEGER));
    }
    note(ctx, module, target, plain);
    Ok(Value::OK)
}

/// With whose rights a staged key is written.
enum By<'a> {
    /// The client's, who has given these arguments; and these follow.
    User(Args<'a>, &'a [&'a Str]),
    /// The module's: the client has been asked for its rights to the plain key.
    Module,
}

/// `words`: the staged key, and the arguments behind it.
fn stage_by(
    ctx: &Writable,
    module: &Module,
    plain: &CStr,
    words: &[&Str],
    by: By,
) -> Result<Value, Value> {
    let staged = words[0];
    // These look at what is there, and what another write has staged is not what is there.
    let looks = plain == c"HINCRBY" || plain == c"HINCRBYFLOAT" || plain == c"HSETNX";
    if looks && ctx.open(staged).has(words[1]) {
        if matches!(by, By::User(..)) && !ctx.may_run(plain, words) {
            return Err(no_permission(plain, staged.as_bytes()));
        }
        module.apply(|| {
            // Emptied, the key would be gone, and missing where its slot moves to another node.
            let sign = [staged, &Str::new(b"#"), &Str::new(plain.to_bytes())];
            ctx.call(c"HSET", &sign);
            ctx.call(c"HDEL", &words[..2]);
        });
    }
    let call = || match by {
        By::User(args, more) => ctx.call_as_user(plain, args, more),
        By::Module => ctx.call(plain, words),
    };
    let (reply, mut noticed) = staging(staged.as_bytes(), call);
    if let Some(refusal) = reply.refusal() {
        return Err(refusal);
    }
    // HDEL finds nothing to delete, or leaves nothing.
    if plain == c"HDEL" {
        noticed = mark(ctx, staged.as_bytes(), plain);
    }
    match noticed {
        true => Ok(reply.value()),
        false => Err(Value::error("ERR writethrough: the server announced no change of the key")),
    }
}

/// Says what is on its way to a plain key, where somebody else has to see it.
pub fn note(ctx: &Writable, module: &Module, target: &[u8], plain: &CStr) {
    if ctx.flags().is_cluster() {
        mark(ctx, staged(module, target).as_bytes(), plain);
    }
}

/// Takes back what was staged for commands of which nothing is sent.
pub fn unstage<'a>(ctx: &Writable, module: &Module, targets: impl Iterator<Item = &'a [u8]>) {
    for target in targets.filter(|target| !pending().has(target)) {
        module.apply(|| ctx.remove(&staged(module, target)));
    }
}

fn staged(module: &Module, target: &[u8]) -> Str {
    Str::new(&key::staged(module.config.prefix.as_bytes(), target))
}

/// Makes a staged key that says what is on its way, for commands that leave none.
pub fn mark(ctx: &Writable, key: &[u8], plain: &CStr) -> bool {
    let args = [Str::new(key), Str::new(b"#"), Str::new(plain.to_bytes())];
    let (reply, noticed) = staging(key, || ctx.call(c"HSET", &args.each_ref()));
    reply.error().is_none() && noticed
}
