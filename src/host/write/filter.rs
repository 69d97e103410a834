//! Which writes are sent to the module: those of a staged key, and those of a plain key of a mapping
//! that wants them.

use std::ffi::CStr;

use super::{misspelt, replacement};
use crate::command::rewrite::{self, Keys, Rewrite};
use crate::config::OnDelete;
use crate::host::ffi::{self, Filtered};
use crate::host::module::Module;
use crate::model::key;

/// What becomes of a command.
pub enum Sent {
    /// It gets this name; its arguments stay where they are.
    To(&'static CStr),
    /// All of it becomes the arguments of this command.
    Within(&'static CStr),
}

/// What becomes of a write, if it is to be ours.
pub fn send(module: &Module, command: &Filtered) -> Option<Sent> {
    let argc = command.len();
    if argc < 2 {
        return None;
    }
    let (rewrite, keys) = rewrite::rule(command.get(0), argc)?;
    let is_any_ours = || {
        let mut positions = keys.positions(argc, |at| command.get(at));
        positions.any(|at| is_ours(module, keys, command.get(at)))
    };
    if !(is_any_ours() || replacement::deletes_one(module, command))
        || module.is_applying()
        || ffi::server_flags().is_following()
    {
        return None;
    }
    Some(match rewrite {
        Rewrite::To(name) => Sent::To(name),
        Rewrite::Refuse => Sent::Within(c"wt.refuse"),
    })
}

/// True when a write of this key is for the module.
fn is_ours(module: &Module, keys: Keys, name: &[u8]) -> bool {
    if key::has_prefix(module.config.prefix.as_bytes(), name) {
        return true;
    }
    match keys {
        Keys::Migrate => return module.is_mapped(name),
        Keys::Written(_) if misspelt::target(module, name).is_some() => return true,
        _ => {}
    }
    let plain = module.catalog.plain_key(name);
    // Only DEL and UNLINK have keys everywhere. What evicts a key is no write.
    plain.is_some_and(|plain| keys != Keys::All || plain.on_delete == OnDelete::Delete)
}

/// The first key of a command that decided it is ours.
pub fn deciding<'a>(module: &Module, args: &[&'a [u8]]) -> Option<&'a [u8]> {
    let (_, keys) = rewrite::rule(args.first()?, args.len())?;
    let mut positions = keys.positions(args.len(), |at| args[at]);
    positions.find(|&at| is_ours(module, keys, args[at])).map(|at| args[at])
}
