//! RENAME, RENAMENX, COPY and RESTORE onto a staged key: the whole hash is written through, or behind.
//!
//! The server waits (DESIGN 4): the command changes more than one key, and a refusal undoes it.

use std::ffi::CStr;

use super::acknowledge::Acknowledgement;
use super::admit::{self, not_ready, refuse};
use super::behind::{self, Command};
use super::pending::pending;
use super::plain::{self, Written};
use super::rights;
use super::server_errors::{wrong_arity, BUSY_KEY, WRONG_TYPE};
use super::stage::staging;
use super::synchronous;
use crate::command::{self, Reply};
use crate::host::ffi::{Args, Kind, Str, Value, Writable};
use crate::host::module::{module, Module};
use crate::model::action::Action;
use crate::model::failure::Failure;
use crate::model::key;

/// Runs `plain`, which makes the row's key `args[at]`, and writes the hash through. A plain key is not made
/// before the row is written: its staged key takes its place. `undo` is called with the arguments when the
/// write is refused.
pub fn run(
    ctx: &Writable,
    args: Args,
    plain: &CStr,
    at: usize,
    undo: fn(&Writable, &[&Str]),
) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    if args.len() <= at {
        return Some(wrong_arity(plain));
    }
    let name = args.get(at);
    let db = module.config.db;
    let copied_to = copied_to(args, plain);
    let made_in = copied_to.as_deref().map_or(Some(ctx.db()), |db| db.parse().ok());
    let written = plain::written_in(made_in.unwrap_or(-1), module, name);
    // A hash that gets its own name is not written.
    let is_same = matches!(written, Written::Plain(_)) && at == 2 && args.get(1) == name;
    if written == Written::Elsewhere || is_same {
        return plain::run_elsewhere(ctx, plain, args);
    }
    let staged = match admit::row(ctx, module, written, name) {
        Ok((_, row)) => Str::new(&key::staged(module.config.prefix.as_bytes(), row.target)),
        Err(failure) => return Some(refuse(module, &failure)),
    };
    if copied_to.is_some_and(|_| made_in != Some(db)) {
        let problem = format!("staged keys are written through in another database than {db}");
        return Some(refuse(module, &Failure::Input(problem)));
    }
    let mut words = args.strings(1);
    let replace = Str::new(b"REPLACE");
    let mut command = plain;
    if let Written::Plain(_) = written {
        let kept = rights::of_command(ctx, plain, args)
            .and_then(|()| keeps_what_is_there(ctx, module, plain, &words, (written, name)));
        match kept {
            Ok(false) => {}
            Ok(true) if plain == c"RESTORE" => return Some(Value::error(BUSY_KEY)),
            Ok(true) => return Some(Value::Integer(0)),
            Err(refusal) => return Some(refusal),
        }
        // What another write has staged is not what is there.
        command = if plain == c"RENAMENX" { c"RENAME" } else { plain };
        words.extend((plain == c"COPY" || plain == c"RESTORE").then_some(&replace));
        words[at - 1] = &staged;
    }
    let call = || match written {
        Written::Plain(_) => ctx.call(command, &words),
        _ => ctx.call_as_user(plain, args, &[]),
    };
    let (reply, noticed) = staging(staged.as_bytes(), call);
    if let Some(refusal) = reply.refusal() {
        return Some(refusal);
    }
    // A time that is over: the server makes no key.
    if plain == c"RESTORE" && ctx.open(&staged).kind() == Kind::Empty {
        return Some(Value::OK);
    }
    let done = match plain.to_bytes() {
        b"RENAME" | b"RESTORE" => Reply::Done,
        _ if noticed => Reply::Number(1),
        // RENAMENX and COPY that found the staged key there have changed nothing.
        _ => return Some(Value::Integer(reply.integer())),
    };
    let result = whole_hash(ctx, module, staged.as_bytes(), done, By::Client);
    if result.is_err() {
        module.apply(|| undo(ctx, &words));
    }
    Some(result.unwrap_or_else(|error| error))
}

/// True when the command leaves a row alone that is there. The database says whether one is that isn't
/// cached.
fn keeps_what_is_there(
    ctx: &Writable,
    module: &Module,
    plain: &CStr,
    words: &[&Str],
    (written, target): (Written, &[u8]),
) -> Result<bool, Value> {
    let replaces = words
        .iter()
        .skip(2)
        .any(|word| plain != c"RENAMENX" && word.as_bytes().eq_ignore_ascii_case(b"REPLACE"));
    if plain == c"RENAME" || replaces {
        return Ok(false);
    }
    // What can't be renamed or copied is refused by the server itself.
    if plain != c"RESTORE" && ctx.open(words[0]).kind() == Kind::Empty {
        return Ok(false);
    }
    if ctx.open(&Str::new(target)).kind() != Kind::Empty {
        return Ok(true);
    }
    plain::has_row(ctx, module, written, target)
}

/// The database that `COPY … DB n` names.
fn copied_to(args: Args, plain: &CStr) -> Option<String> {
    let given: Vec<&[u8]> = args.from(0).collect();
    let at = given.iter().skip(3).position(|arg| arg.eq_ignore_ascii_case(b"DB"))?;
    let db = String::from_utf8_lossy(given.get(at + 4)?).into_owned();
    (plain.to_bytes() == b"COPY").then_some(db)
}

/// Gives a renamed key its old name back.
pub fn undo_rename(ctx: &Writable, names: &[&Str]) {
    ctx.call(c"RENAME", &[names[1], names[0]]);
}

/// Removes a copy.
pub fn undo_copy(ctx: &Writable, names: &[&Str]) {
    ctx.call(c"UNLINK", &[names[1]]);
}

/// Removes what was restored.
pub fn undo_restore(ctx: &Writable, names: &[&Str]) {
    ctx.call(c"UNLINK", &[names[0]]);
}

/// On whose behalf a whole hash is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The client of the command, who reads the answer.
    Client,
    /// Nobody who could be asked for rights, or told anything.
    Nobody,
}

/// Writes all fields of a staged hash through and waits; or adds them to the queue, where the mapping is written
/// behind. The answer, or the error when that is refused; what is staged is then still there.
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
    // Until it is known whether the row is written, the hash must not be lost.
    pending().held = Some(staged.target.into());
    let value = match mapping.is_behind {
        true => {
            let fields = fields.texts().into_iter().map(Str::new).collect();
            let command = Command::whole(&mapping, staged.target, fields, write);
            match (behind::run_and_wait(ctx, module, command), &done) {
                (error @ Value::Error(_), _) => error,
                (_, Reply::Number(number)) => Value::Integer(*number),
                _ => Value::OK,
            }
        }
        false => {
            write.reply = done;
            synchronous::wait(ctx, module, &mapping, staged.target, write, acknowledgement)
        }
    };
    // Where writes go through, a later one may have staged its own.
    let is_over = {
        let mut pending = pending();
        pending.held = None;
        mapping.is_behind || !pending.has(staged.target)
    };
    match value {
        Value::Error(_) => Err(value),
        value => {
            if is_over {
                module.apply(|| ctx.call(c"UNLINK", &[&name]));
            }
            Ok(value)
        }
    }
}
