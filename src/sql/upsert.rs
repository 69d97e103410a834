//! The shapes of a statement that changes rows, whether they are there or not.

use super::join;
use super::Names;
use super::Text;
use crate::plan::mixed::bit;

/// `INSERT … ON CONFLICT DO UPDATE`: the fastest.
pub fn insert_first(names: &Names, columns: &[usize]) -> Text {
    let from = format!("{} ", names.input(columns));
    let on_conflict = set_all(names, columns, |c| format!("excluded.{}", names.column(c)));
    Text::of(format!(
        "{} RETURNING {}",
        insert(names, columns, &from, &format!("DO UPDATE SET {on_conflict}")),
        names.returning("t"),
    ))
}

/// An UPDATE, then an INSERT of the rows that it didn't find, in one statement: a partial write
/// works although the proposed row would break a constraint that the row itself keeps.
pub fn update_first(names: &Names, columns: &[usize]) -> Text {
    let sets = set_all(names, columns, |c| format!("i.c{c}"));
    let on_conflict = set_all(names, columns, |c| format!("excluded.{}", names.column(c)));
    update_or_insert(names, &names.input(columns), columns, &sets, &on_conflict)
}

/// The same, and the columns that are not named get their defaults.
pub fn replace(names: &Names, columns: &[usize]) -> Text {
    let sets = replace_all(names, columns, |c| format!("i.c{c}"));
    let on_conflict = replace_all(names, columns, |c| format!("excluded.{}", names.column(c)));
    update_or_insert(names, &names.input(columns), columns, &sets, &on_conflict)
}

/// `column = coalesce(column, 0) + n`, in the database.
pub fn add(names: &Names, column: usize) -> Text {
    let name = names.column(column);
    let sum = |n: String| format!("{name} = coalesce(t.{name}, '0') + {n}");
    update_or_insert(
        names,
        &names.input_of_base(column),
        &[column],
        &sum(format!("i.c{column}")),
        &sum(format!("excluded.{name}")),
    )
}

fn update_or_insert(
    names: &Names,
    input: &str,
    columns: &[usize],
    sets: &str,
    on_conflict: &str,
) -> Text {
    let not_found = format!(
        "i WHERE NOT EXISTS (SELECT FROM changed AS c WHERE {}) ",
        join(names.key(), " AND ", |c| format!("c.k{c} = i.c{c}")),
    );
    let with = format!(
        "i AS (SELECT * FROM {input}), \
         changed AS (UPDATE {own} AS t SET {sets} FROM i WHERE {same} RETURNING {keys}, {returning}), \
         added AS ({insert} RETURNING {returning})",
        own = names.own_rows(),
        same = names.same_key("t"),
        keys = join(names.key(), ", ", |c| format!("t.{} AS k{c}", names.column(c))),
        returning = names.returning("t"),
        insert = insert(names, columns, &not_found, &format!("DO UPDATE SET {on_conflict}")),
    );
    let returned = names.returned();
    let rows = format!("SELECT {returned} FROM changed UNION ALL SELECT {returned} FROM added");
    Text { with, rows }
}

/// Each row's own columns, where the row exists.
pub fn mixed(names: &Names) -> Text {
    let mapping = names.mapping;
    let set = |c| {
        let (name, bit) = (names.column(c), bit(mapping, c));
        format!("{name} = CASE WHEN i.mask & {bit} <> 0 THEN i.c{c} ELSE t.{name} END")
    };
    Text::of(format!(
        "UPDATE {} AS t SET {} FROM {} WHERE {} RETURNING {}",
        names.own_rows(),
        join(mapping.key_len..mapping.columns.len(), ", ", set),
        names.masked_input(),
        names.same_key("t"),
        names.returning("t"),
    ))
}

/// The columns become NULL where the row exists.
pub fn erase(names: &Names, columns: &[usize]) -> Text {
    Text::of(format!(
        "UPDATE {} AS t SET {} FROM {} WHERE {} RETURNING {}",
        names.own_rows(),
        set_all(names, columns, |_| "NULL".into()),
        names.input(&[]),
        names.same_key("t"),
        names.returning("t"),
    ))
}

/// The column is set where it is NULL. One more cell says whether it was: the lock makes sure that
/// what is seen is what is changed.
pub fn fill(names: &Names, column: usize) -> Text {
    let name = names.column(column);
    let not_found = format!(
        "i WHERE NOT EXISTS (SELECT FROM found AS f WHERE {}) ",
        join(names.key(), " AND ", |c| format!("f.c{c} = i.c{c}")),
    );
    let with = format!(
        "i AS (SELECT * FROM {input}), \
         found AS (SELECT i.*, t.{name} IS NULL AS empty, {returning} FROM i JOIN {own} AS t \
                   ON {same} FOR NO KEY UPDATE OF t), \
         changed AS (UPDATE {own} AS t SET {name} = i.c{column} FROM found AS i \
                     WHERE {same} AND i.empty RETURNING {returning}), \
         added AS ({insert} RETURNING {returning})",
        input = names.input(&[column]),
        own = names.own_rows(),
        same = names.same_key("t"),
        returning = names.returning("t"),
        insert = insert(names, &[column], &not_found, "DO NOTHING"),
    );
    let returned = names.returned();
    let rows = format!(
        "SELECT {returned}, 't' FROM changed UNION ALL SELECT {returned}, 't' FROM added \
         UNION ALL SELECT {returned}, 'f' FROM found WHERE NOT empty"
    );
    Text { with, rows }
}

/// No column to set: the row is read, and inserted where it is missing.
pub fn touch(names: &Names) -> Text {
    let not_found = format!(
        "i WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {}) ",
        names.own_rows(),
        names.same_key("t"),
    );
    let returning = names.returning("t");
    let with = format!(
        "i AS (SELECT * FROM {input}), added AS ({insert} RETURNING {returning})",
        input = names.input(&[]),
        insert = insert(names, &[], &not_found, "DO NOTHING"),
    );
    let rows = format!(
        "SELECT {returned} FROM added UNION ALL SELECT {returning} FROM i JOIN {own} AS t ON {same}",
        returned = names.returned(),
        own = names.own_rows(),
        same = names.same_key("t"),
    );
    Text { with, rows }
}

fn insert(names: &Names, columns: &[usize], from: &str, on_conflict: &str) -> String {
    let conflict = format!("ON CONFLICT ({}) {on_conflict}", names.columns(names.key()));
    plain_insert(names, columns, from) + &conflict
}

/// `INSERT INTO … SELECT … FROM <from>`. `from` ends with a blank.
pub fn plain_insert(names: &Names, columns: &[usize], from: &str) -> String {
    let all = || names.key().chain(columns.iter().copied());
    format!(
        "INSERT INTO {} AS t ({}){} SELECT {} FROM {from}",
        names.table(),
        names.columns(all()),
        names.overriding(),
        join(all(), ", ", |c| format!("i.c{c}")),
    )
}

/// `column = value, other = DEFAULT, …`
pub fn replace_all(names: &Names, columns: &[usize], value: impl Fn(usize) -> String) -> String {
    let values = names.mapping.key_len..names.mapping.columns.len();
    join(values, ", ", |c| match columns.contains(&c) {
        true => format!("{} = {}", names.column(c), value(c)),
        false => format!("{} = DEFAULT", names.column(c)),
    })
}

/// `column = value, …`
pub fn set_all(names: &Names, columns: &[usize], value: impl Fn(usize) -> String) -> String {
    join(columns.iter(), ", ", |c| format!("{} = {}", names.column(*c), value(*c)))
}
