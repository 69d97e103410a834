//! Arguments on a staged key → what they do to the row, and how the client is answered.

pub mod entry;
pub mod nested;
pub mod rewrite;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::config::suggest;
use crate::config::{IdPattern, Unmapped};
use crate::model::action::{Action, Bytes};
use crate::model::key::{self, Show};
use crate::model::mapping::Mapping;

mod write;

pub use write::{CacheOnly, KeptChange, KeptKind, Named, Reply, Staged, Write};

/// rgsync's operation field `#`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// `=`: write through. What a write without the field does.
    Write,
    /// `+`: write to the cache only.
    CacheOnly,
    /// `-`: delete from the cache only.
    Evict,
    /// `~`: delete the row and the cached key.
    Delete,
}

/// Checks the id of a key against the mapping.
pub fn check_id(mapping: &Mapping, id: &[u8]) -> Result<(), String> {
    if key::id_parts(id, mapping.key_len).is_some() {
        return match &mapping.id_pattern {
            Some(pattern) if !IdPattern::allows(Some(pattern), id) => Err(format!(
                "the id {} doesn't match the id_pattern of {:?}, {:?}",
                Show(id),
                mapping.name,
                pattern.text()
            )),
            _ => Ok(()),
        };
    }
    let columns: Vec<&str> =
        mapping.columns[..mapping.key_len].iter().map(|c| c.info.name.as_str()).collect();
    Err(format!(
        "the id {} must have {} part(s), none of them empty: {}:{}",
        Show(id),
        mapping.key_len,
        mapping.name,
        columns.join(":"),
    ))
}

/// `HSET key field value …`. `fields` alternates between fields and values.
pub fn hset<'a>(
    mapping: &Mapping,
    id: &[u8],
    mut fields: impl Iterator<Item = &'a [u8]>,
) -> Result<Write, String> {
    let mut write = Write::new("HSET", Action::Read, Reply::Done);
    let mut operation = Operation::Write;
    let most = fields.size_hint().0 / 2;
    let mut sets: Vec<(usize, Bytes)> = Vec::with_capacity(most);
    let mut named: Vec<Named> = Vec::with_capacity(most);
    // Clients name fields in the order of the table more often than not.
    let mut hint = mapping.key_len;
    let (mut kept, mut key_named) = (HashMap::<&[u8], usize>::new(), Vec::new());
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        let Some(column) = mapping.column_of(field, hint) else {
            match mapping.unmapped {
                _ if field == b"#" => {
                    operation = Operation::of(value)?;
                    write.uuid = value[1..].to_vec();
                }
                Unmapped::Keep => match kept.entry(field) {
                    Entry::Occupied(at) => write.kept[*at.get()].1 = value.into(),
                    Entry::Vacant(at) => {
                        named.push(Named::Kept(*at.insert(write.kept.len())));
                        write.kept.push((field.into(), value.into()));
                    }
                },
                Unmapped::Reject => return Err(unmapped(mapping, field)),
            }
            continue;
        };
        hint = column + 1;
        if column < mapping.key_len {
            must_agree(mapping, id, column, value)?;
            key_named.resize(mapping.key_len, false);
            if !std::mem::replace(&mut key_named[column], true) {
                named.push(Named::Column(column));
            }
            continue;
        }
        match sets.binary_search_by_key(&column, |(c, _)| *c) {
            Ok(at) => sets[at].1 = value.into(),
            Err(at) => {
                sets.insert(at, (column, value.into()));
                named.push(Named::Column(column));
            }
        }
    }
    match operation {
        Operation::Write => {
            write.action = Action::Upsert(sets);
            write.reply = Reply::NewFields(named);
        }
        Operation::Delete => {
            write.action = Action::Delete;
            write.reply = Reply::Existed;
        }
        Operation::CacheOnly => {
            let field = |c: usize| mapping.columns[c].field.clone().unwrap_or_default().into();
            let mapped = sets.into_iter().map(|(c, value)| (field(c), value));
            let kept = std::mem::take(&mut write.kept);
            write.cache = Some(CacheOnly::Set(mapped.chain(kept).collect()));
            write.action = Action::Pass;
        }
        Operation::Evict => {
            write.kept.clear();
            write.cache = Some(CacheOnly::Evict);
            write.action = Action::Pass;
        }
    }
    Ok(write)
}

/// `HSETNX key field value`.
pub fn hsetnx(mapping: &Mapping, field: &[u8], value: &[u8]) -> Result<Write, String> {
    if is_kept(mapping, field) {
        return Ok(kept_change(KeptKind::Fill, field, value));
    }
    let column = value_column(mapping, field)?;
    Ok(Write::new("HSETNX", Action::Fill(column, value.into()), Reply::Filled))
}

