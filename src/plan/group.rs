//! One statement: its form, and its rows with the writes that became one in each.

use std::sync::Arc;

use crate::model::action::Action;
use crate::model::change::Change;
use crate::model::form::Form;
use crate::model::mapping::Mapping;

/// One statement: rows of one table with the same form, sorted by key, each row once.
#[derive(Debug)]
pub struct Group<J> {
    /// The table.
    pub mapping: Arc<Mapping>,
    /// What the statement does.
    pub form: Form,
    /// The rows.
    pub rows: Vec<Row<J>>,
}

/// One row of a group, and the writes that became one in it, in order.
#[derive(Debug)]
pub struct Row<J> {
    /// The members' actions as one, where there are several.
    pub(super) merged: Option<Action>,
    /// The writes, in order. Never empty.
    pub members: Vec<J>,
}

impl<J: AsRef<Change>> Row<J> {
    /// The row of one write.
    pub fn of(job: J) -> Row<J> {
        Row { merged: None, members: vec![job] }
    }

    /// The row's change by its first member: mapping and key are the same for all.
    pub fn change(&self) -> &Change {
        self.members[0].as_ref()
    }

    /// The members' actions as one.
    pub fn action(&self) -> &Action {
        self.merged.as_ref().unwrap_or(&self.change().action)
    }
}

/// Rows of the same table and form, sorted by key.
pub fn by_form<J: AsRef<Change>>(rows: Vec<Row<J>>) -> Vec<Group<J>> {
    let mut groups: Vec<Group<J>> = Vec::new();
    for row in rows {
        let mapping = &row.change().mapping;
        // The newest group is the likeliest.
        let fits = |group: &Group<J>| {
            group.mapping.version == mapping.version && group.form.is_of(row.action())
        };
        match groups.iter().rposition(fits) {
            Some(at) => groups[at].rows.push(row),
            None => groups.push(Group {
                mapping: mapping.clone(),
                form: Form::of(row.action()),
                rows: vec![row],
            }),
        }
    }
    groups.iter_mut().for_each(Group::sort);
    groups
}

impl<J: AsRef<Change>> Group<J> {
    /// Sorts the rows by key.
    pub fn sort(&mut self) {
        self.rows.sort_by(|a, b| a.change().target.cmp(&b.change().target));
    }
}
