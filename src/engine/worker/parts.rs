//! A statement taken apart.

use super::super::job::{Job, Row};
use crate::model::failure::Refusal;
use crate::plan::bad_row::bad_rows;
use crate::plan::batch::plan_singly;
use crate::plan::group::{by_form, Group};

/// A statement to run.
pub struct Part {
    /// Its rows.
    pub group: Group<Job>,
    /// Together with the part before it, it was refused so: when that one succeeds, the bad row is
    /// in this one.
    pub refusal: Option<Refusal>,
    /// It was refused before, with rows that the error named and that are not in it any more.
    pub is_rest: bool,
}

impl From<Group<Job>> for Part {
    fn from(group: Group<Job>) -> Part {
        Part { group, refusal: None, is_rest: false }
    }
}

/// Statements to run, of which nothing is known.
pub fn parts(groups: Vec<Group<Job>>) -> Vec<Part> {
    groups.into_iter().map(Part::from).collect()
}

/// What is run in place of a refused statement of several rows: the rows that the error names after
/// the others, or halves.
pub fn split(mut part: Part, refusal: Refusal) -> Vec<Part> {
    let bad_rows = take_bad_rows(&mut part, &refusal);
    let is_rest = bad_rows.is_some();
    let (mapping, form) = (part.group.mapping.clone(), part.group.form.clone());
    let [first, second] = match bad_rows {
        Some(rows) => [part.group, Group { mapping, form, rows }],
        None => halves(part.group),
    };
    let second = Part { refusal: Some(refusal), ..second.into() };
    vec![Part { is_rest, ..first.into() }, second]
}

/// What is run in place of a refused mixed statement, where one row's columns may be what another
/// row's client has no part in: the rows that the error names by their own columns, or all.
pub fn unmix(mut part: Part, refusal: &Refusal) -> Vec<Part> {
    match take_bad_rows(&mut part, refusal) {
        Some(rows) => {
            let rest = Part { is_rest: true, ..part };
            std::iter::once(rest).chain(parts(by_form(rows))).collect()
        }
        None => parts(by_form(part.group.rows)),
    }
}

/// Takes out the rows that the error names. Not a second time: many bad rows would be found one by
/// one.
fn take_bad_rows(part: &mut Part, refusal: &Refusal) -> Option<Vec<Row>> {
    if part.is_rest {
        return None;
    }
    let mut bad_rows = bad_rows(refusal, &part.group.rows)?.into_iter();
    Some(part.group.rows.extract_if(.., |_| bad_rows.next() == Some(true)).collect())
}

/// The writes of all rows, where they are.
pub fn jobs_of(group: &Group<Job>) -> impl Iterator<Item = &Job> {
    group.rows.iter().flat_map(|row| &row.members)
}

/// The writes of all rows.
pub fn members(group: Group<Job>) -> Vec<Job> {
    group.rows.into_iter().flat_map(|row| row.members).collect()
}

/// The earlier and the later half: who came first is served first, so that a value that an earlier
/// write frees can be taken by a later one.
pub fn halves(mut group: Group<Job>) -> [Group<Job>; 2] {
    group.rows.sort_by_key(|row| row.members[0].id());
    let second = group.rows.split_off(group.rows.len() / 2);
    let (mapping, form) = (group.mapping.clone(), group.form.clone());
    let mut halves = [group, Group { mapping, form, rows: second }];
    halves.iter_mut().for_each(Group::sort);
    halves
}

/// Each row by itself, the earlier write first.
pub fn rows_apart(mut group: Group<Job>) -> Vec<Group<Job>> {
    group.rows.sort_by_key(|row| row.members[0].id());
    group.rows.into_iter().flat_map(|row| by_form(vec![row])).collect()
}

/// A row's writes one by one, in order.
pub fn singly(row: Row) -> Vec<Group<Job>> {
    plan_singly(row.members)
}
