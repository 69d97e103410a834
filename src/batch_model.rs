//! The planner against a simple model: a table in memory.
//!
//! The unit tests and `fuzz/` share it: both make writes of random bytes, and ask that planned
//! and run as a worker runs them they give the rows and the answers that they give one by one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::batch::{plan, Form, Group, Row};
use crate::change::{increment, Action, Bytes, Change};
use crate::literal::Literal;
use crate::mapping::Mapping;
use crate::table::{Table, TableColumn};

/// A write with its number.
#[derive(Debug, Clone)]
pub struct Job(usize, Change);

impl AsRef<Change> for Job {
    fn as_ref(&self) -> &Change {
        &self.1
    }
}

const NAME: usize = 1;
const EMAIL: usize = 2;
const BORN: usize = 3;
const COUNT: usize = 4;

/// `people (id, name not null, email unique, born date, count int check (count < 100), note)`.
fn mapping() -> Arc<Mapping> {
    let column = |name: &str, cast: &str, literal| TableColumn {
        name: name.into(),
        cast: cast.into(),
        base: cast.into(),
        type_name: cast.into(),
        numeric: cast == "integer",
        literal,
        ..TableColumn::default()
    };
    let number = Literal::Integer(i32::MIN.into(), i32::MAX.into());
    let text = |name| column(name, "text", Literal::Text(None));
    let columns = vec![
        TableColumn { not_null: true, ..column("id", "integer", number) },
        TableColumn { not_null: true, ..text("name") },
        text("email"),
        column("born", "date", Literal::Date),
        column("count", "integer", number),
        text("note"),
    ];
    let table = Table {
        schema: "public".into(),
        name: "people".into(),
        columns,
        primary_key: vec![0],
        unique: vec![vec![0], vec![EMAIL]],
        guards: vec![vec![0], vec![EMAIL], vec![COUNT]],
        checks: vec![vec![COUNT]],
        ranges: vec![vec![COUNT]],
        ..Table::default()
    };
    let config = serde_json::from_str(r#"{"table":"people"}"#).expect("a document");
    Arc::new(Mapping::resolve(0, &config, &table).expect("it fits the table"))
}

/// Four bytes are one write.
pub fn decode(bytes: &[u8]) -> Vec<Job> {
    const VALUES: [[&str; 4]; 6] = [
        ["", "", "", ""],
        ["ann", "bob", "cid", "a\0"],
        ["a@x", "b@x", "c@x", "d@x"],
        ["1990-01-01", "1990-01-02", "no date", "2000-02-30"],
        ["7", "-3", "99", "200"],
        ["n", "m", "", "\0"],
    ];
    let mapping = mapping();
    let value =
        |column: usize, n: u8| -> Bytes { VALUES[column][n as usize % 4].as_bytes().into() };
    let writes = bytes.chunks_exact(4).map(|bytes| {
        let [row, kind, mask, values] = bytes.try_into().expect("four bytes");
        let one = 1 + mask as usize % 5;
        let many = (1..6).filter(|column| mask >> column & 1 == 1);
        let pick = |column: usize| value(column, values >> column);
        match kind % 16 {
            0..=5 => (row, Action::Upsert(many.map(|c| (c, pick(c))).collect())),
            6 | 7 => (row, Action::Upsert((1..6).map(|c| (c, pick(c))).collect())),
            8 => (row, Action::Erase(many.collect())),
            9..=11 => (row, Action::Add(COUNT, pick(COUNT))),
            12 => (row, Action::Fill(one, pick(one))),
            13 => (row, Action::Delete),
            14 => (row, Action::Read),
            _ => (row, Action::Pass),
        }
    });
    let change = |(row, action): (u8, Action)| {
        Change::new(&mapping, format!("people:{}", row % 8).as_bytes(), action)
    };
    writes.map(change).enumerate().map(|(n, change)| Job(n, change)).collect()
}

type Columns = BTreeMap<usize, Vec<u8>>;

/// The table.
#[derive(Default, Debug, PartialEq, Clone)]
struct Model(BTreeMap<Arc<[u8]>, Columns>);

/// The number in `count` for an increment, 0 for anything else; `None` for a refusal.
type Answer = Option<i64>;

impl Model {
    fn apply(&mut self, change: &Change, action: &Action) -> Answer {
        let old = self.0.get(&change.target);
        let mut row = old.cloned().unwrap_or_default();
        let count = |row: &Columns| {
            row.get(&COUNT).map_or(0, |text| std::str::from_utf8(text).unwrap().parse().unwrap())
        };
        match action {
            Action::Upsert(sets) => {
                row.extend(sets.iter().map(|(c, value)| (*c, value.to_vec())));
            }
            Action::Erase(columns) if old.is_some() => row.retain(|c, _| !columns.contains(c)),
            Action::Add(column, by) => {
                let sum: i64 = count(&row) + increment(&change.mapping.columns[*column], by)?;
                row.insert(*column, sum.to_string().into_bytes());
            }
            Action::Fill(column, value) => {
                row.entry(*column).or_insert_with(|| value.to_vec());
            }
            Action::Delete => {
                self.0.remove(&change.target);
                return Some(0);
            }
            Action::Erase(_) | Action::Read | Action::Pass => return Some(0),
        }
        let fits = |(c, value): (&usize, &Vec<u8>)| {
            let text = !value.contains(&0);
            text && (*c != BORN || change.mapping.columns[BORN].info.literal.accepts(value))
        };
        let mut others = self.0.iter().filter(|(key, _)| **key != change.target);
        let taken = row.contains_key(&EMAIL)
            && others.any(|(_, other)| other.get(&EMAIL) == row.get(&EMAIL));
        let whole = row.contains_key(&NAME) && row.iter().all(fits);
        if !whole || taken || count(&row) >= 100 || count(&row) < i32::MIN.into() {
            return None;
        }
        let answer = if matches!(action, Action::Add(..)) { count(&row) } else { 0 };
        self.0.insert(change.target.clone(), row);
        Some(answer)
    }
}

/// Runs the plan as a worker does, each of its rows as a statement of its own, and compares each
/// with its writes one by one. An error says what differs.
pub fn check(jobs: Vec<Job>) -> Result<(), String> {
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
                row.members.iter().map(|job| single.apply(&job.1, &job.1.action)).collect();
            let mut whole = planned.clone();
            match whole.apply(row.change(), row.action()) {
                Some(total) => {
                    planned = whole;
                    let told = answers(row, total);
                    if told != each {
                        return Err(format!("answers {told:?}, one by one {each:?}: {row:?}"));
                    }
                }
                // The worker runs the members one by one.
                None => row.members.iter().for_each(|job| {
                    planned.apply(&job.1, &job.1.action);
                }),
            }
            if planned != single {
                return Err(format!("{planned:?} is not {single:?} after {row:?}"));
            }
        }
        // What a mixed statement didn't find goes by its own statement, before later groups.
        let rows = group.rows.into_iter().enumerate();
        let left = rows.filter(|(at, _)| missing.contains(at)).map(|(_, row)| row).collect();
        for group in crate::batch::by_form(left).into_iter().rev() {
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
