//! When two writes of one row are one: only where that is certain to be invisible.

use crate::model::action::{Action, Bytes};
use crate::model::input_syntax::InputSyntax;
use crate::model::mapping::{Column, Mapping};

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
    // What a value inside a document becomes depends on what else is set in it.
    if earlier.iter().any(|(c, _)| mapping.columns[*c].path.is_some()) {
        return None;
    }
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
    let is_whole = matches!(column.info.input, InputSyntax::Integer(..));
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
}