/// `HINCRBY key field n` and `HINCRBYFLOAT key field n`. Redis checks that `n` is a number, and the
/// worker that the column takes one: its type may have changed.
pub fn hincrby(mapping: &Mapping, field: &[u8], n: &[u8], whole: bool) -> Result<Write, String> {
    if is_kept(mapping, field) {
        let kind = if whole { KeptKind::Add } else { KeptKind::AddFloat };
        return Ok(kept_change(kind, field, n));
    }
    let column = value_column(mapping, field)?;
    let (command, reply) = match whole {
        true => ("HINCRBY", Reply::Integer(column)),
        false => ("HINCRBYFLOAT", Reply::Text(column)),
    };
    Ok(Write::new(command, Action::Add(column, n.into()), reply))
}

/// `HDEL key field …`.
pub fn hdel<'a>(
    mapping: &Mapping,
    fields: impl Iterator<Item = &'a [u8]>,
) -> Result<Write, String> {
    let mut write = Write::new("HDEL", Action::Read, Reply::Done);
    let (mut columns, mut named) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for field in fields {
        if is_kept(mapping, field) {
            if seen.insert(field) {
                named.push(Named::Dropped(write.dropped.len()));
                write.dropped.push(field.into());
            }
            continue;
        }
        let column = value_column(mapping, field)?;
        if let Err(at) = columns.binary_search(&column) {
            columns.insert(at, column);
            named.push(Named::Column(column));
        }
    }
    if !columns.is_empty() {
        write.action = Action::Erase(columns);
    }
    write.reply = Reply::OldFields(named);
    Ok(write)
}

/// `WT.EXPECT key field value …`. `fields` alternates between fields and values.
pub fn expect<'a>(
    mapping: &Mapping,
    mut fields: impl Iterator<Item = &'a [u8]>,
) -> Result<Write, String> {
    let mut expected: Vec<(usize, Bytes)> = Vec::new();
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        let column = mapping.column_of(field, 0).ok_or_else(|| unmapped(mapping, field))?;
        expected.push((column, value.into()));
    }
    Ok(Write::new("WT.EXPECT", Action::Expect(expected), Reply::Done))
}

/// True for a field that is kept in Redis only. `#` is an operation, and never kept.
fn is_kept(mapping: &Mapping, field: &[u8]) -> bool {
    mapping.unmapped == Unmapped::Keep && mapping.column_of(field, 0).is_none() && field != b"#"
}

/// The row is read first: without it there is no hash that the field could be kept in. The answer is
/// the server's, when the field has changed.
fn kept_change(kind: KeptKind, field: &[u8], value: &[u8]) -> Write {
    let (field, value) = (field.into(), value.into());
    let change = KeptChange { kind, field, value, is_new_row: false };
    let command = match kind {
        KeptKind::Add => "HINCRBY",
        KeptKind::AddFloat => "HINCRBYFLOAT",
        KeptKind::Fill => "HSETNX",
    };
    Write { kept_change: Some(change), ..Write::new(command, Action::Read, Reply::Done) }
}

/// The column of a field that can change.
fn value_column(mapping: &Mapping, field: &[u8]) -> Result<usize, String> {
    let column = mapping.column_of(field, 0).ok_or_else(|| unmapped(mapping, field))?;
    match column < mapping.key_len {
        true => Err(format!("field {} is part of the key and can't change", Show(field))),
        false => Ok(column),
    }
}

/// The key says what a key column is; naming it changes nothing.
fn must_agree(mapping: &Mapping, id: &[u8], column: usize, value: &[u8]) -> Result<(), String> {
    let part = id.splitn(mapping.key_len, |&b| b == b':').nth(column).unwrap_or_default();
    if part == value {
        return Ok(());
    }
    let field = mapping.columns[column].field.as_deref().unwrap_or_default();
    Err(format!(
        "field {} is part of the key and must be {}, not {}",
        Show(field),
        Show(part),
        Show(value)
    ))
}

/// The uuid in the operation field of `HSET key field value …`; empty when there is none. For the
/// acknowledgement of a write that is refused before it is understood.
pub fn uuid<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> &'a [u8] {
    let mut uuid: &[u8] = &[];
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        if field == b"#" && Operation::of(value).is_ok() {
            uuid = &value[1..];
        }
    }
    uuid
}

impl Operation {
    /// The first character is the operation, the rest a uuid or nothing.
    fn of(value: &[u8]) -> Result<Operation, String> {
        match value.first() {
            Some(b'=') => Ok(Operation::Write),
            Some(b'+') => Ok(Operation::CacheOnly),
            Some(b'-') => Ok(Operation::Evict),
            Some(b'~') => Ok(Operation::Delete),
            _ => Err(format!(
                "the operation field \"#\" holds {}, expected =, +, - or ~ and then a uuid or \
                 nothing",
                Show(value)
            )),
        }
    }
}

fn unmapped(mapping: &Mapping, field: &[u8]) -> String {
    let near = suggest::among(&String::from_utf8_lossy(field), mapping.field_names());
    format!("mapping {:?} has no field {}{near}", mapping.name, Show(field))
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
