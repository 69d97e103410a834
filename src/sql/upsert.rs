//! The shapes of a statement that changes rows, whether they are there or not.

use super::join;
use super::Names;
use super::Text;
use crate::plan::mixed::bit;

/// `INSERT … ON CONFLICT DO UPDATE`: the fastest.
pub fn insert_first(names: &Names, columns: &[usize]) -> Text {
    let from = format!("{} ", names.input(columns));
    let on_conflict = set_all(names, columns, |c| names.proposed(c));
    Text::of(format!(
        "{} RETURNING {}",
        insert(names, columns, &from, &format!("DO UPDATE SET {on_conflict}")),
        names.returning("t"),
    ))
}

/// An UPDATE, then an INSERT of the rows that it didn't find, in one statement: a partial write
/// works although the proposed row would break a constraint that the row itself keeps.
pub fn update_first(names: &Names, columns: &[usize]) -> Text {
    let sets = set_all(names, columns, |c| names.given(c));
    let on_conflict = set_all(names, columns, |c| names.proposed(c));
    update_or_insert(names, &names.input(columns), columns, &sets, &on_conflict)
}

/// The same, and the columns that are not named get their defaults.
pub fn replace(names: &Names, columns: &[usize]) -> Text {
    let sets = replace_all(names, columns, |c| names.given(c));
    let on_conflict = replace_all(names, columns, |c| names.proposed(c));
    update_or_insert(names, &names.input(columns), columns, &sets, &on_conflict)
}

/// `column = coalesce(column, 0) + n`, in the database.
pub fn add(names: &Names, column: usize) -> Text {
    let n = match names.mapping.columns[column].path {
        Some(_) => {
            format!("(excluded.{} #>> {})::numeric", names.column(column), names.path(column))
        }
        None => format!("excluded.{}", names.column(column)),
    };
    update_or_insert(
        names,
        &names.input_of_base(column),
        &[column],
        &added_to(names, column),
        &set_all(names, &[column], |c| names.sum("t", c, &n)),
    )
}

/// The same for the rows that are there: it costs half of [`add`].
pub fn add_found(names: &Names, column: usize) -> Text {
    Text::of(format!(
        "{} RETURNING {}",
        update(names, &added_to(names, column), &names.input_of_base(column)),
        names.returning("t"),
    ))
}

/// `column = coalesce(column, 0) + i.column`
pub fn added_to(names: &Names, column: usize) -> String {
    set_all(names, &[column], |c| names.sum("t", c, &format!("i.c{c}")))
}

/// `UPDATE …` of the rows that are there, without what it returns. `input` is called `i`.
pub fn update(names: &Names, sets: &str, input: &str) -> String {
    let (own, same) = (names.own_rows(), names.same_key("t"));
    format!("UPDATE {own} AS t SET {sets} FROM {input} WHERE {same}")
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
         changed AS ({update} RETURNING {keys}, {returning}), \
         added AS ({insert} RETURNING {returning})",
        update = update(names, sets, "i"),
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
    let sets = join(mapping.key_len..mapping.columns.len(), ", ", set);
    Text::of(format!(
        "{} RETURNING {}",
        update(names, &sets, &names.masked_input()),
        names.returning("t"),
    ))
}

/// The columns become NULL where the row exists.
pub fn erase(names: &Names, columns: &[usize]) -> Text {
    Text::of(format!(
        "{} RETURNING {}",
        update(names, &sets(names.erased(columns)), &names.input(&[])),
        names.returning("t"),
    ))
}

/// The column is set where it is NULL. One more cell says whether it was: the lock makes sure that
/// what is seen is what is changed.
pub fn fill(names: &Names, column: usize) -> Text {
    let not_found = format!(
        "i WHERE NOT EXISTS (SELECT FROM found AS f WHERE {}) ",
        join(names.key(), " AND ", |c| format!("f.c{c} = i.c{c}")),
    );
    let with = format!(
        "i AS (SELECT * FROM {input}), \
         found AS (SELECT i.*, {cell} IS NULL AS empty, {returning} FROM i JOIN {own} AS t \
                   ON {same} FOR NO KEY UPDATE OF t), \
         changed AS (UPDATE {own} AS t SET {set} FROM found AS i \
                     WHERE {same} AND i.empty RETURNING {returning}), \
         added AS ({insert} RETURNING {returning})",
        input = names.input(&[column]),
        cell = names.cell("t", column),
        set = set_all(names, &[column], |c| names.given(c)),
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
    let values = names.assigned(columns, |_| "NULL::jsonb".into(), |c| names.given(c));
    let key = names.key().map(|c| (names.column(c), format!("i.c{c}")));
    let all: Vec<(String, String)> = key.chain(values).collect();
    format!(
        "INSERT INTO {} AS t ({}){} SELECT {} FROM {from}",
        names.table(),
        join(all.iter(), ", ", |(name, _)| name.clone()),
        names.overriding(),
        join(all.iter(), ", ", |(_, value)| value.clone()),
    )
}

/// `column = value, other = DEFAULT, …`
pub fn replace_all(names: &Names, columns: &[usize], value: impl Fn(usize) -> String) -> String {
    let mut all = names.assigned(columns, |_| "NULL::jsonb".into(), value);
    for c in names.mapping.key_len..names.mapping.columns.len() {
        let name = names.column(c);
        if !all.iter().any(|(other, _)| *other == name) {
            all.push((name, "DEFAULT".into()));
        }
    }
    sets(all)
}

/// `column = value, …`
pub fn set_all(names: &Names, columns: &[usize], value: impl Fn(usize) -> String) -> String {
    sets(names.assigned(columns, |name| format!("t.{name}"), value))
}

/// `column = value, …`
pub fn sets(assigned: Vec<(String, String)>) -> String {
    join(assigned.iter(), ", ", |(name, value)| format!("{name} = {value}"))
}
