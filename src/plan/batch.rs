//! From writes in order to statements: coalesce the writes of one row, group rows by shape.
//!
//! A plan is a list of groups, run in order. A group is one statement: rows of one table, each at
//! most once, with the same columns, sorted by key (two writers with overlapping unsorted
//! statements deadlock). Where two writes of a row can't be one, the later one is in a later wave.

use std::collections::HashMap;
use std::sync::Arc;

use super::mixed;
use crate::model::change::{merge, Action, Change};
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

/// What a statement does, without its values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Form {
    /// Set these columns; insert missing rows.
    Upsert(Vec<usize>),
    /// Set in each row the columns that its own action names; leave missing rows out.
    Mixed,
    /// Set these columns to NULL.
    Erase(Vec<usize>),
    /// Add to this column; insert missing rows.
    Add(usize),
    /// Set this column where it is NULL; insert missing rows.
    Fill(usize),
    /// Delete the rows.
    Delete,
    /// Read the rows.
    Read,
    /// No statement at all.
    Pass,
}

/// One row of a group, and the writes that became one in it, in order.
#[derive(Debug)]
pub struct Row<J> {
    /// The members' actions as one, where there are several.
    merged: Option<Action>,
    /// The writes, in order. Never empty.
    pub members: Vec<J>,
}

impl Form {
    /// The form of an action.
    pub fn of(action: &Action) -> Form {
        match action {
            Action::Upsert(sets) => Form::Upsert(sets.iter().map(|(c, _)| *c).collect()),
            Action::Erase(columns) => Form::Erase(columns.clone()),
            Action::Add(column, _) => Form::Add(*column),
            Action::Fill(column, _) => Form::Fill(*column),
            Action::Delete => Form::Delete,
            Action::Read => Form::Read,
            Action::Pass => Form::Pass,
        }
    }

    /// The columns, besides the key's, that a missing row is added with; `None` where none is added.
    pub fn added(&self) -> Option<Vec<usize>> {
        match self {
            Form::Upsert(columns) => Some(columns.clone()),
            Form::Add(column) | Form::Fill(column) => Some(vec![*column]),
            _ => None,
        }
    }

    /// True when it only looks at rows.
    pub fn only_looks(&self) -> bool {
        matches!(self, Form::Read | Form::Pass)
    }

    /// True when doing it twice differs from doing it once, in the row or in the answer.
    pub fn is_once(&self) -> bool {
        matches!(self, Form::Add(_) | Form::Fill(_))
    }

    /// `*self == Form::of(action)`, without making one.
    fn is_of(&self, action: &Action) -> bool {
        match (self, action) {
            (Form::Upsert(columns), Action::Upsert(sets)) => {
                columns.iter().eq(sets.iter().map(|(c, _)| c))
            }
            (Form::Upsert(_), _) | (_, Action::Upsert(_)) => false,
            _ => *self == Form::of(action),
        }
    }
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

struct Entry<J> {
    wave: usize,
    row: Row<J>,
    alone: bool,
}

/// Plans `jobs`, which are in the order in which the server executed them.
pub fn plan<J: AsRef<Change>>(jobs: Vec<J>) -> Vec<Group<J>> {
    let mut entries: Vec<Entry<J>> = Vec::with_capacity(jobs.len());
    let mut last: HashMap<Arc<[u8]>, usize> = HashMap::with_capacity(jobs.len());
    for job in jobs {
        let change = job.as_ref();
        let shares = change.mapping.shares || change.action.only_looks();
        let alone = !shares || change.is_unsendable();
        let mut wave = 0;
        if let Some(&at) = last.get(&change.target) {
            let entry = &mut entries[at];
            // Two readings of the catalog number columns in two ways.
            let is_same = entry.row.change().mapping.version == change.mapping.version;
            if is_same && !alone && !entry.alone {
                let merged = merge(&change.mapping, entry.row.action(), &change.action);
                if merged.is_some() {
                    entry.row.merged = merged;
                    entry.row.members.push(job);
                    continue;
                }
            }
            wave = entry.wave + 1;
        }
        last.insert(change.target.clone(), entries.len());
        entries.push(Entry { wave, row: Row::of(job), alone });
    }
    group(entries)
}

fn group<J: AsRef<Change>>(entries: Vec<Entry<J>>) -> Vec<Group<J>> {
    let waves = entries.iter().map(|entry| entry.wave + 1).max().unwrap_or(0);
    let (mut together, mut alone) = (by_wave(waves), by_wave(waves));
    for entry in entries {
        let waves = if entry.alone { &mut alone } else { &mut together };
        waves[entry.wave].push(entry.row);
    }
    let mut groups = Vec::new();
    for (together, alone) in together.into_iter().zip(alone) {
        groups.extend(mixed::combine(by_form(together)));
        groups.extend(alone.into_iter().flat_map(|row| by_form(vec![row])));
    }
    groups
}

fn by_wave<T>(waves: usize) -> Vec<Vec<T>> {
    (0..waves).map(|_| Vec::new()).collect()
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

#[cfg(test)]
#[path = "batch_model.rs"]
mod model;
#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
