//! rgsync's `+` and `-`: the final key changes, the table doesn't.

use crate::command::{CacheOnly, Reply};
use crate::host::ffi::{Str, Value, Writable};

/// The answer after a flush, when the key stays as it is.
pub fn flushed(cache: &CacheOnly, reply: &Reply) -> Value {
    match (reply, cache) {
        (Reply::Done, _) => Value::OK,
        (_, CacheOnly::Evict) => Value::Integer(0),
        (_, CacheOnly::Set(fields)) => Value::Integer(fields.len() as i64),
    }
}

/// Changes the final key. The answer is the server's: new fields, or keys removed.
pub fn run(ctx: &Writable, target: &[u8], cache: &CacheOnly, reply: &Reply) -> Value {
    let target = Str::new(target);
    let changed = match cache {
        CacheOnly::Evict => ctx.call(c"UNLINK", &[&target]),
        CacheOnly::Set(fields) if fields.is_empty() => return Value::Integer(0),
        CacheOnly::Set(fields) => {
            let pairs = fields.iter().flat_map(|(field, value)| [Str::new(field), Str::new(value)]);
            let pairs: Vec<Str> = pairs.collect();
            let args: Vec<&Str> = std::iter::once(&target).chain(&pairs).collect();
            ctx.call(c"HSET", &args)
        }
    };
    match (changed.error(), reply) {
        (Some(error), _) => Value::error(error),
        (None, Reply::Done) => Value::OK,
        (None, _) => Value::Integer(changed.integer()),
    }
}
