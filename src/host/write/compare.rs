//! A row that was read to be compared with its cached hash.

use std::collections::BTreeMap;

use super::field_names;
use super::merge;
use super::pending::Pending;
use super::replies::Before;
use crate::config::Unmapped;
use crate::engine::{Image, RowState, Settled};
use crate::host::ffi::{Ctx, Kind, Str, Writable};
use crate::host::module::Module;
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;

/// True when all of them only want to know whether the hash is the row.
pub fn is_all(pendings: &[Option<Pending>]) -> bool {
    let compares = |p: &Pending| p.waiter.as_ref().is_some_and(|waiter| waiter.compares());
    !pendings.is_empty() && pendings.iter().flatten().all(compares)
}

/// Is the row what is cached? Where it isn't, those who wait say whether the hash becomes the row.
pub fn run(
    ctx: &Writable,
    module: &Module,
    target: &Str,
    settled: &Settled,
    pendings: &[Option<Pending>],
    before: &Before,
) {
    let is_no_id = |answer| matches!(answer, &Err(Failure::Refused(_)));
    let image = match &settled.state {
        RowState::Present(image) => Some(image),
        RowState::Absent => None,
        // The database refuses the id: such a key stands for no row.
        _ if settled.answers.iter().all(|(_, answer)| is_no_id(answer)) => None,
        // It failed; who waits is told so.
        _ => return,
    };
    // Evicted meanwhile: what is not cached is not wrong.
    if ctx.open(target).kind() == Kind::Empty || is_equal(ctx, target, &settled.mapping, image) {
        return;
    }
    let mut repair = false;
    for waiter in pendings.iter().flatten().filter_map(|pending| pending.waiter.as_ref()) {
        repair |= waiter.differs(&settled.target);
    }
    match image {
        Some(image) if repair => {
            let target = (target, &*settled.target);
            merge::row(ctx, module, target, &settled.mapping, image, pendings, before);
        }
        None if repair => {
            let called = ctx.call(c"UNLINK", &[target]);
            module.stale_keys.check(&settled.target, &called);
        }
        _ => {}
    }
}

/// The hash becomes the row, where it isn't.
pub fn make_row(
    ctx: &Writable,
    module: &Module,
    (target, name): (&Str, &[u8]),
    mapping: &Mapping,
    image: &Image,
) {
    if is_equal(ctx, target, mapping, Some(image)) {
        return;
    }
    let key = ctx.open(target);
    let (kind, is_persistent) = (key.kind(), key.is_persistent());
    drop(key);
    let (replies, fields) = (Vec::new(), field_names::of(mapping));
    let before = Before { replies, fields, kind, is_persistent };
    merge::row(ctx, module, (target, name), mapping, image, &[], &before);
}

fn is_equal(ctx: &Ctx, target: &Str, mapping: &Mapping, image: Option<&Image>) -> bool {
    let Some(image) = image else { return false };
    let reply = ctx.read(c"HGETALL", &[target]);
    let texts = reply.texts();
    let mut cached: BTreeMap<&[u8], &[u8]> =
        texts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let mut columns = mapping.columns.iter().enumerate();
    let same = columns.all(|(c, column)| match &column.field {
        Some(field) => cached.remove(&field[..]) == image.get(c),
        None => true,
    });
    same && (cached.is_empty() || mapping.unmapped == Unmapped::Keep)
}
