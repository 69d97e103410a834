//! The data set's position in the journal, in a key of its own.

use crate::host::ffi::{Ctx, Kind, Str, Writable};
use crate::host::module::Module;
use crate::pg::journal::Position;

/// The hash that holds the data set's position in the journal. It is replicated and persisted with
/// the data set that it speaks of.
const POSITION: &[u8] = b"{writethrough}:applied";

/// What the data set says.
pub fn stored(ctx: &Ctx) -> Option<Position> {
    let args = [POSITION, b"history", b"snapshot", b"shape"].map(Str::new);
    let reply = ctx.read(c"HMGET", &args.each_ref());
    let texts: Vec<String> =
        reply.texts().into_iter().map(|text| String::from_utf8_lossy(text).into()).collect();
    let [timeline, snapshot, shape] = <[String; 3]>::try_from(texts).ok()?;
    (!snapshot.is_empty()).then_some(Position { timeline, snapshot, shape })
}

/// Makes it say so.
pub fn store(ctx: &Writable, module: &Module, position: &Position) {
    let Position { timeline, snapshot, shape } = position;
    let texts = ["history", timeline, "snapshot", snapshot, "shape", shape];
    let args: Vec<Str> =
        std::iter::once(POSITION).chain(texts.map(str::as_bytes)).map(Str::new).collect();
    let args: Vec<&Str> = args.iter().collect();
    module.apply(|| ctx.call(c"HSET", &args));
}

/// Makes it say nothing any more.
pub fn forget(ctx: &Writable, module: &Module) {
    let key = Str::new(POSITION);
    if ctx.open(&key).kind() != Kind::Empty {
        module.apply(|| ctx.call(c"UNLINK", &[&key]));
    }
}
