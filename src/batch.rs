//! From writes in order to statements: coalesce the writes of one row, group rows by shape.
//!
//! A plan is a list of groups, run in order. A group is one statement: rows of one table, each at
//! most once, with the same columns, sorted by key (two writers with overlapping unsorted
//! statements deadlock). Where two writes of a row can't be one, the later one is in a later wave.

use std::collections::HashMap;
use std::sync::Arc;

use crate::change::{merge, Action, Change};
use crate::mapping::Mapping;

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
    /// The members' actions as one.
    pub action: Action,
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
    /// The row's change by its first member: mapping and key are the same for all.
    pub fn change(&self) -> &Change {
        self.members[0].as_ref()
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
    let mut last: HashMap<(u64, Arc<[u8]>), usize> = HashMap::with_capacity(jobs.len());
    for job in jobs {
        let change = job.as_ref();
        let key = (change.mapping.version, change.target.clone());
        let alone = change.is_unsendable();
        let mut wave = 0;
        if let Some(&at) = last.get(&key) {
            let entry = &mut entries[at];
            if !alone && !entry.alone {
                if let Some(action) = merge(&change.mapping, &entry.row.action, &change.action) {
                    entry.row.action = action;
                    entry.row.members.push(job);
                    continue;
                }
            }
            wave = entry.wave + 1;
        }
        last.insert(key, entries.len());
        let row = Row { action: change.action.clone(), members: vec![job] };
        entries.push(Entry { wave, row, alone });
    }
    group(entries)
}

