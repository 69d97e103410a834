//! A table's rows, some at a time, in the order of their keys.

use super::names::{as_text, join, Names};
use super::Shape;
use crate::model::mapping::Mapping;

/// So many rows of a mapping's `preload`, or of all, in the order of the key, with every column of
/// [`Mapping::columns`] as text. With `is_after` only those behind a key, whose parts are the parameters.
///
/// What the operator gives as a condition stands in parentheses of its own; a comment in it ends with its
/// line.
pub fn page(mapping: &Mapping, is_after: bool, rows: usize) -> String {
    let names = Names { mapping, shape: Shape::Many };
    let key = |of: &dyn Fn(usize) -> String| join(names.key(), ", ", of);
    let columns = key(&|c| format!("t.{}", names.column(c)));
    let mut text = format!(
        "SELECT {} FROM {} AS t WHERE {}",
        names.returning("t"),
        names.own_rows(),
        condition(mapping),
    );
    // A view's key may be NULL, which is no id.
    for c in names.key().filter(|c| !mapping.columns[*c].info.not_null) {
        text.push_str(&format!(" AND t.{} IS NOT NULL", names.column(c)));
    }
    if is_after {
        let last = key(&|c| {
            let info = &mapping.columns[c].info;
            match info.bytea {
                true => format!("${}::bytea", c + 1),
                false => format!("${}::text::{}", c + 1, info.cast),
            }
        });
        text.push_str(&format!(" AND ({columns}) > ({last})"));
    }
    format!("{text} ORDER BY {columns} LIMIT {rows}")
}

/// Of keys, whose parts are the parameters, an array a column: those of the rows that `preload` names, as text. The
/// condition is alone with the table, whose columns it names as it does elsewhere.
pub fn preloaded(mapping: &Mapping) -> String {
    let names = Names { mapping, shape: Shape::Many };
    let key = join(names.key(), ", ", |c| {
        as_text(&mapping.columns[c].info, &format!("t.{}", names.column(c)))
    });
    format!(
        "SELECT {key} FROM (SELECT * FROM {} AS t WHERE {}) AS t JOIN {} ON {}",
        names.own_rows(),
        condition(mapping),
        names.input(&[]),
        names.same_key("t"),
    )
}

/// What the planner says of these rows.
pub fn explain(mapping: &Mapping) -> String {
    let names = Names { mapping, shape: Shape::Many };
    format!("EXPLAIN SELECT FROM {} AS t WHERE {}", names.own_rows(), condition(mapping))
}

fn condition(mapping: &Mapping) -> String {
    format!("({}\n)", mapping.preload.condition().unwrap_or("true"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mapping::tests::{resolve, users};

    #[test]
    fn a_page_begins_behind_a_key() {
        let document = r#"{"table":"users","preload":"email > 'm' -- late"}"#;
        let mapping = resolve(document, &users()).unwrap();
        let sql = page(&mapping, true, 9);
        assert!(sql.contains("WHERE (email > 'm' -- late\n) AND "), "{sql}");
        assert!(
            sql.ends_with("(t.\"id\") > ($1::text::integer) ORDER BY t.\"id\" LIMIT 9"),
            "{sql}"
        );
        assert!(!page(&mapping, false, 9).contains('$'));
        let sql = preloaded(&mapping);
        assert!(sql.contains("AS t WHERE (email > 'm' -- late\n)) AS t JOIN (SELECT"), "{sql}");
    }
}
