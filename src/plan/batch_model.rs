//! The planner against a simple model: a table in memory.
//!
//! The unit tests and `fuzz/` share it: both make writes of random bytes, and ask that planned
//! and run as a worker runs them they give the rows and the answers that they give one by one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::action::{Action, Bytes};
use crate::model::change::Change;
use crate::model::form::Form;
use crate::plan::batch::plan;
use crate::plan::group::{Group, Row};
use crate::plan::merge::increment;
use rules::{mapping, number, Columns, Rules, BORN, COUNT, EMAIL, NAME, NOTE};

#[path = "batch_rules.rs"]
mod rules;

/// A write with its number.
#[derive(Debug, Clone)]
pub struct Job(usize, Change);

impl AsRef<Change> for Job {
    fn as_ref(&self) -> &Change {
        &self.1
    }
}

/// The first byte is the table, and four bytes are one write.
pub fn decode(bytes: &[u8]) -> (Rules, Vec<Job>) {
    const VALUES: [[&str; 4]; 6] = [
        ["", "", "", ""],
        ["ann", "bob", "cid", "a\0"],
        ["a@x", "b@x", "c@x", "d@x"],
        ["1990-01-01", "1990-01-02", "no date", "2000-02-30"],
        ["7", "-3", "0", "200"],
        ["n", "m", "", "\0"],
    ];
    let (first, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let rules = Rules::of(*first);
    let mapping = mapping(rules);
    let value =
        |column: usize, n: u8| -> Bytes { VALUES[column][n as usize % 4].as_bytes().into() };
    let writes = bytes.chunks_exact(4).map(|bytes| {
        let [row, kind, mask, values] = bytes.try_into().expect("four bytes");
        let one = 1 + mask as usize % 5;
        let many = (1..6).filter(|column| mask >> column & 1 == 1);
        let pick = |column: usize| value(column, values >> column);
        match kind % 16 {
            0..=5 => (row, Action::Upsert(many.map(|c| (c, pick(c))).collect())),
            6 => (row, Action::Upsert((1..6).map(|c| (c, pick(c))).collect())),
            7 => (row, Action::Replace(many.map(|c| (c, pick(c))).collect())),
            8 => (row, Action::Erase(many.collect())),
            9..=11 => (
                row,
                Action::Add(
                    COUNT,
                    format!("{}", i8::from_ne_bytes([values]) / 16).as_bytes().into(),
                ),
            ),
            12 => (row, Action::Fill(one, pick(one))),
            13 => (row, Action::Delete),
            14 => (row, Action::Read),
            _ => (row, Action::Pass),
        }
    });
    let change = |(row, action): (u8, Action)| {
        Change::new(&mapping, format!("people:{}", row % 8).as_bytes(), action)
    };
    (rules, writes.map(change).enumerate().map(|(n, change)| Job(n, change)).collect())
}

/// The table.
#[derive(Default, Debug, PartialEq, Clone)]
struct Model(BTreeMap<Arc<[u8]>, Columns>);

/// The number in `count` for an increment, 0 for anything else; `None` for a refusal.
type Answer = Option<i64>;

impl Model {
    fn apply(&mut self, rules: Rules, change: &Change, action: &Action) -> Answer {
        let old = self.0.get(&change.target);
        let mut row = old.cloned().unwrap_or_default();
        match action {
            Action::Upsert(sets) => {
                row.extend(sets.iter().map(|(c, value)| (*c, value.to_vec())));
            }
            Action::Replace(sets) => {
                row = sets.iter().map(|(c, value)| (*c, value.to_vec())).collect();
            }
            Action::Erase(columns) if old.is_some() => row.retain(|c, _| !columns.contains(c)),
            Action::Add(column, by) => {
                let sum: i64 =
                    number(&row).unwrap_or(0) + increment(&change.mapping.columns[*column], by)?;
                row.insert(*column, sum.to_string().into_bytes());
            }
            Action::Fill(column, value) => {
                row.entry(*column).or_insert_with(|| value.to_vec());
            }
            Action::Delete => {
                self.0.remove(&change.target);
                return Some(0);
            }
            Action::Erase(_) | Action::Read | Action::Expect(_) | Action::Pass => return Some(0),
        }
        let fits = |(c, value): (&usize, &Vec<u8>)| {
            let text = !value.contains(&0);
            text && (*c != BORN || change.mapping.columns[BORN].info.input.accepts(value))
        };
        let others = || self.0.iter().filter(|(key, _)| **key != change.target).map(|(_, row)| row);
        let taken =
            row.contains_key(&EMAIL) && others().any(|other| other.get(&EMAIL) == row.get(&EMAIL));
        let keeps_note = old.is_some() && !matches!(action, Action::Replace(_));
        let has_note = !rules.is_note_needed || keeps_note || row.contains_key(&NOTE);
        let whole = row.contains_key(&NAME) && has_note && row.iter().all(fits);
        let in_type = number(&row).is_none_or(|count| i32::try_from(count).is_ok());
        if !whole || taken || !in_type || !rules.allows(&row, others().map(number)) {
            return None;
        }
        let is_sum = matches!(action, Action::Add(..));
        let answer = number(&row).filter(|_| is_sum).unwrap_or(0);
        self.0.insert(change.target.clone(), row);
        Some(answer)
    }
}

/// Runs the plan as a worker does, each of its rows as a statement of its own, and compares each
/// with its writes one by one. An error says what differs.
pub fn check((rules, jobs): (Rules, Vec<Job>)) -> Result<(), String> {
    let count = jobs.len();
    let (mut planned, mut single) = (Model::default(), Model::default());
    let mut run: HashMap<Arc<[u8]>, Vec<usize>> = HashMap::new();
    let mut groups = std::collections::VecDeque::from(plan(jobs));
    while let Some(group) = groups.pop_front() {
        let missing = check_group(&group, &planned)?;
        for (at, row) in group.rows.iter().enumerate() {
            if missing.contains(&at) {
                continue;
            }
            let numbers = run.entry(row.change().target.clone()).or_default();
            numbers.extend(row.members.iter().map(|job| job.0));
            let each: Vec<Answer> =
                row.members.iter().map(|job| single.apply(rules, &job.1, &job.1.action)).collect();
            let mut whole = planned.clone();
            match whole.apply(rules, row.change(), row.action()) {
                Some(total) => {
                    planned = whole;
                    let told = answers(row, total);
                    if told != each {
                        return Err(format!("answers {told:?}, one by one {each:?}: {row:?}"));
                    }
                }
                // The worker runs the members one by one.
                None => row.members.iter().for_each(|job| {
                    planned.apply(rules, &job.1, &job.1.action);
                }),
            }
            if planned != single {
                return Err(format!("{planned:?} is not {single:?} after {row:?}"));
            }
        }
        // What a mixed statement didn't find goes by its own statement, before later groups.
        let rows = group.rows.into_iter().enumerate();
        let left = rows.filter(|(at, _)| missing.contains(at)).map(|(_, row)| row).collect();
        for group in crate::plan::group::by_form(left).into_iter().rev() {
            groups.push_front(group);
        }
    }
    let numbers = run.values();
    if numbers.clone().any(|numbers| !numbers.is_sorted_by(|a, b| a < b)) {
        return Err(format!("writes of a row in another order: {run:?}"));
    }
    let total: usize = numbers.map(Vec::len).sum();
    (total == count).then_some(()).ok_or(format!("{total} of {count} writes were run"))
}

/// A group is a valid statement. The rows that a mixed one leaves out.
fn check_group(group: &Group<Job>, table: &Model) -> Result<Vec<usize>, String> {
    let sorted = group.rows.is_sorted_by(|a, b| a.change().target < b.change().target);
    if !sorted {
        return Err("rows unsorted, or one twice".into());
    }
    let fits = |row: &Row<Job>| match group.form {
        Form::Mixed => matches!(row.action(), Action::Upsert(sets) if !sets.is_empty()),
        _ => Form::of(row.action()) == group.form,
    };
    if !group.rows.iter().all(fits) {
        return Err(format!("an action that its statement can't do: {group:?}"));
    }
    let is_left_out = |row: &Row<Job>| !table.0.contains_key(&row.change().target);
    let rows = group.rows.iter().enumerate();
    let missing = rows.filter(|(_, row)| group.form == Form::Mixed && is_left_out(row));
    Ok(missing.map(|(at, _)| at).collect())
}

/// What a worker answers when the database says `total`.
fn answers(row: &Row<Job>, total: i64) -> Vec<Answer> {
    let mut later = 0;
    let back = row.members.iter().rev().map(|job| {
        let answer = total - later;
        if let Action::Add(column, by) = &job.1.action {
            later += increment(&job.1.mapping.columns[*column], by).unwrap_or(0);
        }
        Some(answer)
    });
    let mut answers: Vec<Answer> = back.collect();
    answers.reverse();
    answers
}
