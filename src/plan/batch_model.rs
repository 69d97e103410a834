//! The planner against a simple model: a table in memory.
//!
//! The unit tests and `fuzz/` share it: both make writes of random bytes, and ask that planned
//! and run as a worker runs them they give the rows and the answers that they give one by one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::change::{increment, Action, Bytes, Change};
use crate::model::input_syntax::InputSyntax;
use crate::model::mapping::Mapping;
use crate::model::range::Range;
use crate::model::table::{Constraint, DefaultValue, Index, Table, TableColumn};
use crate::plan::batch::{plan, Form, Group, Row};

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
const NOTE: usize = 5;

/// What looks at `count`, and what a new row gets in `note`: a table of its own for each pair.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    count: Rule,
    /// `note text default 'bad' check (note <> 'bad')`: a row can't be added without one.
    is_note_needed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    Nothing,
    /// `check (count >= low and count < 100)`
    Range(i64),
    /// `check (count <> 7)`
    NotSeven,
    /// A foreign key to a table that holds these.
    OneOf([i64; 3]),
    Unique,
    /// An index on `(100 / count)`.
    Divides,
    /// A plain index, which takes any number.
    Indexed,
}

impl Rules {
    /// By a random byte.
    fn of(byte: u8) -> Rules {
        let count = match byte % 8 {
            0 => Rule::Nothing,
            1 | 2 => Rule::Range(i32::MIN.into()),
            3 => Rule::Range(5),
            4 => Rule::NotSeven,
            5 => Rule::OneOf([0, 7, 10]),
            6 if byte & 16 == 0 => Rule::Unique,
            6 => Rule::Indexed,
            _ => Rule::Divides,
        };
        Rules { count, is_note_needed: byte & 8 != 0 }
    }

    fn allows(self, row: &Columns, others: impl Iterator<Item = Option<i64>>) -> bool {
        let Some(count) = number(row) else { return true };
        let mut others = others.flatten();
        match self.count {
            Rule::Nothing | Rule::Indexed => true,
            Rule::Range(low) => (low..100).contains(&count),
            Rule::NotSeven => count != 7,
            Rule::OneOf(numbers) => numbers.contains(&count),
            Rule::Unique => !others.any(|other| other == count),
            Rule::Divides => count != 0,
        }
    }

    fn constraints(self) -> Vec<Constraint> {
        let of_count = Constraint { is_check: true, columns: Some(vec![COUNT]), ranges: None };
        let mut constraints = match self.count {
            Rule::Range(low) => {
                let ranges = Some(vec![(COUNT, Range { low, high: 99 })]);
                vec![Constraint { ranges, ..of_count }]
            }
            Rule::NotSeven => vec![of_count],
            Rule::OneOf(_) => vec![Constraint { is_check: false, ..of_count }],
            Rule::Nothing | Rule::Unique | Rule::Divides | Rule::Indexed => Vec::new(),
        };
        if self.is_note_needed {
            let columns = Some(vec![NOTE]);
            constraints.push(Constraint { is_check: true, columns, ranges: None });
        }
        constraints
    }

    fn indexes(self) -> Vec<Index> {
        let unique = |column| Index {
            key: vec![column],
            columns: Some(vec![column]),
            is_unique: true,
            is_arbiter: true,
            is_exact: true,
            is_builtin: true,
        };
        let of_count = match self.count {
            Rule::Unique => Some(unique(COUNT)),
            Rule::Divides => Some(Index { is_builtin: true, ..Index::default() }),
            Rule::Indexed => Some(Index { is_unique: false, is_arbiter: false, ..unique(COUNT) }),
            _ => None,
        };
        [unique(0), unique(EMAIL)].into_iter().chain(of_count).collect()
    }
}

/// `people (id, name not null, email unique, born date, count int, note)` with these rules.
fn mapping(rules: Rules) -> Arc<Mapping> {
    let column = |name: &str, cast: &str, literal| TableColumn {
        name: name.into(),
        cast: cast.into(),
        base: cast.into(),
        type_name: cast.into(),
        numeric: cast == "integer",
        input: literal,
        is_toasted: true,
        is_identity: true,
        ..TableColumn::default()
    };
    let whole = InputSyntax::Integer(i32::MIN.into(), i32::MAX.into());
    let text = |name| column(name, "text", InputSyntax::Text(None));
    let note = match rules.is_note_needed {
        true => DefaultValue::Constant(None),
        false => DefaultValue::Null,
    };
    let columns = vec![
        TableColumn { not_null: true, ..column("id", "integer", whole) },
        TableColumn { not_null: true, ..text("name") },
        text("email"),
        column("born", "date", InputSyntax::Date),
        column("count", "integer", whole),
        TableColumn { default: note, ..text("note") },
    ];
    let table = Table {
        schema: "public".into(),
        name: "people".into(),
        columns,
        primary_key: vec![0],
        indexes: rules.indexes(),
        constraints: rules.constraints(),
        is_ordinary: true,
        ..Table::default()
    };
    let config = serde_json::from_str(r#"{"table":"people"}"#).expect("a document");
    Arc::new(Mapping::resolve(0, &config, &table).expect("it fits the table"))
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
            6 | 7 => (row, Action::Upsert((1..6).map(|c| (c, pick(c))).collect())),
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

type Columns = BTreeMap<usize, Vec<u8>>;

/// The number in `count`.
fn number(row: &Columns) -> Option<i64> {
    row.get(&COUNT).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok())
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
            Action::Erase(_) | Action::Read | Action::Pass => return Some(0),
        }
        let fits = |(c, value): (&usize, &Vec<u8>)| {
            let text = !value.contains(&0);
            text && (*c != BORN || change.mapping.columns[BORN].info.input.accepts(value))
        };
        let others = || self.0.iter().filter(|(key, _)| **key != change.target).map(|(_, row)| row);
        let taken =
            row.contains_key(&EMAIL) && others().any(|other| other.get(&EMAIL) == row.get(&EMAIL));
        let has_note = !rules.is_note_needed || old.is_some() || row.contains_key(&NOTE);
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
        for group in crate::plan::batch::by_form(left).into_iter().rev() {
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
