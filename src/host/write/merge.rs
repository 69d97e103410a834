//! The row that the database returned becomes the final key.

use std::collections::HashSet;

use super::full_rows;
use super::pending::Pending;
use super::replies::Before;
use crate::command::Staged;
use crate::config;
use crate::engine::{Image, RowState, Settled};
use crate::host::ffi::{Ctx, Kind, Str, Writable};
use crate::host::module::Module;
use crate::model::mapping::Mapping;

/// What is there under a staged key.
pub struct StagedHash {
    kind: Kind,
    len: usize,
    is_persistent: bool,
}

impl StagedHash {
    /// Looks at it; `None` where there is nothing.
    pub fn of(ctx: &Ctx, staged: &Str) -> Option<StagedHash> {
        let key = ctx.open(staged);
        let kind = key.kind();
        let found = || StagedHash { kind, len: key.len(), is_persistent: key.is_persistent() };
        (kind != Kind::Empty).then(found)
    }
}

/// One RENAME instead of HSET and UNLINK, where the staged hash is the row, field for field. False
/// when it is not, or when the final key has something that RENAME would lose.
pub fn rename(
    ctx: &Writable,
    (staged, left): (&Str, &StagedHash),
    target: &Str,
    settled: &Settled,
    pendings: &[Option<Pending>],
    before: &Before,
) -> bool {
    let mapping = &settled.mapping;
    let [Some(pending)] = pendings else { return false };
    let loses = !before.is_persistent
        || (before.kind == Kind::Hash && mapping.unmapped == config::Unmapped::Keep);
    // By another document the staged fields may have other names.
    let is_same = pending.mapping.version == mapping.version;
    // A write of the plain key stages nothing: the staged hash is that of one before it.
    if !settled.as_written
        || pending.staged == Staged::Nothing
        || !is_same
        || loses
        || !pending.kept.is_empty()
        || pending.kept_change.is_some()
    {
        return false;
    }
    let RowState::Present(image) = &settled.state else { return false };
    let fields = before.fields.iter().enumerate().filter(|(_, field)| field.is_some());
    let fields = fields.filter(|(c, _)| image.get(*c).is_some()).count();
    // Another write may have left a field there, or somebody a time to live.
    if left.kind != Kind::Hash || left.len != fields || !left.is_persistent {
        return false;
    }
    let has_key = || {
        let (key, mut fields) =
            (ctx.open(staged), before.fields[..mapping.key_len].iter().flatten());
        fields.all(|field| key.has(field))
    };
    if pending.staged != Staged::Row && !has_key() {
        return false;
    }
    if ctx.call(c"RENAME", &[staged, target]).error().is_some() {
        return false;
    }
    expire(ctx, target, mapping);
    if fields == before.fields.iter().flatten().count() {
        full_rows::add(mapping, &settled.target);
    }
    true
}

/// The hash lives as long as its mapping says.
pub fn expire(ctx: &Writable, target: &Str, mapping: &Mapping) {
    if let Some(ttl) = mapping.ttl {
        ctx.call(c"EXPIRE", &[target, &Str::new(ttl.to_string().as_bytes())]);
    }
}

/// Fields that are kept in Redis only, as the writes of one row leave them, in order.
#[derive(Default)]
struct Unmapped {
    kept: Vec<(Str, Str)>,
    dropped: Vec<Str>,
}

impl Unmapped {
    fn left_by(pendings: &[Option<Pending>]) -> Unmapped {
        let mut fields: Vec<(&[u8], Option<&[u8]>)> = Vec::new();
        for pending in pendings.iter().flatten() {
            fields.extend(pending.kept.iter().map(|(field, value)| (&field[..], Some(&value[..]))));
            fields.extend(pending.dropped.iter().map(|field| (&field[..], None)));
        }
        // The last one of a field is the one that counts.
        let mut seen = HashSet::new();
        let counts: Vec<bool> = fields.iter().rev().map(|(field, _)| seen.insert(*field)).collect();
        let mut left = Unmapped::default();
        for ((field, value), counts) in fields.iter().zip(counts.iter().rev()) {
            if !counts {
                continue;
            }
            match value {
                Some(value) => left.kept.push((Str::new(field), Str::new(value))),
                None => left.dropped.push(Str::new(field)),
            }
        }
        left
    }
}

/// Makes `target` hold the row.
pub fn row(
    ctx: &Writable,
    module: &Module,
    (target, name): (&Str, &[u8]),
    mapping: &Mapping,
    image: &Image,
    pendings: &[Option<Pending>],
    before: &Before,
) {
    if before.kind == Kind::Other {
        ctx.call(c"UNLINK", &[target]);
    }
    let (mut names, mut values, mut leaving) = (Vec::new(), Vec::new(), vec![target]);
    for (column, field) in before.fields.iter().enumerate() {
        let Some(field) = field else { continue };
        match image.get(column) {
            Some(value) => {
                names.push(field);
                values.push(Str::new(value));
            }
            None => leaving.push(field),
        }
    }
    let nulls = leaving.len() - 1;
    let Unmapped { kept, dropped } = Unmapped::left_by(pendings);
    let mut args = Vec::with_capacity(1 + 2 * (names.len() + kept.len()));
    args.push(target);
    args.extend(names.iter().zip(&values).flat_map(|(name, value)| [*name, value]));
    args.extend(kept.iter().flat_map(|(name, value)| [name, value]));
    let mut is_set = false;
    if args.len() > 1 {
        let called = ctx.call(c"HSET", &args);
        is_set = called.error().is_none();
        module.stale_keys.check(name, &called);
    }
    // Columns that are NULL now leave the hash, and so does what is no column any more. The
    // hash's length says whether there can be any.
    let len = match before.kind {
        Kind::Hash => ctx.open(target).len(),
        Kind::Empty | Kind::Other => names.len(),
    };
    let is_longer = len > names.len();
    if is_longer && mapping.unmapped == config::Unmapped::Reject {
        let reply = ctx.read(c"HKEYS", &[target]);
        let is_field =
            |key: &[u8]| mapping.column_of(key, 0).is_some_and(|c| image.get(c).is_some());
        let foreign = reply.texts().into_iter().filter(|key| !is_field(key));
        let foreign: Vec<Str> = foreign.map(Str::new).collect();
        let args: Vec<&Str> = std::iter::once(target).chain(&foreign).collect();
        if args.len() > 1 {
            ctx.call(c"HDEL", &args);
        }
    } else if (is_longer && nulls > 0) || !dropped.is_empty() {
        leaving.extend(&dropped);
        ctx.call(c"HDEL", &leaving);
    }
    expire(ctx, target, mapping);
    if is_set && len == names.len() && kept.is_empty() && nulls == 0 {
        full_rows::add(mapping, name);
    }
}
