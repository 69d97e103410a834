//! The three shapes of an upsert.

use super::{join, Names};
use crate::mapping::Mapping;

/// True when a missing row can be inserted before it is known whether it exists.
///
/// NOT NULL and CHECK are checked on the proposed row before the conflict is found, so the
/// proposed row must hold every required column, and all columns of each CHECK that it touches.
pub fn can_insert_first(mapping: &Mapping, columns: &[usize]) -> bool {
    let named = |c: &usize| *c < mapping.key_len || columns.contains(c);
    mapping.has_arbiter
        && !mapping.required_unmapped
        && (0..mapping.columns.len()).all(|c| !mapping.columns[c].required || named(&c))
        && mapping
            .checks
            .iter()
            .all(|group| group.iter().all(named) || !group.iter().any(named))
}

/// `INSERT … ON CONFLICT DO UPDATE`: the fastest.
pub fn insert_first(names: &Names, columns: &[usize]) -> String {
    format!(
        "{} RETURNING {}",
        insert(
            names,
            columns,
            &format!("{} ", names.input(columns)),
            &set_excluded(names, columns)
        ),
        names.returning("t"),
    )
}

/// An UPDATE, then an INSERT of the rows that it didn't find, in one statement: a partial write
/// works although the proposed row would break a constraint that the row itself keeps.
pub fn update_first(names: &Names, columns: &[usize]) -> String {
    let sets = join(columns.iter(), ", ", |c| {
        format!("{} = i.c{c}", names.column(*c))
    });
    let not_found = format!(
        "i WHERE NOT EXISTS (SELECT FROM changed AS c WHERE {}) ",
        join(names.key(), " AND ", |c| format!("c.k{c} = i.c{c}")),
    );
    let on_conflict = set_excluded(names, columns);
    format!(
        "WITH i AS (SELECT * FROM {input}), \
         changed AS (UPDATE {table} AS t SET {sets} FROM i WHERE {same} RETURNING {keys}, {returning}), \
         added AS ({insert} RETURNING {returning}) \
         SELECT {returned} FROM changed UNION ALL SELECT {returned} FROM added",
        input = names.input(columns),
        table = names.table(),
        same = names.same_key("t"),
        keys = join(names.key(), ", ", |c| format!("t.{} AS k{c}", names.column(c))),
        returning = names.returning("t"),
        insert = insert(names, columns, &not_found, &on_conflict),
        returned = names.returned(),
    )
}

/// No column to set: the row is read, and inserted where it is missing.
pub fn touch(names: &Names) -> String {
    let not_found = format!(
        "i WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {}) ",
        names.table(),
        names.same_key("t"),
    );
    format!(
        "WITH i AS (SELECT * FROM {input}), added AS ({insert} RETURNING {returning}) \
         SELECT {returned} FROM added UNION ALL SELECT {returning} FROM i JOIN {table} AS t ON {same}",
        input = names.input(&[]),
        insert = insert(names, &[], &not_found, "DO NOTHING"),
        returning = names.returning("t"),
        returned = names.returned(),
        table = names.table(),
        same = names.same_key("t"),
    )
}

fn insert(names: &Names, columns: &[usize], from: &str, on_conflict: &str) -> String {
    let all = || names.key().chain(columns.iter().copied());
    // A view has no index to name. Its rows can then be added twice by two writers at once, as by
    // any two programs that insert into it.
    let conflict = match names.mapping.has_arbiter {
        true => format!("ON CONFLICT ({}) {on_conflict}", names.columns(names.key())),
        false => String::new(),
    };
    format!(
        "INSERT INTO {} AS t ({}){} SELECT {} FROM {from}{conflict}",
        names.table(),
        names.columns(all()),
        names.overriding(),
        join(all(), ", ", |c| format!("i.c{c}")),
    )
}

fn set_excluded(names: &Names, columns: &[usize]) -> String {
    let sets = join(columns.iter(), ", ", |c| {
        format!("{0} = excluded.{0}", names.column(*c))
    });
    format!("DO UPDATE SET {sets}")
}
