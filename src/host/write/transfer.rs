//! RENAME, RENAMENX, COPY and RESTORE onto a staged key: the whole hash is written through.
//!
//! The server waits (DESIGN 4): the command changes more than one key, and a refusal undoes it.

use std::ffi::CStr;

use super::acknowledge::Acknowledgement;
use super::admit::{self, not_ready, refuse};
use super::pending::pending;
use super::server_errors::{wrong_arity, WRONG_TYPE};
use super::stage::staging;
use super::synchronous;
use crate::command::{self, Reply};
use crate::host::ffi::{Args, Kind, Str, Value, Writable};
use crate::host::module::{module, Module};
use crate::model::action::Action;
use crate::model::failure::Failure;

/// Runs `plain`, which makes the staged key `args[at]`, and writes the hash through. `undo` is
/// called when it is refused.
pub fn run(
    ctx: &Writable,
    args: Args,
    plain: &CStr,
    at: usize,
    undo: fn(&Writable, Args),
) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    if args.len() <= at {
        return Some(wrong_arity(plain));
    }
    let staged = args.get(at);
    if let Err(failure) = admit::staged(ctx, module, staged) {
        return Some(refuse(module, &failure));
    }
    if let Some(db) = copied_to(args, plain, module.config.db) {
        let problem = format!("staged keys are written through in another database than {db}");
        return Some(refuse(module, &Failure::Input(problem)));
    }
    let (reply, noticed) = staging(staged, || ctx.call_as_user(plain, args, &[]));
    if let Some(refusal) = reply.refusal() {
        return Some(refusal);
    }
    // A time that is over: the server makes no key.
    if plain == c"RESTORE" && ctx.open(&Str::new(staged)).kind() == Kind::Empty {
        return Some(Value::OK);
    }
    let done = match plain.to_bytes() {
        b"RENAME" | b"RESTORE" => Reply::Done,
        _ if noticed => Reply::Number(1),
        // RENAMENX and COPY that found the staged key there have changed nothing.
        _ => return Some(Value::Integer(reply.integer())),
    };
    let result = whole_hash(ctx, module, staged, done, By::Client);
    if result.is_err() {
        module.apply(|| undo(ctx, args));
    }
    Some(result.unwrap_or_else(|error| error))
}

/// The database that `COPY … DB n` names, when it is another one.
fn copied_to(args: Args, plain: &CStr, expected: i32) -> Option<String> {
    let given: Vec<&[u8]> = args.from(0).collect();
    let at = given.iter().skip(3).position(|arg| arg.eq_ignore_ascii_case(b"DB"))?;
    let db = String::from_utf8_lossy(given.get(at + 4)?).into_owned();
    (plain.to_bytes() == b"COPY" && db != expected.to_string()).then_some(db)
}

/// Gives a renamed key its old name back.
pub fn undo_rename(ctx: &Writable, args: Args) {
    let names = args.strings(1);
    ctx.call(c"RENAME", &[names[1], names[0]]);
}

/// Removes a copy.
pub fn undo_copy(ctx: &Writable, args: Args) {
    ctx.call(c"UNLINK", &[args.strings(2)[0]]);
}

/// Removes what was restored.
pub fn undo_restore(ctx: &Writable, args: Args) {
    ctx.call(c"UNLINK", &[args.strings(1)[0]]);
}

/// On whose behalf a whole hash is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The client of the command, who reads the answer.
    Client,
    /// Nobody who could be asked for rights, or told anything.
    Nobody,
}

/// Writes all fields of a staged hash through and waits. The answer, or the error when the row is
/// not written; what is staged is then still there.
pub fn whole_hash(
    ctx: &Writable,
    module: &Module,
    key: &[u8],
    done: Reply,
    by: By,
) -> Result<Value, Value> {
    // What no client reads is no refused write in INFO.
    let refuse = |failure: Failure| match by {
        By::Client => refuse(module, &failure),
        By::Nobody => Value::from(&failure),
    };
    let (mapping, staged) = admit::staged(ctx, module, key).map_err(refuse)?;
    let name = Str::new(key);
    let is_hash = ctx.open(&name).kind() == Kind::Hash;
    if !is_hash || ctx.open(&Str::new(staged.target)).kind() == Kind::Other {
        return Err(Value::error(WRONG_TYPE));
    }
    let fields = ctx.read(c"HGETALL", &[&name]);
    let mut write = command::hset(&mapping, staged.id, fields.texts().into_iter())
        .map_err(|problem| refuse(Failure::Input(problem)))?;
    if !matches!(write.action, Action::Upsert(_)) {
        let problem = "the operation field \"#\" works with HSET only";
        return Err(refuse(Failure::Input(problem.into())));
    }
    let acknowledgement = match by {
        By::Client => Acknowledgement::admit(ctx, staged.target, &write.uuid)?,
        By::Nobody => None,
    };
    write.reply = done;
    // Until it is known whether the row is written, the hash must not be lost.
    pending().held = Some(staged.target.into());
    let value = synchronous::wait(ctx, module, &mapping, staged.target, write, acknowledgement);
    let in_flight = {
        let mut pending = pending();
        pending.held = None;
        pending.has(staged.target)
    };
    match value {
        Value::Error(_) => Err(value),
        value => {
            if !in_flight {
                module.apply(|| ctx.call(c"UNLINK", &[&name]));
            }
            Ok(value)
        }
    }
}
