//! A statement taken apart.

use super::super::job::{Job, Row};
use crate::batch::{by_form, Group};

/// The writes of all rows.
pub fn members(group: Group<Job>) -> Vec<Job> {
    group.rows.into_iter().flat_map(|row| row.members).collect()
}

/// The earlier and the later half: who came first is served first, so that a value that an earlier
/// write frees can be taken by a later one.
pub fn halves(mut group: Group<Job>) -> Vec<Group<Job>> {
    group.rows.sort_by_key(|row| row.members[0].id());
    let second = group.rows.split_off(group.rows.len() / 2);
    let (mapping, form) = (group.mapping.clone(), group.form.clone());
    let mut halves = vec![group, Group { mapping, form, rows: second }];
    halves.iter_mut().for_each(Group::sort);
    halves
}

/// A row's writes one by one, in order.
pub fn singly(row: Row) -> Vec<Group<Job>> {
    row.members.into_iter().flat_map(|job| by_form(vec![Row::of(job)])).collect()
}
