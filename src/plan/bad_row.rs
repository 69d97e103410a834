//! Which rows of a refused statement PostgreSQL's error is about.
//!
//! Most errors hold values of the row that they mean: `Key (email)=(a@x) already exists.`,
//! `Failing row contains (7, ann, …).`, `invalid input syntax for type date: "1980-13-01"`. Where one
//! says no more than `numeric field overflow`, it is about a value that its column doesn't take for
//! certain. All this is a guess, in whatever language the server speaks: what comes of it is decided
//! by statements.

use std::collections::HashSet;

use super::group::Row;
use crate::model::change::Change;
use crate::model::failure::{Class, Refusal};

/// For each row, whether the error is about it, as far as one can tell: half of them at most, and
/// one at least.
pub fn bad_rows<J: AsRef<Change>>(refusal: &Refusal, rows: &[Row<J>]) -> Option<Vec<bool>> {
    let values = values(refusal);
    let named = most(rows, |_, value| values.contains(value));
    if named.is_some() || refusal.class() != Class::Data {
        return named;
    }
    let columns = &rows.first()?.change().mapping.columns;
    most(rows, |column, value| !columns[column].info.input.accepts(value))
}

/// The rows with the most such values, where they are few.
fn most<J: AsRef<Change>>(
    rows: &[Row<J>],
    is_such: impl Fn(usize, &[u8]) -> bool,
) -> Option<Vec<bool>> {
    let count = |row: &Row<J>| {
        let cells = row.change().id_parts().enumerate().chain(row.action().values());
        cells.filter(|(column, value)| is_such(*column, value)).count()
    };
    let counts: Vec<usize> = rows.iter().map(count).collect();
    let most = counts.iter().copied().max().filter(|&most| most > 0)?;
    let has_most: Vec<bool> = counts.iter().map(|&count| count == most).collect();
    let are_few = has_most.iter().filter(|&&has| has).count() * 2 <= rows.len();
    are_few.then_some(has_most)
}

/// What may be a value of a row: what stands in parentheses in the detail, what stands in double
/// quotes in the message.
fn values(refusal: &Refusal) -> HashSet<&[u8]> {
    let mut values = HashSet::new();
    if let Some(inner) = refusal.detail.as_ref().and_then(|detail| in_parentheses(&detail.text)) {
        values.insert(inner.as_bytes());
        values.extend(inner.split(", ").map(str::as_bytes));
    }
    let quoted = refusal.message.split('"').skip(1).step_by(2);
    values.extend(quoted.map(str::as_bytes));
    // A value with a quote in it is the last thing that such a message says.
    let last = refusal.message.split_once(": \"").and_then(|(_, last)| last.strip_suffix('"'));
    values.extend(last.map(str::as_bytes));
    values
}

/// The row, or the values of `Key (columns)=(values)`.
fn in_parentheses(detail: &str) -> Option<&str> {
    let start = detail.find(")=(").map(|at| at + 2).or(detail.find('('))? + 1;
    detail.get(start..detail.rfind(')')?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::action::Action;
    use crate::model::failure::Detail;
    use crate::model::mapping::tests::{resolve, users};
    use std::sync::Arc;

    struct Write(Change);

    impl AsRef<Change> for Write {
        fn as_ref(&self) -> &Change {
            &self.0
        }
    }

    /// Places of the bad_rows among users 1 to 4, when the row is to blame.
    fn found(message: &str, detail: &str) -> Option<Vec<usize>> {
        suspected("23505", message, detail)
    }

    fn suspected(sqlstate: &str, message: &str, detail: &str) -> Option<Vec<usize>> {
        let mapping = Arc::new(resolve(r#"{"table":"users"}"#, &users()).unwrap());
        let names = ["ann", "bo \"b\", jr", "cy", "ann"];
        let row = |(n, name): (usize, &&str)| {
            let born = if n == 3 { "1990-02-29" } else { "1990-02-28" };
            let values = [(1, *name), (2, "x"), (3, born)];
            let values = values.map(|(column, value)| (column, value.as_bytes().into())).into();
            let target = format!("users:{}", n + 1);
            Row::of(Write(Change::new(&mapping, target.as_bytes(), Action::Upsert(values))))
        };
        let rows: Vec<_> = names.iter().enumerate().map(row).collect();
        let refusal = Refusal {
            sqlstate: sqlstate.into(),
            message: message.into(),
            detail: (!detail.is_empty())
                .then(|| Detail { text: detail.into(), is_about_value: false }),
            ..Refusal::default()
        };
        let bad_rows = bad_rows(&refusal, &rows)?;
        Some((0..rows.len()).filter(|&at| bad_rows[at]).collect())
    }

    #[test]
    fn a_row_is_found_by_what_the_error_says() {
        let unique = "duplicate key value violates unique constraint \"users_name_key\"";
        assert_eq!(found(unique, "Key (name)=(cy) already exists."), Some(vec![2]));
        assert_eq!(found(unique, "Schlüssel »(name)=(cy)« existiert bereits."), Some(vec![2]));
        assert_eq!(found(unique, "Key (name)=(ann) already exists."), Some(vec![0, 3]));
        assert_eq!(found(unique, "Key (name, y)=(cy, 7) already exists."), Some(vec![2]));
        assert_eq!(found(unique, "Key (name)=(bo \"b\", jr) already exists."), Some(vec![1]));
        let check = "new row for relation \"users\" violates check constraint \"c\"";
        assert_eq!(found(check, "Failing row contains (4, ann, x, null)."), Some(vec![3]));
        assert_eq!(found("invalid input syntax for type date: \"cy\"", ""), Some(vec![2]));
        assert_eq!(
            found("invalid input syntax for type date: \"bo \"b\", jr\"", ""),
            Some(vec![1])
        );
        assert_eq!(found("value \"cy\" is out of range for type integer", ""), Some(vec![2]));
    }

    /// Of a date of the 29th of February nobody is certain.
    #[test]
    fn a_value_that_is_not_certain_is_suspected_when_no_row_is_named() {
        let detail = "A field with precision 10, scale 2 must round to less than 10^8.";
        assert_eq!(suspected("22003", "numeric field overflow", detail), Some(vec![3]));
        assert_eq!(suspected("22008", "out of range: \"cy\"", ""), Some(vec![2]));
        assert_eq!(suspected("23514", "numeric field overflow", detail), None);
    }

    #[test]
    fn who_is_not_named_is_not_suspected() {
        assert_eq!(found("no", "Key (name)=(x) already exists."), None, "that is everybody");
        assert_eq!(found("no", "Key (name)=() already exists."), None);
        assert_eq!(found("no", ")("), None);
        assert_eq!(found("\"", "("), None);
    }
}
