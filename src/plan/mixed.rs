//! Many small groups with different columns as one statement.
//!
//! When every client sets other columns, a statement for each set of columns is a statement for
//! each row. One UPDATE can set in each row its own columns, told by a mask; rows that it doesn't
//! find go by their own statements, since an INSERT must know which defaults to leave alone.

use super::group::Group;
use crate::model::action::Action;
use crate::model::change::Change;
use crate::model::form::Form;
use crate::model::mapping::Mapping;

/// Groups of fewer rows than this are small.
const SMALL: usize = 8;

/// So many small groups are worth a mixed statement.
const MANY: usize = 3;

/// The mask is a `bigint`.
const COLUMNS_MAX: usize = 63;

/// Makes one mixed group of a table's small upserts, where they are many.
pub fn combine<J: AsRef<Change>>(groups: Vec<Group<J>>) -> Vec<Group<J>> {
    let small = |group: &Group<J>| group.rows.len() < SMALL && can_mix(&group.mapping, &group.form);
    if groups.iter().filter(|group| small(group)).count() < MANY {
        return groups;
    }
    let mut combined: Vec<Group<J>> = Vec::new();
    for group in groups {
        let is_small = small(&group);
        let fits = |other: &&mut Group<J>| {
            other.form == Form::Mixed && other.mapping.version == group.mapping.version
        };
        match combined.iter_mut().find(fits) {
            Some(mixed) if is_small => mixed.rows.extend(group.rows),
            _ if is_small => combined.push(Group { form: Form::Mixed, ..group }),
            _ => combined.push(group),
        }
    }
    combined.iter_mut().filter(|group| group.form == Form::Mixed).for_each(Group::sort);
    combined
}

fn can_mix(mapping: &Mapping, form: &Form) -> bool {
    let is_upsert = matches!(form, Form::Upsert(columns) if !columns.is_empty());
    is_upsert
        && mapping.is_certain
        && mapping.shares
        && !mapping.has_paths()
        && mapping.value_len() <= COLUMNS_MAX
}

/// Which of the mapping's columns an action sets, a bit a column from the first after the key.
pub fn mask(mapping: &Mapping, action: &Action) -> i64 {
    action.values().fold(0, |mask, (column, _)| mask | bit(mapping, column))
}

/// The bit of a column.
pub fn bit(mapping: &Mapping, column: usize) -> i64 {
    1 << (column - mapping.key_len)
}
