use super::*;
use crate::model::action::Action;
use crate::model::form::Form;
use crate::model::mapping::tests::{resolve, users};
use crate::model::mapping::Mapping;
use proptest::prelude::*;

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Any interleaving of writes gives, planned, the rows and the answers that the same writes
    /// give one by one in an order that keeps each row's own. All actions, and the mixed form.
    #[test]
    fn a_plan_is_its_writes_one_by_one(
        table in any::<u8>(),
        writes in prop::collection::vec(prop::array::uniform4(any::<u8>()), 1..32)
    ) {
        let bytes = [&[table][..], &writes.concat()].concat();
        crate::plan::batch::model::check(crate::plan::batch::model::decode(&bytes)).map_err(TestCaseError::fail)?;
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
    let masks = groups[0].rows.iter().map(|row| crate::plan::mixed::mask(&m, row.action()));
    assert_eq!(masks.collect::<Vec<_>>(), [0b001, 0b010, 0b100, 0b011]);
}
