//! rgsync's acknowledgement: what became of a write with a uuid, in a stream of its own.

use super::ffi::{Ctx, Mode, Str};
use super::state::Module;
use super::value::Value;

/// How long the stream lives, in seconds.
const LIFETIME: &[u8] = b"3600";

/// Adds `status done` or `status failed error …` to the stream `{<final key>}<uuid>`. Without a
/// uuid nothing is acknowledged.
pub fn send(ctx: &Ctx, module: &Module, target: &[u8], uuid: &[u8], answer: &Value) {
    if uuid.is_empty() {
        return;
    }
    let stream = Str::new(&[b"{", target, b"}", uuid].concat());
    let id = Str::new(b"*");
    let entry: Vec<Str> = match answer {
        Value::Error(error) => {
            [&b"status"[..], b"failed", b"error", error.to_bytes()].map(Str::new).into()
        }
        _ => [&b"status"[..], b"done"].map(Str::new).into(),
    };
    let args: Vec<&Str> = [&stream, &id].into_iter().chain(&entry).collect();
    module.apply(|| {
        ctx.call(c"XADD", Mode::Propagate, &args);
        ctx.call(c"EXPIRE", Mode::Propagate, &[&stream, &Str::new(LIFETIME)]);
    });
}
