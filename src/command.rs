//! Commands on a staged key: which ones the filter renames, and what they do to the row.

use std::ffi::CStr;
use std::sync::Arc;

use crate::change::Op;
use crate::config::Unmapped;
use crate::key::{self, Show};
use crate::mapping::Mapping;
use crate::suggest;

/// What the filter does with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    /// The module's command.
    pub to: &'static CStr,
    /// The position of the key that decides.
    pub key: usize,
}

/// The module's command for a command of the server's with `argc` arguments, its name included.
/// `None` for all others, and where the number of arguments is wrong: Redis says so itself.
pub fn rewrite(name: &[u8], argc: usize) -> Option<Rewrite> {
    let is = |command: &str| name.eq_ignore_ascii_case(command.as_bytes());
    let pairs = argc >= 4 && argc.is_multiple_of(2);
    match name.len() {
        4 if is("HSET") && pairs => Some(Rewrite {
            to: c"wt.hset",
            key: 1,
        }),
        5 if is("HMSET") && pairs => Some(Rewrite {
            to: c"wt.hmset",
            key: 1,
        }),
        4 if is("COPY") && argc >= 3 => Some(Rewrite {
            to: c"wt.copy",
            key: 2,
        }),
        6 if is("RENAME") && argc == 3 => Some(Rewrite {
            to: c"wt.rename",
            key: 2,
        }),
        8 if is("RENAMENX") && argc == 3 => Some(Rewrite {
            to: c"wt.renamenx",
            key: 2,
        }),
        7 if is("RESTORE") && argc >= 4 => Some(Rewrite {
            to: c"wt.restore",
            key: 1,
        }),
        _ => None,
    }
}

/// `MODULE UNLOAD writethrough`.
pub fn is_unload(name: &[u8], sub: &[u8], module: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"MODULE")
        && sub.eq_ignore_ascii_case(b"UNLOAD")
        && module == b"writethrough"
}

/// What a write names, in the client's words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// The columns to set, in ascending order.
    pub sets: Vec<(usize, Op)>,
    /// Each field that was named, once: the reply counts those that are new.
    pub named: Vec<Named>,
    /// Fields that are kept in Redis only.
    pub kept: Vec<(Arc<[u8]>, Arc<[u8]>)>,
}

/// A field that a write names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A column of the mapping.
    Column(usize),
    /// An index of [`Write::kept`].
    Kept(usize),
}

/// Checks the id of a staged key against the mapping.
pub fn check_id(mapping: &Mapping, staged: key::StagedKey) -> Result<(), String> {
    if key::id_parts(staged.id, mapping.key_len).is_some() {
        return Ok(());
    }
    let columns: Vec<&str> = mapping.columns[..mapping.key_len]
        .iter()
        .map(|c| c.info.name.as_str())
        .collect();
    Err(format!(
        "the id {} must have {} part(s), none of them empty: {}:{}",
        Show(staged.id),
        mapping.key_len,
        mapping.name,
        columns.join(":"),
    ))
}

/// What `HSET key field value …` does. `fields` alternates between fields and values.
pub fn hset<'a>(
    mapping: &Mapping,
    id: &[u8],
    mut fields: impl Iterator<Item = &'a [u8]>,
) -> Result<Write, String> {
    let mut write = Write::default();
    // Clients name fields in the order of the table more often than not.
    let mut hint = mapping.key_len;
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        match mapping.column_of(field, hint) {
            Some(column) => {
                hint = column + 1;
                set(&mut write, mapping, id, column, value)?;
            }
            None if mapping.unmapped == Unmapped::Keep => keep(&mut write, field, value),
            None => return Err(unmapped(mapping, field)),
        }
    }
    Ok(write)
}

fn set(
    write: &mut Write,
    mapping: &Mapping,
    id: &[u8],
    column: usize,
    value: &[u8],
) -> Result<(), String> {
    if column < mapping.key_len {
        // The key says what a key column is; naming it changes nothing.
        let part = id
            .splitn(mapping.key_len, |&b| b == b':')
            .nth(column)
            .unwrap_or_default();
        if part != value {
            let field = mapping.columns[column].field.as_deref().unwrap_or_default();
            return Err(format!(
                "field {} is part of the key and must be {}, not {}",
                Show(field),
                Show(part),
                Show(value)
            ));
        }
        if !write.named.contains(&Named::Column(column)) {
            write.named.push(Named::Column(column));
        }
        return Ok(());
    }
    let op = Op::Set(value.into());
    match write.sets.binary_search_by_key(&column, |(c, _)| *c) {
        Ok(at) => write.sets[at].1 = op,
        Err(at) => {
            write.sets.insert(at, (column, op));
            write.named.push(Named::Column(column));
        }
    }
    Ok(())
}

