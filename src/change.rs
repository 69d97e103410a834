//! What one write does to one row, and when two of them are one.

use std::sync::Arc;

use crate::key;
use crate::mapping::{Column, Mapping};

/// What one write does to one row.
#[derive(Debug, Clone)]
pub struct Change {
    /// The table and its columns.
    pub mapping: Arc<Mapping>,
    /// The final key, `users:1`; the id follows the mapping's name.
    pub target: Arc<[u8]>,
    /// What happens to the row.
    pub action: Action,
}

/// What happens to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Change these columns, in ascending order; insert the row where it is missing.
    Upsert(Vec<(usize, Op)>),
    /// Change nothing: read the row as the database has it.
    Read,
}

/// What happens to one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The column becomes this text (for `bytea`, these bytes).
    Set(Arc<[u8]>),
}

impl Change {
    /// The id's parts, one a key column. The host checked their number when it took the write.
    pub fn id_parts(&self) -> impl Iterator<Item = &[u8]> {
        let id = &self.target[self.mapping.name.len() + 1..];
        id.splitn(self.mapping.key_len, |&b| b == b':')
    }

    /// Bytes that the change holds, for the bounds of a batch.
    pub fn size(&self) -> usize {
        let ops = match &self.action {
            Action::Upsert(ops) => ops.as_slice(),
            Action::Read => &[],
        };
        self.target.len()
            + ops
                .iter()
                .map(|(_, Op::Set(value))| value.len() + 32)
                .sum::<usize>()
    }

    /// True when some value can't even be sent as text: the database would refuse the whole
    /// statement without saying which row it means.
    pub fn is_unsendable(&self) -> bool {
        let columns = &self.mapping.columns;
        let bad =
            |column: &Column, value: &[u8]| !column.info.bytea && !crate::literal::is_text(value);
        let bad_id = self
            .id_parts()
            .zip(columns)
            .any(|(part, column)| bad(column, part));
        bad_id
            || match &self.action {
                Action::Upsert(ops) => ops.iter().any(|(c, Op::Set(v))| bad(&columns[*c], v)),
                Action::Read => false,
            }
    }
}

/// `earlier` and then `later` as one action with the same effect, the same row and the same
/// refusals as one after the other; `None` where that is not certain.
pub fn merge(mapping: &Mapping, earlier: &Action, later: &Action) -> Option<Action> {
    match (earlier, later) {
        (Action::Read, Action::Read) => Some(Action::Read),
        (Action::Upsert(earlier), Action::Upsert(later)) => {
            merge_upserts(mapping, earlier, later).map(Action::Upsert)
        }
        _ => None,
    }
}

fn merge_upserts(
    mapping: &Mapping,
    earlier: &[(usize, Op)],
    later: &[(usize, Op)],
) -> Option<Vec<(usize, Op)>> {
    // A trigger or policy would have seen the earlier write on its own.
    if mapping.watched {
        return None;
    }
    let names =
        |ops: &[(usize, Op)], column: usize| ops.binary_search_by_key(&column, |(c, _)| *c).ok();
    for (c, op) in later {
        let column = &mapping.columns[*c];
        let before = names(earlier, *c).map(|at| &earlier[at].1);
        if before == Some(op) {
            continue;
        }
        // The row is missing: the earlier write alone would have been refused.
        if column.required && before.is_none() {
            return None;
        }
        // A constraint would have looked at the earlier value together with this column's.
        if column
            .guarded_by
            .iter()
            .any(|&guard| names(earlier, guard).is_some())
        {
            return None;
        }
        // The earlier value is overwritten unseen: it must be one that is never refused.
        if let Some(Op::Set(value)) = before {
            if !column.info.literal.accepts(value) {
                return None;
            }
        }
    }
    let mut merged = earlier.to_vec();
    for (c, op) in later {
        match merged.binary_search_by_key(c, |(c, _)| *c) {
            Ok(at) => merged[at].1 = op.clone(),
            Err(at) => merged.insert(at, (*c, op.clone())),
        }
    }
    Some(merged)
}

/// A change for the given final key; used where the id was checked before.
pub fn change(mapping: &Arc<Mapping>, target: &[u8], action: Action) -> Change {
    debug_assert!(key::id_parts(&target[mapping.name.len() + 1..], mapping.key_len).is_some());
    Change {
        mapping: mapping.clone(),
        target: target.into(),
        action,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::tests::{resolve, users};
    use crate::table::Table;

    fn set(pairs: &[(usize, &str)]) -> Action {
        Action::Upsert(
            pairs
                .iter()
                .map(|(c, v)| (*c, Op::Set(v.as_bytes().into())))
                .collect(),
        )
    }

    fn merged(table: &Table, earlier: &[(usize, &str)], later: &[(usize, &str)]) -> Option<Action> {
        let mapping = resolve(r#"{"table":"users"}"#, table).unwrap();
        merge(&mapping, &set(earlier), &set(later))
    }

    #[test]
    fn later_values_win() {
        let whole: &[_] = &[(1, "a"), (2, "m"), (3, "1990-01-01")];
        assert_eq!(
            merged(&users(), whole, &[(1, "b"), (3, "1990-01-02")]),
            Some(set(&[(1, "b"), (2, "m"), (3, "1990-01-02")]))
        );
        assert_eq!(
            merged(&users(), &[(1, "a")], &[(3, "1990-01-02")]),
            Some(set(&[(1, "a"), (3, "1990-01-02")]))
        );
    }

    #[test]
    fn a_value_that_may_be_refused_is_not_overwritten_unseen() {
        assert_eq!(
            merged(&users(), &[(3, "31.12.1990")], &[(3, "1990-01-02")]),
            None
        );
        // email is unique.
        assert_eq!(merged(&users(), &[(2, "a@x")], &[(2, "b@x")]), None);
        assert!(merged(&users(), &[(2, "a@x")], &[(2, "a@x")]).is_some());
    }

    #[test]
    fn a_row_that_is_missing_refuses_the_earlier_write() {
        // username and email are NOT NULL: the first write alone can't insert.
        assert_eq!(merged(&users(), &[(1, "a")], &[(2, "m")]), None);
    }

    #[test]
    fn constraints_and_triggers_see_every_write() {
        let guarded = Table {
            guards: vec![vec![1, 3]],
            ..users()
        };
        assert_eq!(merged(&guarded, &[(1, "a")], &[(3, "1990-01-01")]), None);
        let watched = Table {
            watched: true,
            ..users()
        };
        assert_eq!(merged(&watched, &[(1, "a")], &[(1, "b")]), None);
    }

    #[test]
    fn what_is_no_text_is_found() {
        let mapping = Arc::new(resolve(r#"{"table":"users"}"#, &users()).unwrap());
        let unsendable = |target: &[u8], value: &[u8]| {
            let action = Action::Upsert(vec![(1, Op::Set(value.into()))]);
            change(&mapping, target, action).is_unsendable()
        };
        assert!(!unsendable(b"users:1", "é".as_bytes()));
        assert!(unsendable(b"users:1", b"\xff"));
        assert!(unsendable(b"users:1", b"a\0"));
        assert!(unsendable(b"users:\xff", b"a"));
    }
}
