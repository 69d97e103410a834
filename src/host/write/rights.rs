//! The rights of what rgsync's operations do besides the command that they come with.

use std::ffi::CStr;

use super::server_errors::no_permission;
use crate::command::{CacheOnly, Write};
use crate::host::ffi::{Args, Ctx, Str, Value};
use crate::model::action::Action;

/// A command that removes a key, and what it becomes on a staged one.
const REMOVES: [(&CStr, &CStr); 2] = [(c"DEL", c"WT.DEL"), (c"UNLINK", c"WT.UNLINK")];

/// Whether the user may run the plain command with these arguments. An error is what the client reads.
pub fn of_command(ctx: &Ctx, plain: &CStr, args: Args) -> Result<(), Value> {
    let words = args.strings(1);
    check(ctx.may_run(plain, &words), plain, words[0])
}

/// Whether the user may do what `HSET <staged> # …` does: `+` is HSET of the final key, `-` its
/// removal, `~` the removal of the staged key. An error is what the client reads.
pub fn of_operation(ctx: &Ctx, staged: &Str, target: &[u8], write: &Write) -> Result<(), Value> {
    match (&write.cache, &write.action) {
        (Some(CacheOnly::Set(fields)), _) if !fields.is_empty() => {
            let target = Str::new(target);
            let pairs = fields.iter().flat_map(|(field, value)| [Str::new(field), Str::new(value)]);
            let pairs: Vec<Str> = pairs.collect();
            let args: Vec<&Str> = std::iter::once(&target).chain(&pairs).collect();
            check(ctx.may_run(c"HSET", &args), c"HSET", &target)
        }
        (Some(CacheOnly::Evict), _) => {
            let target = Str::new(target);
            let may = REMOVES.iter().any(|(plain, _)| ctx.may_run(plain, &[&target]));
            check(may, c"DEL", &target)
        }
        (None, Action::Delete) => {
            let may_run = |command| ctx.may_run(command, &[staged]);
            let may = REMOVES.iter().any(|(plain, ours)| may_run(plain) && may_run(ours));
            check(may, c"DEL", staged)
        }
        _ => Ok(()),
    }
}

fn check(may: bool, command: &CStr, key: &Str) -> Result<(), Value> {
    may.then_some(()).ok_or_else(|| no_permission(command, key.as_bytes()))
}
