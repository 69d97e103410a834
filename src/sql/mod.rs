//! SQL text: quoted identifiers, casts, one statement for any number of rows.
//!
//! Every value travels as a parameter, or as an element of one: an array a column. Nothing that a
//! client sends is ever part of a statement's text.

mod names;
mod page;
mod paths;
mod steps;
mod upsert;

use crate::model::form::Form;
use crate::model::mapping::{Column, Mapping};
use crate::model::table::TableColumn;
use names::{as_text, join, Names};
pub use page::{explain, page, preloaded};

/// `"quoted"`.
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// What a statement's parameters are, and how much of its form it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// All of it for one row: its parameters are the values themselves. A third faster than arrays of
    /// one.
    One,
    /// All of it for any number of rows: its parameters are arrays.
    Many,
    /// The same for one row, where it is there.
    OneFound,
    /// The same for those of the rows that are there.
    ManyFound,
    /// A step of it, for one row.
    Step(Step),
}

impl Shape {
    /// Its parameters are arrays.
    fn is_many(self) -> bool {
        matches!(self, Shape::Many | Shape::ManyFound)
    }

    /// Only the rows that are there.
    fn is_found(self) -> bool {
        matches!(self, Shape::OneFound | Shape::ManyFound)
    }
}

/// A step of a form, for one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Reads the row.
    Look,
    /// Changes the row where it is there.
    Change,
    /// Adds the row.
    Add,
    /// Notes its key in the journal.
    Note,
}

/// The statement for a group of this form. Its parameters are one for each key column, then one
/// for each value, `bytea` where the column is `bytea` and `text` elsewhere, or arrays of these;
/// its rows hold every column of [`Mapping::columns`], and the transaction's number as their last
/// cell where it runs in one of its own. With an `origin`, it notes the keys of the rows that it
/// changes in the journal.
pub fn statement(mapping: &Mapping, form: &Form, shape: Shape, origin: Option<i64>) -> String {
    let names = Names { mapping, shape };
    if let Shape::Step(step) = shape {
        return steps::statement(&names, form, step, origin);
    }
    let text = match form {
        Form::Upsert(columns) if columns.is_empty() => upsert::touch(&names),
        Form::Upsert(columns) if mapping.inserts_first(columns) => {
            upsert::insert_first(&names, columns)
        }
        Form::Upsert(columns) => upsert::update_first(&names, columns),
        Form::Replace(columns) => upsert::replace(&names, columns),
        Form::Mixed => upsert::mixed(&names),
        Form::Erase(columns) => upsert::erase(&names, columns),
        Form::Add(column) if shape.is_found() => upsert::add_found(&names, *column),
        Form::Add(column) => upsert::add(&names, *column),
        Form::Fill(column) => upsert::fill(&names, *column),
        Form::Delete => Text::of(format!(
            "DELETE FROM {} AS t USING {} WHERE {} RETURNING {}",
            names.own_rows(),
            names.input(&[]),
            names.same_key("t"),
            names.returning("t"),
        )),
        Form::Read | Form::Lock | Form::Pass => {
            return format!(
                "SELECT {} FROM {} JOIN {} AS t ON {}{}",
                names.returning("t"),
                names.input(&[]),
                names.own_rows(),
                names.same_key("t"),
                match form {
                    Form::Lock => names.in_order_of_keys() + " FOR NO KEY UPDATE OF t",
                    _ => String::new(),
                },
            )
        }
    };
    let text = match origin {
        Some(origin) => text.journaled(&names, origin),
        None => text,
    };
    match mapping.needs_transaction(form) {
        true => text.numbered().plain(),
        false => text.plain(),
    }
}

/// A statement in two parts, so that more can be put between them.
struct Text {
    /// Common table expressions, or nothing.
    with: String,
    /// What returns the rows. Where nothing is before it, it ends with the list of what it returns.
    rows: String,
}

impl Text {
    fn of(rows: String) -> Text {
        Text { with: String::new(), rows }
    }

