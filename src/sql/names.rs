//! The names and expressions that the statements are made of.

use super::key_columns;
use super::quote;
use super::Shape;
use crate::model::mapping::Mapping;
use crate::model::table::TableColumn;

/// The names and expressions that the statements are made of. `i` is the input, `t` the table.
pub struct Names<'a> {
    /// The table.
    pub mapping: &'a Mapping,
    /// What the parameters are.
    pub shape: Shape,
}

impl Names<'_> {
    /// The table, quoted, with its schema: what an INSERT names.
    pub fn table(&self) -> String {
        let (schema, table) = &self.mapping.table;
        format!("{}.{}", quote(schema), quote(table))
    }

    /// The table without those that inherit from it: what every other statement names.
    pub fn own_rows(&self) -> String {
        match self.mapping.is_table {
            true => format!("ONLY {}", self.table()),
            false => self.table(),
        }
    }

    /// A column, quoted.
    pub fn column(&self, column: usize) -> String {
        quote(&self.mapping.columns[column].info.name)
    }

    /// Columns, quoted, with commas between them.
    pub fn columns(&self, columns: impl Iterator<Item = usize>) -> String {
        join(columns, ", ", |c| self.column(c))
    }

    /// The key's columns.
    pub fn key(&self) -> std::ops::Range<usize> {
        0..self.mapping.key_len
    }

    /// The input as a sub-select with the columns' types: `c0` for the column 0, and so on. An id
    /// that the database writes in another way (`01` for `1`) is left out: `users:01` would be a
    /// second cache of a row that `users:1` caches.
    pub fn input(&self, columns: &[usize]) -> String {
        self.input_as(columns, |c| &self.mapping.columns[c].info.cast)
    }

    /// The same with one column, whose value need not fit the column's domain.
    pub fn input_of_base(&self, column: usize) -> String {
        self.input_as(&[column], |c| match c == column {
            true => &self.mapping.columns[c].info.base,
            false => &self.mapping.columns[c].info.cast,
        })
    }

    fn input_as<'a>(&'a self, columns: &[usize], cast: impl Fn(usize) -> &'a str) -> String {
        self.input_with(columns, cast, "")
    }

    /// `mask` is a further array, `, $9::bigint[]`, or nothing.
    fn input_with<'a>(
        &'a self,
        columns: &[usize],
        cast: impl Fn(usize) -> &'a str,
        mask: &str,
    ) -> String {
        let all: Vec<usize> = self.key().chain(columns.iter().copied()).collect();
        let kind = |c: &usize| if self.mapping.columns[*c].info.bytea { "bytea" } else { "text" };
        let source = match self.shape.is_many() {
            false => format!(
                "(SELECT {}) AS u",
                join(all.iter().enumerate(), ", ", |(n, c)| {
                    format!("${}::{} AS c{c}", n + 1, kind(c))
                })
            ),
            true => format!(
                "unnest({}{mask}) AS u({}{})",
                join(all.iter().enumerate(), ", ", |(n, c)| format!("${}::{}[]", n + 1, kind(c))),
                join(all.iter(), ", ", |c| format!("c{c}")),
                if mask.is_empty() { "" } else { ", mask" },
            ),
        };
        let casts = join(all.iter(), ", ", |c| format!("u.c{c}::{} AS c{c}", cast(*c)));
        let odd: Vec<String> = self
            .key()
            .map(|c| (c, &self.mapping.columns[c].info))
            .filter(|(_, info)| !info.verbatim && !info.bytea)
            .map(|(c, info)| {
                format!("{} = u.c{c}", as_text(info, &format!("u.c{c}::{}", info.id_cast())))
            })
            .collect();
        let condition = match odd.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", odd.join(" AND ")),
        };
        let more = if mask.is_empty() { "" } else { ", u.mask" };
        format!("(SELECT {casts}{more} FROM {source}{condition}) AS i")
    }

    /// The input for every column, with a mask of those that a row sets.
    pub fn masked_input(&self) -> String {
        let columns: Vec<usize> = (self.mapping.key_len..self.mapping.columns.len()).collect();
        let mask = format!(", ${}::bigint[]", self.mapping.columns.len() + 1);
        self.input_with(&columns, |c| &self.mapping.columns[c].info.cast, &mask)
    }

    /// Every mapped column as text, with the number of the column for a name.
    pub fn returning(&self, from: &str) -> String {
        join(0..self.mapping.columns.len(), ", ", |c| {
            let value = as_text(&self.mapping.columns[c].info, &self.cell(from, c));
            format!("{value} AS r{c}")
        })
    }

    /// The names that [`Names::returning`] gives.
    pub fn returned(&self) -> String {
        join(0..self.mapping.columns.len(), ", ", |c| format!("r{c}"))
    }

    /// The condition that a row of `table` has the input's key.
    pub fn same_key(&self, table: &str) -> String {
        join(self.key(), " AND ", |c| format!("{table}.{} = i.c{c}", self.column(c)))
    }

    /// Rows are locked in the order of their keys.
    pub fn in_order_of_keys(&self) -> String {
        match self.shape.is_many() {
            true => format!(" ORDER BY {}", join(self.key(), ", ", |c| format!("i.c{c}"))),
            false => String::new(),
        }
    }

    /// GENERATED ALWAYS AS IDENTITY takes a given key only by this clause.
    pub fn overriding(&self) -> &'static str {
        match key_columns(self.mapping).any(|c| c.info.identity_always) {
            true => " OVERRIDING SYSTEM VALUE",
            false => "",
        }
    }
}

/// The text of an expression of a column's type. `inet` is the one type whose cast says more than
/// the database prints: `10.0.0.1/32` for `10.0.0.1`.
pub fn as_text(info: &TableColumn, expression: &str) -> String {
    match info.cast.as_str() {
        _ if info.bytea => expression.to_string(),
        "inet" => format!("abbrev({expression})"),
        _ => format!("{expression}::text"),
    }
}

/// The texts of all items, with `by` between them.
pub fn join<T>(items: impl Iterator<Item = T>, by: &str, f: impl FnMut(T) -> String) -> String {
    items.map(f).collect::<Vec<_>>().join(by)
}
