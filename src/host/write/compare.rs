//! A row that was read to be compared with its cached hash.

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
    let is_row = |image| is_equal(ctx, target, &settled.mapping, (image, Known::Nothing));
    if ctx.open(target).kind() == Kind::Empty || image.is_some_and(is_row) {
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
    (image, known): (&Image, Known),
) {
    if is_equal(ctx, target, mapping, (image, known)) {
        return;
    }
    let key = ctx.open(target);
    let (kind, is_persistent) = (key.kind(), key.is_persistent());
    drop(key);
    let (replies, fields) = (Vec::new(), field_names::of(mapping));
    let before = Before { replies, fields, kind, is_persistent };
    merge::row(ctx, module, (target, name), mapping, image, &[], &before);
}

/// Which fields of a hash needn't be looked at: each is there, and is its column's.
#[derive(Clone, Copy, PartialEq)]
pub enum Known {
    Nothing,
    AllButKey,
}

fn is_equal(ctx: &Ctx, target: &Str, mapping: &Mapping, (image, known): (&Image, Known)) -> bool {
    let (hash, fields, mut found) = (ctx.open(target), field_names::of(mapping), 0);
    let mut columns = fields.iter().enumerate();
    let same = columns.all(|(c, field)| {
        let Some(field) = field else { return true };
        if known == Known::AllButKey && c >= mapping.key_len {
            found += 1;
            return true;
        }
        let cached = hash.get(field);
        found += usize::from(cached.is_some());
        cached.as_ref().map(Str::as_bytes) == image.get(c)
    });
    same && (mapping.unmapped == Unmapped::Keep || hash.len() == found)
}