    fn plain(self) -> String {
        match self.with.as_str() {
            "" => self.rows,
            with => format!("WITH {with} {}", self.rows),
        }
    }

    /// Its rows become the table expression `name`, and `rows` is what returns them.
    fn named(self, name: &str, rows: String) -> Text {
        let comma = if self.with.is_empty() { "" } else { ", " };
        Text { with: format!("{}{comma}{name} AS ({})", self.with, self.rows), rows }
    }

    /// The same, with the transaction's number as the last cell.
    fn numbered(self) -> Text {
        match self.with.as_str() {
            "" => Text::of(self.rows + ", pg_current_xact_id()::text"),
            _ => self.named("x", "SELECT x.*, pg_current_xact_id()::text FROM x".into()),
        }
    }

    /// The same, with an entry in the journal for each row that it returns.
    fn journaled(self, names: &Names, origin: i64) -> Text {
        let part = |c: usize| match names.mapping.columns[c].info.bytea {
            true => format!("encode(r{c}, 'hex')"),
            false => format!("r{c}"),
        };
        let mut text = self.named("w", "SELECT * FROM w".into());
        text.with.push_str(&format!(
            ", j AS (INSERT INTO writethrough.journal (origin, name, key) \
             SELECT {origin}, '{}', {} FROM w)",
            names.mapping.name.replace('\'', "''"),
            join(names.key(), " || ':' || ", part),
        ));
        text
    }
}

/// The statement that says how the database itself writes an id: one text a key column. When it is
/// `stored`, the columns round it and cut it off as they do with what they hold.
pub fn canonical_key(mapping: &Mapping, stored: bool) -> String {
    let cast = |info: &TableColumn, parameter: usize| match stored {
        true => format!("${parameter}::text::{}::{}", info.cast, info.type_name),
        false => format!("${parameter}::text::{}", info.id_cast()),
    };
    let casts: Vec<String> = key_columns(mapping)
        .enumerate()
        .map(|(i, column)| match column.info.bytea {
            true => format!("${}::bytea", i + 1),
            false => as_text(&column.info, &cast(&column.info, i + 1)),
        })
        .collect();
    format!("SELECT {}", casts.join(", "))
}

