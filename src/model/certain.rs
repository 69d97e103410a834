//! The short lists: on which tables and columns a shortcut is certain to give the rows, the answers
//! and the refusals of one write after the other.
//!
//! What isn't listed here goes the plain way. Each list names what is known to be safe; a table with
//! something new in it is on none of them.

use super::input_syntax::InputSyntax;
use super::range::Range;
use super::table::{Constraint, DefaultValue, Index, Kind, Table, TableColumn};

/// What a statement does to which row is known before it runs: the id's text names one row, and
/// nothing can change it on the way. Otherwise what was done is compared before the COMMIT.
pub fn row(table: &Table, key: &[usize]) -> bool {
    !table.watched
        && key.iter().all(|&c| table.columns[c].is_identity)
        && table.indexes.iter().filter(|index| is_over(index, key)).all(|index| index.is_exact)
}

/// Rows of several writes may share a statement: no row is looked at together with another one.
pub fn sharing(table: &Table) -> bool {
    !table.watched && !table.calls_functions && !table.compares_rows
}

/// A second write of a row can be refused for the values of its own columns only, and each of these
/// can be looked at by itself: two writes of the row may be one where [`replacing`] or [`adding`]
/// says so.
pub fn merging(table: &Table) -> bool {
    let understood = |columns: &Option<Vec<usize>>| columns.is_some();
    sharing(table)
        && table.kind == Kind::Table
        && table.is_ordinary
        && !table.columns.iter().any(|column| column.is_generated)
        && table.indexes.iter().all(|index| understood(&index.columns))
        && table.constraints.iter().all(|constraint| understood(&constraint.columns))
}

/// A value of the column that its type takes may be overwritten unseen: no constraint and no index
/// looks at it.
pub fn replacing(table: &Table, column: usize) -> bool {
    let info = &table.columns[column];
    let is_stored = match info.input {
        InputSyntax::Unknown => false,
        InputSyntax::Text(_) | InputSyntax::Ascii(_) | InputSyntax::Bytes => info.is_toasted,
        _ => true,
    };
    merging(table)
        && is_stored
        && indexes_take_any(table, column)
        && !table.constraints.iter().any(|constraint| looks_at(&constraint.columns, column))
}

/// The numbers that a whole-number column may hold, where increments in one direction may be one:
/// what takes their sum has taken each part. The sum starts at 0 where the row is missing or the
/// column is NULL, so 0 must be one of the numbers.
pub fn adding(table: &Table, column: usize) -> Option<Range> {
    let info = &table.columns[column];
    let InputSyntax::Integer(low, high) = info.input else { return None };
    if !merging(table) || !indexes_take_any(table, column) {
        return None;
    }
    let mut range = Range { low, high };
    for constraint in table.constraints.iter().filter(|c| looks_at(&c.columns, column)) {
        let own = constraint.ranges.as_ref()?.iter().filter(|(c, _)| *c == column);
        range = own.fold(range, |range, (_, own)| range.and(*own));
    }
    range.allows(0).then_some(range)
}

/// Whether a missing row can be inserted before it is known that it is missing, when these columns
/// are named. INSERT … ON CONFLICT evaluates defaults, NOT NULL and CHECK constraints on the proposed
/// row, also where the row exists: nothing that the write doesn't name may refuse it, change it or
/// be used up.
pub fn inserting_first(table: &Table, key: &[usize], named: &[usize]) -> bool {
    let is_named = |c: usize| key.contains(&c) || named.contains(&c);
    let fits = |constraint: &Constraint| match &constraint.columns {
        _ if !constraint.is_check => true,
        Some(columns) if columns.iter().all(|&c| is_named(c)) => true,
        _ => constraint.ranges.as_ref().is_some_and(|ranges| {
            ranges.iter().all(|(c, range)| is_named(*c) || keeps(&table.columns[*c], *range))
        }),
    };
    // What is generated is computed from columns that are all named.
    let is_whole =
        table.columns.iter().enumerate().all(|(c, column)| column.is_generated || is_named(c));
    let unnamed = (0..table.columns.len()).filter(|&c| !is_named(c));
    has_arbiter(table, key)
        && !table.watched
        && (is_whole
            || (!table.calls_functions
                && !table.partitions_differ
                && unnamed.into_iter().all(|c| fills_quietly(&table.columns[c]))
                && table.constraints.iter().all(fits)))
}

/// Writes of several rows that set columns on the list of [`holding_alone`] do the same in any order: in a
/// transaction they may share statements. Each takes values, in unique indexes, and none frees one. A row
/// that is added needs no row of another table: what a foreign key compares is neither its key nor anything
/// but NULL.
pub fn standing_alone(table: &Table, key: &[usize]) -> bool {
    let is_null = |c: &usize| table.columns[*c].default == DefaultValue::Null && !key.contains(c);
    merging(table)
        && row(table, key)
        && table.constraints.iter().filter(|constraint| !constraint.is_check).all(|constraint| {
            constraint.columns.as_ref().is_some_and(|columns| columns.iter().all(is_null))
        })
}

/// What the column holds matters to no other row: no unique index and no constraint but CHECKs look at it.
pub fn holding_alone(table: &Table, column: usize) -> bool {
    let indexes = table.indexes.iter().filter(|index| looks_at(&index.columns, column));
    let constraints = table.constraints.iter().filter(|c| looks_at(&c.columns, column));
    merging(table)
        && indexes.into_iter().all(|index| index.is_builtin && !index.is_unique)
        && constraints.into_iter().all(|constraint| constraint.is_check)
}

/// A unique index that ON CONFLICT can name covers exactly the key.
pub fn has_arbiter(table: &Table, key: &[usize]) -> bool {
    table.indexes.iter().any(|index| index.is_arbiter && is_over(index, key))
}

/// The index is one over exactly these columns.
fn is_over(index: &Index, key: &[usize]) -> bool {
    index.key.len() == key.len() && index.key.iter().all(|column| key.contains(column))
}

/// A row that doesn't name the column gets a value that can't be refused and costs nothing.
fn fills_quietly(column: &TableColumn) -> bool {
    let is_filled = match column.default {
        DefaultValue::Null => !column.not_null,
        DefaultValue::Constant(_) | DefaultValue::Harmless => true,
        DefaultValue::Other => false,
    };
    is_filled && !column.is_domain && !column.is_generated
}

/// The column's default is in the range. NULL is in any.
fn keeps(column: &TableColumn, range: Range) -> bool {
    match column.default {
        DefaultValue::Null => true,
        DefaultValue::Constant(Some(number)) => range.allows(number),
        _ => false,
    }
}

/// Each index that has the column takes any value of its type: it is small, and no other row's
/// value matters.
fn indexes_take_any(table: &Table, column: usize) -> bool {
    let is_small = matches!(
        table.columns[column].input,
        InputSyntax::Integer(..)
            | InputSyntax::Boolean
            | InputSyntax::Date
            | InputSyntax::Timestamp
    );
    let mut indexes = table.indexes.iter().filter(|index| looks_at(&index.columns, column));
    indexes.all(|index| index.is_builtin && !index.is_unique && is_small)
}

fn looks_at(columns: &Option<Vec<usize>>, column: usize) -> bool {
    columns.as_ref().is_none_or(|columns| columns.contains(&column))
}

#[cfg(test)]
#[path = "certain_tests.rs"]
mod tests;