fn keep(write: &mut Write, field: &[u8], value: &[u8]) {
    match write.kept.iter_mut().find(|(kept, _)| **kept == *field) {
        Some((_, old)) => *old = value.into(),
        None => {
            write.named.push(Named::Kept(write.kept.len()));
            write.kept.push((field.into(), value.into()));
        }
    }
}

fn unmapped(mapping: &Mapping, field: &[u8]) -> String {
    let near = suggest::among(&String::from_utf8_lossy(field), mapping.field_names());
    format!(
        "mapping {:?} has no field {}{near}",
        mapping.name,
        Show(field)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::tests::{resolve, users};

    fn parse(json: &str, fields: &[&str]) -> Result<Write, String> {
        let mapping = resolve(json, &users()).unwrap();
        hset(&mapping, b"1", fields.iter().map(|f| f.as_bytes()))
    }

    fn op(value: &str) -> Op {
        Op::Set(value.as_bytes().into())
    }

    #[test]
    fn only_well_formed_writes_are_renamed() {
        let wt_hset = Some(Rewrite {
            to: c"wt.hset",
            key: 1,
        });
        assert_eq!(rewrite(b"hSeT", 4), wt_hset);
        assert_eq!(rewrite(b"HSET", 5), None);
        assert_eq!(rewrite(b"HSET", 2), None);
        assert_eq!(rewrite(b"HGET", 4), None);
        assert_eq!(
            rewrite(b"RENAME", 3),
            Some(Rewrite {
                to: c"wt.rename",
                key: 2
            })
        );
    }

    #[test]
    fn fields_become_columns_in_order_and_the_last_value_wins() {
        let fields = ["dob", "2000-01-01", "username", "a", "dob", "2000-01-02"];
        let write = parse(r#"{"table":"users"}"#, &fields).unwrap();
        assert_eq!(write.sets, [(1, op("a")), (3, op("2000-01-02"))]);
        assert_eq!(write.named, [Named::Column(3), Named::Column(1)]);
    }

    #[test]
    fn a_key_column_must_say_what_the_key_says() {
        let write = parse(
            r#"{"table":"users"}"#,
            &["id", "1", "email", "m", "id", "1"],
        )
        .unwrap();
        assert_eq!(write.sets, [(2, op("m"))]);
        assert_eq!(write.named, [Named::Column(0), Named::Column(2)]);
        assert_eq!(
            parse(r#"{"table":"users"}"#, &["id", "2"]).unwrap_err(),
            r#"field "id" is part of the key and must be "1", not "2""#
        );
    }

    #[test]
    fn fields_that_are_not_mapped() {
        assert_eq!(
            parse(r#"{"table":"users"}"#, &["emial", "m"]).unwrap_err(),
            r#"mapping "users" has no field "emial"; did you mean "email"?"#
        );
        let fields = ["nick", "n", "nick", "o", "email", "m"];
        let write = parse(r#"{"table":"users","unmapped":"keep"}"#, &fields).unwrap();
        assert_eq!(write.kept, [(b"nick"[..].into(), b"o"[..].into())]);
        assert_eq!(write.named, [Named::Kept(0), Named::Column(2)]);
    }

    #[test]
    fn an_id_has_a_part_for_each_key_column() {
        let mut table = users();
        table.primary_key = vec![0, 1];
        table.unique.push(vec![0, 1]);
        let mapping = resolve(r#"{"table":"users"}"#, &table).unwrap();
        let check = |key: &[u8]| check_id(&mapping, key::parse(b"__", key).unwrap());
        assert_eq!(check(b"__{users:1:ann}"), Ok(()));
        assert_eq!(
            check(b"__{users:1}").unwrap_err(),
            "the id \"1\" must have 2 part(s), none of them empty: users:id:username"
        );
    }
}