fn key_columns(mapping: &Mapping) -> impl Iterator<Item = &Column> {
    mapping.columns[..mapping.key_len].iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mapping::tests::{column, resolve};
    use crate::model::table::Table;

    /// A table of an integer key, whose text says all.
    fn users() -> Table {
        let mut table = crate::model::mapping::tests::users();
        table.columns[0].is_identity = true;
        table
    }

    fn sql(table: &Table, form: Form) -> String {
        statement(&resolve(r#"{"table":"users"}"#, table).unwrap(), &form, Shape::Many, None)
    }

    #[test]
    fn a_complete_set_is_one_insert() {
        assert_eq!(
            sql(&users(), Form::Upsert(vec![1, 2])),
            "INSERT INTO \"public\".\"users\" AS t (\"id\", \"username\", \"email\") \
             SELECT i.c0, i.c1, i.c2 FROM (SELECT u.c0::integer AS c0, u.c1::text AS c1, \
             u.c2::text AS c2 FROM unnest($1::text[], $2::text[], $3::text[]) AS u(c0, c1, c2) \
             WHERE u.c0::integer::text = u.c0) AS i ON CONFLICT (\"id\") DO UPDATE SET \
             \"username\" = excluded.\"username\", \"email\" = excluded.\"email\" RETURNING \
             t.\"id\"::text AS r0, t.\"username\"::text AS r1, t.\"email\"::text AS r2, \
             t.\"dob\"::text AS r3"
        );
    }

    #[test]
    fn one_row_needs_no_array() {
        let mapping = resolve(r#"{"table":"users"}"#, &users()).unwrap();
        let sql = statement(&mapping, &Form::Read, Shape::One, None);
        assert!(
            sql.contains(
                "FROM (SELECT u.c0::integer AS c0 FROM (SELECT $1::text AS c0) AS u \
                 WHERE u.c0::integer::text = u.c0) AS i JOIN"
            ),
            "{sql}"
        );
    }

    #[test]
    fn what_leaves_out_a_required_column_updates_first() {
        assert!(
            sql(&users(), Form::Upsert(vec![1])).contains("UPDATE ONLY \"public\".\"users\" AS t")
        );
        assert!(sql(&users(), Form::Upsert(vec![1, 2])).starts_with("INSERT"));
    }

    /// A key whose text isn't the value: what was done is compared before the COMMIT.
    #[test]
    fn a_transaction_tells_its_number() {
        let mut table = users();
        assert!(!sql(&table, Form::Delete).contains("xact"));
        table.columns[0].is_identity = false;
        let delete = sql(&table, Form::Delete);
        assert!(delete.ends_with("AS r3, pg_current_xact_id()::text"), "{delete}");
        let partial = sql(&table, Form::Upsert(vec![1]));
        assert!(partial.ends_with("SELECT x.*, pg_current_xact_id()::text FROM x"), "{partial}");
    }

    #[test]
    fn the_rows_that_are_there_are_added_to_by_a_plain_update() {
        let mapping = resolve(r#"{"table":"users"}"#, &users()).unwrap();
        let sql = |origin| statement(&mapping, &Form::Add(3), Shape::ManyFound, origin);
        assert!(
            sql(None).starts_with("UPDATE ONLY \"public\".\"users\" AS t SET"),
            "{}",
            sql(None)
        );
        assert!(!sql(None).contains("INSERT"), "{}", sql(None));
        assert!(sql(Some(1)).starts_with("WITH w AS (UPDATE"), "{}", sql(Some(1)));
        assert!(sql(Some(1)).ends_with("pg_current_xact_id()::text FROM x"), "{}", sql(Some(1)));
    }

    #[test]
    fn a_mixed_statement_sets_what_each_rows_mask_says() {
        let sql = sql(&users(), Form::Mixed);
        assert!(sql.contains("CASE WHEN i.mask & 2 <> 0 THEN i.c2 ELSE t.\"email\" END"), "{sql}");
        assert!(sql.contains("$4::text[], $5::bigint[]) AS u(c0, c1, c2, c3, mask)"), "{sql}");
    }

    #[test]
    fn a_journaled_statement_returns_the_same_rows() {
        let mapping = resolve(r#"{"table":"users"}"#, &users()).unwrap();
        let sql = |form| statement(&mapping, &form, Shape::Many, Some(-7));
        let end = ", j AS (INSERT INTO writethrough.journal (origin, name, key) \
                   SELECT -7, 'users', r0 FROM w) SELECT * FROM w";
        assert!(sql(Form::Upsert(vec![1, 2, 3])).starts_with("WITH w AS (INSERT INTO"));
        assert!(sql(Form::Add(3)).starts_with("WITH i AS (SELECT"));
        for form in [Form::Upsert(vec![1]), Form::Delete, Form::Mixed] {
            assert!(sql(form.clone()).ends_with(end), "{}", sql(form));
        }
        let counted = end.replace(" SELECT * FROM w", ", x AS (SELECT * FROM w) SELECT");
        assert!(sql(Form::Add(3)).contains(&counted), "{}", sql(Form::Add(3)));
        assert!(sql(Form::Read).starts_with("SELECT"), "what only looks is not noted");
    }

    #[test]
    fn odd_identifiers_are_quoted() {
        let odd = TableColumn { name: "a \"B\"".into(), ..column("") };
        let table = Table { name: "T;--".into(), columns: vec![odd], ..users() };
        let sql = sql(&table, Form::Read);
        assert!(sql.contains("\"public\".\"T;--\" AS t ON t.\"a \"\"B\"\"\" = i.c0"), "{sql}");
        assert!(!sql.contains("WHERE"), "a text key is canonical as it is: {sql}");
    }
}
