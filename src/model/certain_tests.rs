use super::*;
use crate::model::mapping::tests::{column, unique, users};

/// `users`, and a column `n integer`.
fn table(n: TableColumn) -> Table {
    let mut table = users();
    let syntax = InputSyntax::Integer(i32::MIN.into(), i32::MAX.into());
    table.columns.push(TableColumn { input: syntax, is_toasted: false, ..n });
    table
}

fn check(columns: &[usize], ranges: Option<&[(usize, i64, i64)]>) -> Constraint {
    let range = |&(column, low, high): &(usize, i64, i64)| (column, Range { low, high });
    Constraint {
        is_check: true,
        columns: Some(columns.to_vec()),
        ranges: ranges.map(|ranges| ranges.iter().map(range).collect()),
    }
}

fn with(constraint: Constraint) -> Table {
    Table { constraints: vec![constraint], ..table(column("n")) }
}

const N: usize = 4;

#[test]
fn a_key_names_one_row_where_text_and_value_are_the_same() {
    assert!(row(&users(), &[0]));
    let mut numeric = users();
    numeric.columns[0].is_identity = false;
    assert!(!row(&numeric, &[0]));
    assert!(!row(&Table { watched: true, ..users() }, &[0]));
    // An index that takes A and a for equal.
    let odd = Index { is_exact: false, ..unique(0) };
    assert!(!row(&Table { indexes: vec![unique(0), odd], ..users() }, &[0]));
}

#[test]
fn rows_share_where_nothing_compares_them() {
    assert!(sharing(&users()));
    assert!(!sharing(&Table { watched: true, ..users() }));
    assert!(!sharing(&Table { calls_functions: true, ..users() }));
    assert!(!sharing(&Table { compares_rows: true, ..users() }));
}

#[test]
fn increments_are_one_within_ranges_that_hold_0() {
    assert!(adding(&table(column("n")), N).is_some());
    let range = |low, high| with(check(&[N], Some(&[(N, low, high)])));
    assert_eq!(adding(&range(0, 100), N), Some(Range { low: 0, high: 100 }));
    assert_eq!(adding(&range(10, 100), N), None, "+5 +5 would be one 10");
    assert_eq!(adding(&with(check(&[N], None)), N), None);
    let foreign = Constraint { is_check: false, columns: Some(vec![N]), ranges: None };
    assert_eq!(adding(&with(foreign), N), None);
    // One that may look at anything.
    assert_eq!(adding(&with(Constraint { is_check: true, ..Constraint::default() }), N), None);
    let indexed = |index| Table { indexes: vec![unique(0), index], ..table(column("n")) };
    assert_eq!(adding(&indexed(unique(N)), N), None);
    assert!(adding(&indexed(Index { is_unique: false, ..unique(N) }), N).is_some());
    let expression = Index { columns: None, is_unique: false, ..unique(N) };
    assert_eq!(adding(&indexed(expression), N), None);
    assert_eq!(adding(&Table { is_ordinary: false, ..table(column("n")) }, N), None);
    assert_eq!(adding(&table(column("n")), 1), None, "a text");
}

#[test]
fn a_text_is_replaced_where_nothing_looks_at_it() {
    assert!(replacing(&users(), 1) && replacing(&users(), 3));
    assert!(!replacing(&users(), 2), "it is unique");
    // An index has no room for any text.
    let index = Index { is_unique: false, ..unique(1) };
    assert!(!replacing(&Table { indexes: vec![unique(0), index], ..users() }, 1));
    let mut plain = users();
    plain.columns[1].is_toasted = false;
    assert!(!replacing(&plain, 1), "a row has no room for any text");
    plain.columns[3].is_generated = true;
    assert!(!replacing(&plain, 3));
}

#[test]
fn what_a_write_does_not_name_must_not_matter() {
    let first = |table: &Table| inserting_first(table, &[0], &[1, 2]);
    let default = |default, not_null| table(TableColumn { default, not_null, ..column("n") });
    assert!(first(&users()));
    assert!(first(&default(DefaultValue::Null, false)));
    assert!(!first(&default(DefaultValue::Null, true)));
    assert!(first(&default(DefaultValue::Constant(Some(7)), true)));
    assert!(first(&default(DefaultValue::Harmless, true)));
    assert!(!first(&default(DefaultValue::Other, false)), "a sequence");
    assert!(!first(&table(TableColumn { is_domain: true, ..column("n") })));
    assert!(!first(&table(TableColumn { is_generated: true, ..column("n") })));
    assert!(!first(&Table { watched: true, ..users() }));

    assert!(!first(&with(check(&[N], None))), "b int check (b is not null)");
    assert!(first(&with(check(&[N], Some(&[(N, 1, 5)])))), "NULL is in any range");
    assert!(first(&with(check(&[1], None))), "the row is checked in any case");
    assert!(!first(&with(check(&[1, N], None))));
    let zero = |low| Table {
        constraints: vec![check(&[N], Some(&[(N, low, 9)]))],
        ..default(DefaultValue::Constant(Some(0)), true)
    };
    assert!(first(&zero(0)));
    assert!(!first(&zero(1)), "b int default 0 check (b > 0)");

    let whole = |table: &Table| inserting_first(table, &[0], &[1, 2, 3, 4]);
    assert!(whole(&with(check(&[N], None))));
    assert!(whole(&zero(1)));
    assert!(whole(&Table { partitions_differ: true, ..users() }));
    assert!(!inserting_first(&Table { partitions_differ: true, ..users() }, &[0], &[1, 2]));
}
