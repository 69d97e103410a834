//! Plain keys, `users:1`, of mappings whose `plain_writes` is `refuse` or `through`.

use std::ffi::CStr;

use super::admit::{self, refuse};
use super::misspelt;
use super::synchronous;
use crate::command::{Reply, Write};
use crate::host::ffi::{Args, Ctx, KeyChange, Value, Writable};
use crate::host::module::Module;
use crate::model::key;
use crate::pg::catalog::PlainKey;

/// What a command of ours writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// A staged key; or something that is none, which its writer is told.
    Staged,
    /// A plain key.
    Plain(PlainKey),
    /// A key of another database: an ordinary one.
    Elsewhere,
}

/// What this key is, in the database of the context.
pub fn written(ctx: &Ctx, module: &Module, name: &[u8]) -> Written {
    written_in(ctx.db(), module, name)
}

/// What this key is, in this database.
pub fn written_in(db: i32, module: &Module, name: &[u8]) -> Written {
    let is_staged = key::has_prefix(module.config.prefix.as_bytes(), name)
        || misspelt::target(module, name).is_some();
    match module.catalog.plain_key(name) {
        _ if is_staged => Written::Staged,
        None => Written::Staged,
        Some(_) if db != module.config.db => Written::Elsewhere,
        Some(plain) => Written::Plain(plain),
    }
}

/// In another database the plain command is run, and answers.
pub fn run_elsewhere(ctx: &Writable, plain: &CStr, args: Args) -> Option<Value> {
    ctx.reply_by_writing(plain, args);
    None
}

/// Whether the row is there, cached or not, as the database says in order with the writes of the key. The
/// server waits.
pub fn has_row(
    ctx: &Writable,
    module: &Module,
    written: Written,
    name: &[u8],
) -> Result<bool, Value> {
    let (mapping, row) =
        admit::row(ctx, module, written, name).map_err(|failure| refuse(module, &failure))?;
    let read = Write::read(Reply::Found);
    match synchronous::wait(ctx, module, &mapping, row.target, read, None) {
        Value::Integer(found) => Ok(found != 0),
        refusal => Err(refusal),
    }
}

/// A plain key was changed past the database, by what the filter doesn't know: another module's
/// calls, MOVE from another database, a field that has expired. It becomes its row again.
pub fn changed(module: &Module, change: &KeyChange) {
    if module.catalog.plain_key(change.key).is_some() && change.db() == module.config.db {
        module.stale_keys.add(change.key);
    }
}
