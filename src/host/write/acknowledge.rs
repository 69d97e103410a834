//! rgsync's acknowledgement: what became of a write with a uuid, in a stream of its own.

use super::server_errors::{no_permission, WRONG_TYPE};
use crate::host::ffi::{Ctx, Kind, Str, Value, Writable};
use crate::host::module::Module;

/// How long a stream lives that an acknowledgement has made, in seconds.
const LIFETIME: &[u8] = b"3600";

/// The stream `{<final key>}<uuid>`, to which the user of the write may add. There is no other way
/// to acknowledge one: the uuid is whatever a client sends, and so may name the data of others.
pub struct Acknowledgement {
    stream: Vec<u8>,
}

impl Acknowledgement {
    /// Asked before the write touches anything. `None` without a uuid; an error where the user may
    /// not add to the stream, or where the key holds something else.
    pub fn admit(ctx: &Ctx, target: &[u8], uuid: &[u8]) -> Result<Option<Acknowledgement>, Value> {
        if uuid.is_empty() {
            return Ok(None);
        }
        let stream = [b"{", target, b"}", uuid].concat();
        let name = Str::new(&stream);
        let [id, field, status] = [&b"*"[..], b"status", b"done"].map(Str::new);
        if !ctx.may_run(c"XADD", &[&name, &id, &field, &status]) {
            return Err(no_permission(c"XADD", &stream));
        }
        let key = ctx.open(&name);
        match key.is_stream() || key.kind() == Kind::Empty {
            true => Ok(Some(Acknowledgement { stream })),
            false => Err(Value::error(WRONG_TYPE)),
        }
    }

    /// The same for a write that was admitted before.
    pub fn of(target: &[u8], uuid: &[u8]) -> Acknowledgement {
        Acknowledgement { stream: [b"{", target, b"}", uuid].concat() }
    }

    /// Adds `status done` or `status failed error …`. Only a stream that this has made expires.
    pub fn send(&self, ctx: &Writable, module: &Module, answer: &Value) {
        let stream = Str::new(&self.stream);
        let id = Str::new(b"*");
        let entry: Vec<Str> = match answer {
            Value::Error(error) => {
                [&b"status"[..], b"failed", b"error", error.to_bytes()].map(Str::new).into()
            }
            _ => [&b"status"[..], b"done"].map(Str::new).into(),
        };
        let args: Vec<&Str> = [&stream, &id].into_iter().chain(&entry).collect();
        let is_new = ctx.open(&stream).kind() == Kind::Empty;
        module.apply(|| {
            // What is there by now may be no stream any more: then the server refuses.
            let added = ctx.call(c"XADD", &args);
            if is_new && added.error().is_none() {
                ctx.call(c"EXPIRE", &[&stream, &Str::new(LIFETIME)]);
            }
        });
    }
}
