//! The row that the database returned becomes the final key.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::command::{Named, Reply};
use crate::config;
use crate::engine::{Image, RowState, Settled};
use crate::host::cache::in_sync;
use crate::host::ffi::Value;
use crate::host::ffi::{Ctx, Key, Kind, Str, Writable};
use crate::host::module::state::{Module, Pending};
use crate::model::mapping::Mapping;

/// What the final key holds before the row is merged into it.
pub struct Before {
    /// Each write's answer: what its command would have said on the final key. Writes without one
    /// were given up or have failed.
    pub answers: Vec<Value>,
    /// The mapping's hash fields as the server's strings.
    fields: Arc<Vec<Option<Str>>>,
    kind: Kind,
    is_persistent: bool,
}

/// Looks at the final key.
pub fn before(
    ctx: &Ctx,
    module: &Module,
    target: &Str,
    settled: &Settled,
    pendings: &[Option<Pending>],
) -> Before {
    let key = ctx.open(target);
    let kind = key.kind();
    let fields = module.state().field_strings(&settled.mapping);
    let several = pendings.len() > 1;
    let mut counter = Counter {
        key: &key,
        kind,
        fields: &fields,
        settled,
        several,
        moved: HashMap::new(),
        is_row: false,
    };
    let answer = |(pending, (_, answer)): (&Option<Pending>, &(_, Result<i64, _>))| match (
        pending, answer,
    ) {
        (Some(pending), Ok(later)) => counter.answer(pending, *later),
        _ => Value::OK,
    };
    let answers = pendings.iter().zip(&settled.answers).map(answer).collect();
    let is_persistent = key.is_persistent();
    Before { answers, fields, kind, is_persistent }
}

/// Counts fields as if the writes of one row had come one by one.
struct Counter<'a> {
    key: &'a Key<'a>,
    kind: Kind,
    fields: &'a [Option<Str>],
    settled: &'a Settled,
    /// There are later writes, to which the earlier ones matter.
    several: bool,
    /// Fields that earlier writes have made (true) or removed (false).
    moved: HashMap<Vec<u8>, bool>,
    /// An earlier write was merged: what the row holds is there.
    is_row: bool,
}

impl Counter<'_> {
    fn answer(&mut self, pending: &Pending, later: i64) -> Value {
        let state = &self.settled.state;
        if let Some(change) = &pending.kept_change {
            self.moved.insert(change.field.to_vec(), true);
        }
        match &pending.reply {
            Reply::NewFields(named) => Value::Integer(self.count(pending, named, false)),
            Reply::OldFields(named) => Value::Integer(self.count(pending, named, true)),
            Reply::Integer(column) => number(cell(pending, self.settled, *column), later),
            Reply::Text(column) => match cell(pending, self.settled, *column) {
                // A whole number, to which later writes have added.
                Some(cell) if later != 0 => match number(Some(cell), later) {
                    Value::Integer(n) => Value::text(n.to_string()),
                    other => other,
                },
                cell => Value::Bytes(cell.unwrap_or_default().to_vec()),
            },
            Reply::Filled => Value::Integer((extra_cell(self.settled) == Some(b"t")).into()),
            // The first try may have deleted it; then the cache remembers the row.
            Reply::Existed => Value::Integer(i64::from(
                matches!(state, RowState::Deleted)
                    || (self.settled.in_doubt && self.kind == Kind::Hash),
            )),
            Reply::Found => Value::Integer(matches!(state, RowState::Present(_)).into()),
            Reply::Number(n) => Value::Integer(*n),
            Reply::Bytes(text) => Value::Bytes(text.clone()),
            // The answer of what changes the cache only comes with the change.
            Reply::Done | Reply::Changed => Value::OK,
        }
    }

    /// How many of the fields are there (`old`), or are not.
    fn count(&mut self, pending: &Pending, named: &[Named], old: bool) -> i64 {
        let mut count = 0;
        for name in named {
            let field = pending.field(*name);
            let is_there = match (self.moved.get(field), name) {
                (Some(made), _) => *made,
                // After the first write the hash is the row.
                (None, Named::Column(column)) if self.is_row => {
                    cell(pending, self.settled, *column).is_some()
                }
                (None, _) => self.kind == Kind::Hash && self.has(pending, *name, field),
            };
            count += i64::from(is_there == old);
            if self.several {
                self.moved.insert(field.to_vec(), !old);
            }
        }
        self.is_row = true;
        count
    }

    fn has(&self, pending: &Pending, name: Named, field: &[u8]) -> bool {
        match name {
            Named::Column(c) if pending.mapping.version == self.settled.mapping.version => {
                self.fields[c].as_ref().is_some_and(|field| self.key.has(field))
            }
            _ => self.key.has(&Str::new(field)),
        }
    }
}

/// One RENAME instead of HSET and UNLINK, where the staged hash is the row, field for field. False
/// when it is not, or when the final key has something that RENAME would lose.
pub fn rename(
    ctx: &Writable,
    staged: &Str,
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
    if !settled.as_written
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
    {
        // Another write may have left a field there, or somebody a time to live.
        let key = ctx.open(staged);
        if key.kind() != Kind::Hash || key.len() != fields || !key.is_persistent() {
            return false;
        }
        // A write of every column has its key's fields, too.
        if !before.fields[..mapping.key_len].iter().flatten().all(|field| key.has(field)) {
            return false;
        }
    }
    if ctx.call(c"RENAME", &[staged, target]).error().is_some() {
        return false;
    }
    expire(ctx, target, mapping);
    true
}

fn expire(ctx: &Writable, target: &Str, mapping: &Mapping) {
    if let Some(ttl) = mapping.ttl {
        ctx.call(c"EXPIRE", &[target, &Str::new(ttl.to_string().as_bytes())]);
    }
}

/// The value of a column, by the reading of the catalog that the write was made with.
fn cell<'a>(pending: &Pending, settled: &'a Settled, column: usize) -> Option<&'a [u8]> {
    let RowState::Present(image) = &settled.state else { return None };
    if pending.mapping.version == settled.mapping.version {
        return image.get(column);
    }
    let name = &pending.mapping.columns[column].info.name;
    let column = settled.mapping.columns.iter().position(|c| c.info.name == *name)?;
    image.get(column)
}

/// The cell that only some statements return, after the columns.
fn extra_cell(settled: &Settled) -> Option<&[u8]> {
    let RowState::Present(image) = &settled.state else { return None };
    let column = settled.mapping.columns.len();
    (column < image.width()).then(|| image.get(column))?
}

/// HINCRBY's answer: a number where the column holds a whole one.
fn number(cell: Option<&[u8]>, later: i64) -> Value {
    let text = cell.and_then(|cell| std::str::from_utf8(cell).ok()).unwrap_or_default();
    match text.parse::<i64>() {
        Ok(n) => Value::Integer(n - later),
        Err(_) => Value::text(text),
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
    if args.len() > 1 {
        in_sync::check(module, name, &ctx.call(c"HSET", &args));
    }
    // Columns that are NULL now leave the hash, and so does what is no column any more. The
    // hash's length says whether there can be any.
    let is_longer = before.kind == Kind::Hash && ctx.open(target).len() > names.len();
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
}
