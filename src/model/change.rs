//! What one write does to one row, and when two of them are one.

use std::sync::Arc;

use super::input_syntax;
use super::mapping::{Column, Mapping};

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
    /// Set these columns, in ascending order; insert the row where it is missing.
    Upsert(Vec<(usize, Bytes)>),
    /// Set these columns to NULL, in ascending order, where the row exists.
    Erase(Vec<usize>),
    /// Add this number to the column (NULL counts as 0); insert the row where it is missing.
    Add(usize, Bytes),
    /// Set the column where it is NULL; insert the row where it is missing.
    Fill(usize, Bytes),
    /// Delete the row.
    Delete,
    /// Change nothing: read the row as the database has it.
    Read,
    /// Nothing for the database: only the cache changes, after the writes before it.
    Pass,
}

/// A value as its client sent it.
pub type Bytes = Arc<[u8]>;

impl Action {
    /// The values, each with its column.
    pub fn values(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let (many, one) = match self {
            Action::Upsert(sets) => (sets.as_slice(), None),
            Action::Add(column, value) | Action::Fill(column, value) => {
                (&[][..], Some((*column, &value[..])))
            }
            Action::Erase(_) | Action::Delete | Action::Read | Action::Pass => (&[][..], None),
        };
        many.iter().map(|(column, value)| (*column, &value[..])).chain(one)
    }

    /// True when it changes nothing in the database.
    pub fn only_looks(&self) -> bool {
        matches!(self, Action::Read | Action::Pass)
    }
}

impl Change {
    /// A change for a final key whose id was checked before.
    pub fn new(mapping: &Arc<Mapping>, target: &[u8], action: Action) -> Change {
        Change { mapping: mapping.clone(), target: target.into(), action }
    }

    /// The id's parts, one a key column. The host checked their number when it took the write.
    pub fn id_parts(&self) -> impl Iterator<Item = &[u8]> {
        let id = &self.target[self.mapping.name.len() + 1..];
        id.splitn(self.mapping.key_len, |&b| b == b':')
    }

    /// Bytes that the change holds, for the bounds of a batch.
    pub fn size(&self) -> usize {
        self.target.len() + self.action.values().map(|(_, value)| value.len() + 32).sum::<usize>()
    }

    /// True when some value can't even be sent as text: the database would refuse the whole
    /// statement without saying which row it means.
    pub fn is_unsendable(&self) -> bool {
        let mut cells = self.id_parts().enumerate().chain(self.action.values());
        cells.any(|(column, value)| {
            !self.mapping.columns[column].info.bytea && !input_syntax::is_text(value)
        })
    }

    /// The same change by a newer reading of the catalog or the document; an error when a column
    /// that it names is gone.
    pub fn adopt(&mut self, mapping: &Arc<Mapping>) -> Result<(), String> {
        let is_same_key = self.mapping.key_columns().eq(mapping.key_columns());
        if !is_same_key {
            return Err(format!("mapping {:?} has another key now", mapping.name));
        }
        let renumber = |column: usize| {
            let name = &self.mapping.columns[column].info.name;
            let found = mapping.columns.iter().position(|c| c.info.name == *name);
            found.ok_or_else(|| format!("mapping {:?} has no column {name:?} now", mapping.name))
        };
        self.action = match &self.action {
            Action::Upsert(sets) => {
                let sets = sets.iter().map(|(c, value)| Ok((renumber(*c)?, value.clone())));
                let mut sets = sets.collect::<Result<Vec<_>, String>>()?;
                sets.sort_by_key(|(column, _)| *column);
                Action::Upsert(sets)
            }
            Action::Erase(columns) => {
                let columns = columns.iter().map(|c| renumber(*c));
                let mut columns = columns.collect::<Result<Vec<_>, String>>()?;
                columns.sort_unstable();
                Action::Erase(columns)
            }
            Action::Add(column, value) => Action::Add(renumber(*column)?, value.clone()),
            Action::Fill(column, value) => Action::Fill(renumber(*column)?, value.clone()),
            Action::Delete => Action::Delete,
            Action::Read => Action::Read,
            Action::Pass => Action::Pass,
        };
        self.mapping = mapping.clone();
        Ok(())
    }
}

