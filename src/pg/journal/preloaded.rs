//! Which of the changed rows are those that `preload` names.

use std::collections::HashSet;

use postgres::types::ToSql;

use super::Changes;
use crate::config::Preload;
use crate::engine::StoreError;
use crate::model::key::id_parts;
use crate::model::mapping::{Mapping, Mappings};
use crate::pg::connect::session::Session;
use crate::pg::connect::wire::{Array, Cell};
use crate::pg::error::classify;
use crate::sql;

/// Keys of one statement: a condition may be slow, and each statement has the time of a write's.
const KEYS: usize = 1000;

/// Says of each key whether its row is loaded also where it isn't cached. Of a condition the database is asked; it
/// sees rows that are no older than what the journal has told. Conditions that it refuses are given to `refused`: none of
/// their rows is loaded.
pub fn mark(
    session: &mut Session,
    changes: &mut Changes,
    mappings: &Mappings,
    mut refused: impl FnMut(&Mapping, &str),
) -> Result<(), postgres::Error> {
    for mapping in mappings.iter().filter(|mapping| mapping.preload != Preload::Nothing) {
        let is_its = |key: &[u8]| {
            let rest = key.strip_prefix(mapping.name.as_bytes());
            rest.is_some_and(|rest| rest.starts_with(b":"))
        };
        let mut its: Vec<_> = changes.keys.iter_mut().filter(|named| is_its(&named.key)).collect();
        if mapping.preload == Preload::All {
            its.iter_mut().for_each(|named| named.is_preloaded = true);
            continue;
        }
        for some in its.chunks_mut(KEYS) {
            let keys: Vec<&[u8]> = some.iter().map(|named| &named.key[..]).collect();
            let meeting = match meeting(session, mapping, &keys) {
                Ok(meeting) => meeting,
                Err(error) => match classify(&error, &session.backend) {
                    StoreError::Refused(refusal) => {
                        // Its text may hold a row's value.
                        refused(mapping, &format!("SQLSTATE {}", refusal.sqlstate));
                        break;
                    }
                    StoreError::Canceled => {
                        refused(mapping, "it takes longer than timeout_ms");
                        break;
                    }
                    // Somebody has locked the table: other tables' changes don't wait for it.
                    StoreError::Locked | StoreError::Conflict(_) => {
                        changes.loaded_again.push(mapping.name.clone());
                        break;
                    }
                    _ => return Err(error),
                },
            };
            some.iter_mut().for_each(|named| named.is_preloaded = meeting.contains(&named.key));
        }
    }
    Ok(())
}

/// The keys of those rows that meet the condition.
fn meeting(
    session: &mut Session,
    mapping: &Mapping,
    keys: &[&[u8]],
) -> Result<HashSet<Vec<u8>>, postgres::Error> {
    let mut columns: Vec<Array> = (0..mapping.key_len).map(|_| Array(Vec::new())).collect();
    for key in keys {
        let Some(parts) = id_parts(&key[mapping.name.len() + 1..], mapping.key_len) else {
            continue;
        };
        columns.iter_mut().zip(parts).for_each(|(column, part)| column.0.push(Some(part)));
    }
    let params: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as _).collect();
    let rows = session.client.query(&sql::preloaded(mapping), &params)?;
    let key = |row: &postgres::Row| {
        let mut key = mapping.name.clone().into_bytes();
        for c in 0..mapping.key_len {
            key.push(b':');
            key.extend_from_slice(row.get::<_, Cell>(c).0.unwrap_or_default());
        }
        key
    };
    Ok(rows.iter().map(key).collect())
}
