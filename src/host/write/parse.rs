//! The arguments of each command that writes a row → what it does, for the command alone and within another
//! one.

use crate::command::{self, Write};
use crate::host::ffi::Args;
use crate::model::mapping::Mapping;

/// Reads a command's arguments: the mapping, the id, all arguments.
pub type Parse = fn(&Mapping, &[u8], Args) -> Result<Write, String>;

/// `HSET` and `HMSET`.
pub fn hset(mapping: &Mapping, id: &[u8], args: Args) -> Result<Write, String> {
    command::hset(mapping, id, args.from(2))
}

/// `HSETNX`
pub fn hsetnx(mapping: &Mapping, _: &[u8], args: Args) -> Result<Write, String> {
    command::hsetnx(mapping, args.get(2), args.get(3))
}

/// `HINCRBY`
pub fn hincrby(mapping: &Mapping, _: &[u8], args: Args) -> Result<Write, String> {
    command::hincrby(mapping, args.get(2), args.get(3), true)
}

/// `HINCRBYFLOAT`
pub fn hincrbyfloat(mapping: &Mapping, _: &[u8], args: Args) -> Result<Write, String> {
    command::hincrby(mapping, args.get(2), args.get(3), false)
}

/// `HDEL`
pub fn hdel(mapping: &Mapping, _: &[u8], args: Args) -> Result<Write, String> {
    command::hdel(mapping, args.from(2))
}

/// `DEL` and `UNLINK`
pub fn del(_: &Mapping, _: &[u8], _: Args) -> Result<Write, String> {
    Ok(Write::delete())
}