/// `earlier` and then `later` as one action with the same effect, the same row, the same answers and
/// the same refusals as one after the other; `None` where that is not certain.
pub fn merge(mapping: &Mapping, earlier: &Action, later: &Action) -> Option<Action> {
    match (earlier, later) {
        (Action::Read, Action::Read) => Some(Action::Read),
        _ if !mapping.merges => None,
        (Action::Upsert(earlier), Action::Upsert(later)) => {
            replace(mapping, earlier, later).map(Action::Upsert)
        }
        (Action::Add(column, a), Action::Add(other, b)) if column == other => {
            add(&mapping.columns[*column], a, b).map(|sum| Action::Add(*column, sum))
        }
        _ => None,
    }
}

/// The later write sets columns that the earlier one sets, too: whether the row is missing, or what
/// else it holds, matters to both alike. A value that is overwritten unseen must be one that
/// nothing could have refused.
fn replace(
    mapping: &Mapping,
    earlier: &[(usize, Bytes)],
    later: &[(usize, Bytes)],
) -> Option<Vec<(usize, Bytes)>> {
    let mut merged = earlier.to_vec();
    for (c, value) in later {
        let at = merged.binary_search_by_key(c, |(c, _)| *c).ok()?;
        let (column, before) = (&mapping.columns[*c], &mut merged[at].1);
        if before != value && !(column.replaces && column.info.input.accepts(before)) {
            return None;
        }
        *before = value.clone();
    }
    Some(merged)
}

/// The sum of two increments of a whole-number column. In one direction only: then the database
/// that takes the sum would have taken each part.
fn add(column: &Column, a: &[u8], b: &[u8]) -> Option<Bytes> {
    let (a, b) = (increment(column, a)?, increment(column, b)?);
    let sum = (column.adds && (a < 0) == (b < 0)).then(|| a.checked_add(b))??;
    Some(sum.to_string().into_bytes().into())
}

/// An increment of a whole-number column as a number.
pub fn increment(column: &Column, value: &[u8]) -> Option<i64> {
    let is_whole = matches!(column.info.input, input_syntax::InputSyntax::Integer(..));
    std::str::from_utf8(value).ok().filter(|_| is_whole)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mapping::tests::{resolve, users};
    use crate::model::table::{Constraint, Table};

    fn set(pairs: &[(usize, &str)]) -> Action {
        Action::Upsert(pairs.iter().map(|(c, v)| (*c, v.as_bytes().into())).collect())
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
    }

    /// What the row holds there is not known, and so neither is the answer of the later write.
    #[test]
    fn a_column_that_the_earlier_write_does_not_name_is_apart() {
        assert_eq!(merged(&users(), &[(1, "a")], &[(3, "1990-01-02")]), None);
    }

    #[test]
    fn a_value_that_may_be_refused_is_not_overwritten_unseen() {
        assert_eq!(merged(&users(), &[(3, "31.12.1990")], &[(3, "1990-01-02")]), None);
        // email is unique.
        assert_eq!(merged(&users(), &[(2, "a@x")], &[(2, "b@x")]), None);
        assert!(merged(&users(), &[(2, "a@x")], &[(2, "a@x")]).is_some());
    }

    #[test]
    fn constraints_and_triggers_see_every_write() {
        let check = Constraint { is_check: true, columns: Some(vec![1]), ranges: None };
        let checked = Table { constraints: vec![check], ..users() };
        assert_eq!(merged(&checked, &[(1, "a")], &[(1, "b")]), None);
        let watched = Table { watched: true, ..users() };
        assert_eq!(merged(&watched, &[(1, "a")], &[(1, "a")]), None);
    }

    #[test]
    fn what_is_no_text_is_found() {
        let mapping = Arc::new(resolve(r#"{"table":"users"}"#, &users()).unwrap());
        let unsendable = |target: &[u8], value: &[u8]| {
            let action = Action::Upsert(vec![(1, value.into())]);
            Change::new(&mapping, target, action).is_unsendable()
        };
        assert!(!unsendable(b"users:1", "é".as_bytes()));
        assert!(unsendable(b"users:1", b"\xff"));
        assert!(unsendable(b"users:1", b"a\0"));
        assert!(unsendable(b"users:\xff", b"a"));
    }
}
