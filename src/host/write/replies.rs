//! What each write's command would have said on the final key, counted as if the writes of one row had
//! come one by one.

use std::collections::HashMap;
use std::sync::Arc;

use super::field_names;
use super::full_rows;
use super::pending::Pending;
use crate::command::{Named, Reply};
use crate::engine::{RowState, Settled};
use crate::host::ffi::{Ctx, Key, Kind, Str, Value};

/// What the final key holds before the row is merged into it.
pub struct Before {
    /// Each write's reply: what its command would have said on the final key. Writes without one
    /// were given up or have failed.
    pub replies: Vec<Value>,
    /// The mapping's hash fields as the server's strings.
    pub fields: Arc<Vec<Option<Str>>>,
    /// What is there.
    pub kind: Kind,
    /// It has no time to live.
    pub is_persistent: bool,
}

/// Looks at the final key.
pub fn before(ctx: &Ctx, target: &Str, settled: &Settled, pendings: &[Option<Pending>]) -> Before {
    let key = ctx.open(target);
    let kind = key.kind();
    let fields = field_names::of(&settled.mapping);
    let several = pendings.len() > 1;
    let is_full = !several
        && kind == Kind::Hash
        && full_rows::is_full(&settled.mapping, &settled.target, &key, &fields);
    let mut counter = Counter {
        key: &key,
        kind,
        fields: &fields,
        settled,
        is_full,
        several,
        moved: HashMap::new(),
        is_row: false,
    };
    let answer = |(pending, (_, answer)): (&Option<Pending>, &(_, Result<i64, _>))| match (
        pending, answer,
    ) {
        (Some(pending), Ok(later)) => counter.reply(pending, *later),
        _ => Value::OK,
    };
    let replies = pendings.iter().zip(&settled.answers).map(answer).collect();
    let is_persistent = key.is_persistent();
    Before { replies, fields, kind, is_persistent }
}

/// Counts fields as if the writes of one row had come one by one.
struct Counter<'a> {
    key: &'a Key<'a>,
    kind: Kind,
    fields: &'a [Option<Str>],
    settled: &'a Settled,
    /// There is one write, and the hash has a field for each column.
    is_full: bool,
    /// There are later writes, to which the earlier ones matter.
    several: bool,
    /// Fields that earlier writes have made (true) or removed (false).
    moved: HashMap<Vec<u8>, bool>,
    /// An earlier write was merged: what the row holds is there.
    is_row: bool,
}

impl Counter<'_> {
    fn reply(&mut self, pending: &Pending, later: i64) -> Value {
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
        let is_same = pending.mapping.version == self.settled.mapping.version;
        let are_columns = || named.iter().all(|name| matches!(name, Named::Column(_)));
        if self.is_full && is_same && are_columns() {
            return if old { named.len() as i64 } else { 0 };
        }
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

/// The value of a column, by the reading of the catalog that the write was made with.
fn cell<'a>(pending: &Pending, settled: &'a Settled, column: usize) -> Option<&'a [u8]> {
    let RowState::Present(image) = &settled.state else { return None };
    if pending.mapping.version == settled.mapping.version {
        return image.get(column);
    }
    let own = &pending.mapping.columns[column];
    let column = settled.mapping.columns.iter().position(|c| c.is_same(own))?;
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
