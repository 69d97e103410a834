//! Which key the writes of a test binary name: `tests/plain_keys` runs tests of the staged key by the plain
//! one, which has to take, answer and refuse the same.

use std::borrow::Cow;

use serde_json::Value;

/// Which key a row is written by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// `__{users:1}`, as the tests spell it.
    Staged,
    /// `users:1`, by mappings that write plain keys through.
    Plain,
}

/// Commands that write a row. Tests look at a staged key by others, and evict a plain one by DEL.
const WRITES: [&[u8]; 13] = [
    b"hset",
    b"hmset",
    b"hsetnx",
    b"hincrby",
    b"hincrbyfloat",
    b"hdel",
    b"rename",
    b"renamenx",
    b"copy",
    b"restore",
    b"eval",
    b"evalsha",
    b"fcall",
];

/// An argument of a command as this binary sends it.
pub(super) fn spelt<'a>(command: &[u8], arg: &'a [u8]) -> Cow<'a, [u8]> {
    let target = arg.strip_prefix(b"__{").and_then(|rest| rest.strip_suffix(b"}"));
    let is_write = || WRITES.iter().any(|name| name.eq_ignore_ascii_case(command));
    match target.filter(|_| crate::KEYS == Keys::Plain && is_write()) {
        Some(target) => Cow::Borrowed(target),
        None => Cow::Borrowed(arg),
    }
}

/// A mapping as this binary gives it to the module.
pub(super) fn mapped(mut mapping: Value) -> Value {
    if crate::KEYS == Keys::Plain && mapping.get("plain_writes").is_none() {
        mapping["plain_writes"] = "through".into();
    }
    mapping
}