fn group<J: AsRef<Change>>(entries: Vec<Entry<J>>) -> Vec<Group<J>> {
    let mut groups: Vec<(usize, bool, Group<J>)> = Vec::new();
    for entry in entries {
        let change = entry.row.change();
        let fits = |(wave, alone, group): &(usize, bool, Group<J>)| {
            *wave == entry.wave
                && !alone
                && !entry.alone
                && group.mapping.version == change.mapping.version
                && group.form.is_of(&entry.row.action)
        };
        // The newest group is the likeliest.
        match groups.iter().rposition(fits) {
            Some(at) => groups[at].2.rows.push(entry.row),
            None => {
                let mapping = change.mapping.clone();
                let form = Form::of(&entry.row.action);
                groups.push((
                    entry.wave,
                    entry.alone,
                    Group { mapping, form, rows: vec![entry.row] },
                ));
            }
        }
    }
    groups.sort_by_key(|(wave, ..)| *wave);
    let mut groups: Vec<Group<J>> = groups.into_iter().map(|(.., group)| group).collect();
    for group in &mut groups {
        group.rows.sort_by(|a, b| a.change().target.cmp(&b.change().target));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::tests::{resolve, users};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone)]
    struct Job(usize, Change);

    impl AsRef<Change> for Job {
        fn as_ref(&self) -> &Change {
            &self.1
        }
    }

    fn mapping() -> Arc<Mapping> {
        Arc::new(resolve(r#"{"table":"users"}"#, &users()).unwrap())
    }

    fn job(mapping: &Arc<Mapping>, n: usize, id: u8, sets: &[(usize, &str)]) -> Job {
        let ops = sets.iter().map(|(c, v)| (*c, v.as_bytes().into())).collect();
        Job(n, Change::new(mapping, format!("users:{id}").as_bytes(), Action::Upsert(ops)))
    }

    fn numbers(groups: &[Group<Job>]) -> Vec<Vec<Vec<usize>>> {
        let members = |row: &Row<Job>| row.members.iter().map(|j| j.0).collect();
        groups.iter().map(|g| g.rows.iter().map(members).collect()).collect()
    }

    #[test]
    fn one_statement_for_many_rows_sorted_by_key() {
        let m = mapping();
        let jobs = vec![job(&m, 0, 3, &[(1, "a")]), job(&m, 1, 1, &[(1, "b")])];
        assert_eq!(numbers(&plan(jobs)), [[[1], [0]]]);
    }

    #[test]
    fn column_sets_are_apart_and_a_bad_value_is_alone() {
        let m = mapping();
        let jobs = vec![
            job(&m, 0, 1, &[(1, "a")]),
            job(&m, 1, 2, &[(3, "1990-01-01")]),
            job(&m, 2, 3, &[(1, "a\0")]),
            job(&m, 3, 4, &[(1, "d")]),
        ];
        assert_eq!(numbers(&plan(jobs)), [vec![vec![0], vec![3]], vec![vec![1]], vec![vec![2]]]);
    }

    #[test]
    fn what_cannot_be_one_comes_in_waves() {
        let m = mapping();
        let jobs = vec![
            job(&m, 0, 1, &[(1, "a"), (2, "x")]),
            job(&m, 1, 1, &[(1, "b")]),
            job(&m, 2, 1, &[(2, "y")]),
            job(&m, 3, 2, &[(1, "c"), (2, "z")]),
        ];
        assert_eq!(numbers(&plan(jobs)), [vec![vec![0, 1], vec![3]], vec![vec![2]]]);
    }

    /// A database of one table in which `dob` must be a date, `email` is unique, and `username`
    /// and `email` are NOT NULL.
    #[derive(Default, Debug, PartialEq, Clone)]
    struct Model(BTreeMap<Vec<u8>, BTreeMap<usize, Vec<u8>>>);

    impl Model {
        fn apply(&mut self, change: &Change, action: &Action) -> bool {
            let Action::Upsert(ops) = action else { unreachable!() };
            let mut row = self.0.get(&change.target[..]).cloned().unwrap_or_default();
            for (c, value) in ops {
                row.insert(*c, value.to_vec());
            }
            let dates =
                row.get(&3).is_none_or(|d| change.mapping.columns[3].info.literal.accepts(d));
            let complete = row.contains_key(&1) && row.contains_key(&2);
            let unique =
                !self.0.iter().any(|(k, r)| k[..] != change.target[..] && r.get(&2) == row.get(&2));
            if dates && complete && unique {
                self.0.insert(change.target.to_vec(), row);
            }
            dates && complete && unique
        }
    }

    proptest! {
        /// Any interleaving of writes gives, planned, the table and the answers that the same
        /// writes give one by one in an order that keeps each row's own.
        #[test]
        fn a_plan_is_its_writes_one_by_one(
            writes in prop::collection::vec(
                (0..4u8, prop::collection::btree_map(1..4usize, 0..4usize, 1..4)), 1..24)
        ) {
            const VALUES: [[&str; 4]; 4] = [
                ["", "", "", ""],
                ["ann", "bob", "cid", "a\0"],
                ["a@x", "b@x", "c@x", "d@x"],
                ["1990-01-01", "1990-01-02", "no date", "2000-02-30"],
            ];
            let m = mapping();
            let jobs: Vec<Job> = writes.iter().enumerate().map(|(n, (id, sets))| {
                let sets: Vec<_> = sets.iter().map(|(c, v)| (*c, VALUES[*c][*v])).collect();
                job(&m, n, *id, &sets)
            }).collect();
            let (mut planned, mut single) = (Model::default(), Model::default());
            for group in plan(jobs) {
                let mut seen = std::collections::HashSet::new();
                for row in &group.rows {
                    prop_assert!(seen.insert(row.change().target.clone()), "a row twice");
                    let mut copy = planned.clone();
                    let whole = copy.apply(row.change(), &row.action);
                    let each: Vec<bool> =
                        row.members.iter().map(|j| single.apply(&j.1, &j.1.action)).collect();
                    if whole {
                        planned = copy;
                        prop_assert!(each.iter().all(|ok| *ok), "an answer that one by one is no");
                    } else {
                        // The worker runs the members one by one.
                        for member in &row.members {
                            planned.apply(&member.1, &member.1.action);
                        }
                    }
                    prop_assert_eq!(&planned, &single);
                }
            }
        }
    }
}
