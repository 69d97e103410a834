//! The data set's position in the journal, in a key of its own.

use super::ffi::{Ctx, Kind, Str, Writable};
use super::state::Module;
use crate::pg::journal::Position;

/// The hash that holds the data set's position in the journal. It is replicated and persisted with
/// the data set that it speaks of.
const POSITION: &[u8] = b"{writethrough}:applied";

/// What the data set says.
pub fn stored(ctx: &Ctx) -> Option<Position> {
    let args = [POSITION, b"history", b"snapshot"].map(Str::new);
    let reply = ctx.read(c"HMGET", &args.each_ref());
    let texts: Vec<String> =
        reply.texts().into_iter().map(|text| String::from_utf8_lossy(text).into()).collect();
    let [history, snapshot] = <[String; 2]>::try_from(texts).ok()?;
    (!snapshot.is_empty()).then_some(Position { history, snapshot })
}

/// Makes it say so.
pub fn store(ctx: &Writable, module: &Module, position: &Position) {
    let (history, snapshot) = (position.history.as_bytes(), position.snapshot.as_bytes());
    let args = [POSITION, b"history", history, b"snapshot", snapshot].map(Str::new);
    module.apply(|| ctx.call(c"HSET", &args.each_ref()));
}

/// Makes it say nothing any more.
pub fn forget(ctx: &Writable, module: &Module) {
    let key = Str::new(POSITION);
    if ctx.open(&key).kind() != Kind::Empty {
        module.apply(|| ctx.call(c"UNLINK", &[&key]));
    }
}
