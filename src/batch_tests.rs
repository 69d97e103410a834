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
fn writes_of_a_row_by_two_readings_of_the_catalog_keep_their_order() {
    let (old, new) = (mapping(), mapping());
    let jobs = vec![
        job(&old, 0, 1, &[(2, "a@x")]),
        job(&old, 1, 1, &[(2, "b@x")]),
        job(&new, 2, 1, &[(2, "c@x")]),
    ];
    assert_eq!(numbers(&plan(jobs)), [[[0]], [[1]], [[2]]]);
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
        let dates = row.get(&3).is_none_or(|d| change.mapping.columns[3].info.literal.accepts(d));
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
                let whole = copy.apply(row.change(), row.action());
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

#[test]
fn many_small_groups_are_one_mixed_statement() {
    let m = mapping();
    let sets: [&[(usize, &str)]; 4] =
        [&[(1, "a")], &[(2, "m")], &[(3, "1990-01-01")], &[(1, "b"), (2, "n")]];
    let jobs = |n: usize| (0..n).map(|i| job(&m, i, i as u8, sets[i])).collect();
    assert_eq!(plan(jobs(2)).len(), 2);
    let groups = plan(jobs(4));
    assert_eq!(numbers(&groups), [[[0], [1], [2], [3]]]);
    assert_eq!(groups[0].form, Form::Mixed);
    let masks = groups[0].rows.iter().map(|row| crate::mixed::mask(&m, row.action()));
    assert_eq!(masks.collect::<Vec<_>>(), [0b001, 0b010, 0b100, 0b011]);
}
