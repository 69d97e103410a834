//! What the clients saw, and whether the table and the cache agree with it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

/// One command of one client.
#[derive(Debug, Clone)]
pub struct Op {
    pub table: &'static str,
    pub id: usize,
    pub act: Act,
    /// When it was sent, and when its answer came.
    pub start: Duration,
    pub end: Duration,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// A value that no other command writes.
    Set(String),
    Delete,
    /// A positive number.
    Add(i64),
    /// What the cache held.
    Saw(String),
    /// So much is moved to the account of this number.
    Transfer(usize, i64),
    /// 1 is added, by a token that is sent until it is answered.
    Once,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// With the number of the answer.
    Acknowledged(i64),
    /// Nothing was written.
    Refused,
    /// No answer says whether it was written.
    Unknown,
}

impl Op {
    fn is_acknowledged(&self) -> bool {
        matches!(self.outcome, Outcome::Acknowledged(_))
    }

    /// When its effect was over: never, as long as nobody knows.
    fn over(&self) -> Duration {
        if self.is_acknowledged() {
            self.end
        } else {
            Duration::MAX
        }
    }

    fn writes(&self, value: Option<&str>) -> bool {
        match &self.act {
            Act::Set(text) => value == Some(text),
            Act::Delete => value.is_none(),
            _ => false,
        }
    }
}

/// What is in the table at the end: `v` of `items` and `logged`, `n` of `counters`.
pub type Column = BTreeMap<usize, String>;

/// All that is wrong with `ops`, given the table and the log that a trigger kept of `logged`: in
/// the order of the table, each value with its row.
pub fn check(
    ops: &[Op],
    items: &Column,
    counters: &Column,
    log: &[(usize, String)],
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut by_key: BTreeMap<(&str, usize), Vec<&Op>> = BTreeMap::new();
    for op in ops {
        by_key.entry((op.table, op.id)).or_default().push(op);
    }
    for ((table, id), ops) in by_key {
        let found = match table {
            "items" => check_register(&ops, items.get(&id).map(String::as_str)),
            "counters" => check_counter(&ops, counters.get(&id).map(String::as_str)),
            "accounts" | "counted" => continue,
            _ => {
                let of_row = log.iter().filter(|(row, _)| *row == id);
                check_log(&ops, &of_row.map(|(_, value)| value.as_str()).collect::<Vec<_>>())
            }
        };
        wrong.extend(found.into_iter().map(|problem| format!("{table}:{id} {problem}")));
    }
    wrong
}

/// A row that is set and deleted: its value, and what readers saw, is that of a write which no
/// acknowledged one has followed.
fn check_register(ops: &[&Op], last: Option<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    let writes: Vec<&Op> =
        ops.iter().copied().filter(|op| matches!(op.act, Act::Set(_) | Act::Delete)).collect();
    // By the end of an acknowledged write, the latest start of one that had ended by then.
    let mut ended: Vec<&Op> = writes.iter().copied().filter(|op| op.is_acknowledged()).collect();
    ended.sort_by_key(|op| op.end);
    let mut latest = Vec::with_capacity(ended.len());
    for op in &ended {
        latest.push(latest.last().map_or(op.start, |start: &Duration| op.start.max(*start)));
    }
    let is_current = |value: Option<&str>, from: Duration, until: Duration| {
        let count = ended.partition_point(|op| op.end < from);
        let newest = count.checked_sub(1).map(|at| latest[at]);
        let fits = |op: &&&Op| {
            op.outcome != Outcome::Refused
                && op.writes(value)
                && op.start < until
                && newest.is_none_or(|newest| newest <= op.over())
        };
        writes.iter().any(|op| fits(&op)) || (value.is_none() && newest.is_none())
    };
    if !is_current(last, Duration::MAX, Duration::MAX) {
        wrong.push(format!("is {last:?} in the table: lost or never written\n{}", tail(&writes)));
    }
    for op in ops {
        let Act::Saw(value) = &op.act else { continue };
        if !is_current(Some(value), op.start, op.end) {
            wrong.push(format!("was {value:?} in the cache at {:?}: too old", op.start));
        }
    }
    wrong
}

/// A counter is the sum of the acknowledged increments and at most the unknown ones, and no two
/// were answered alike.
fn check_counter(ops: &[&Op], last: Option<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut least, mut unknown, mut answers) = (0, 0, HashSet::new());
    for op in ops {
        let Act::Add(n) = op.act else { continue };
        match op.outcome {
            Outcome::Acknowledged(answer) => {
                least += n;
                if !answers.insert(answer) {
                    wrong.push(format!("answered {answer} twice"));
                }
            }
            Outcome::Unknown => unknown += n,
            Outcome::Refused => {}
        }
    }
    let last: i64 = last.map_or(0, |text| text.parse().expect("a number"));
    if !(least..=least + unknown).contains(&last) {
        wrong.push(format!("is {last}; {least} was acknowledged, {unknown} is unknown"));
    }
    wrong
}

/// The log of a row: each acknowledged write is in it, no refused one, and what was acknowledged
/// before another was sent comes before it.
fn check_log(ops: &[&Op], log: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut places: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (at, value) in log.iter().enumerate() {
        places.entry(value).or_insert((at, at)).1 = at;
    }
    let mut sent = Vec::new();
    for op in ops {
        let Act::Set(value) = &op.act else { continue };
        match (op.outcome, places.remove(value.as_str())) {
            (Outcome::Acknowledged(_), Some(place)) => sent.push((op, place)),
            (Outcome::Acknowledged(_), None) => {
                wrong.push(format!("never was {value:?}, which was acknowledged"))
            }
            (Outcome::Refused, Some(_)) => wrong.push(format!("was {value:?}, which was refused")),
            (Outcome::Unknown, _) | (Outcome::Refused, None) => {}
        }
    }
    wrong.extend(places.keys().map(|value| format!("was {value:?}, which nobody wrote")));
    let mut answered = sent.clone();
    sent.sort_by_key(|(op, _)| op.start);
    answered.sort_by_key(|(op, _)| op.end);
    let mut before = answered.iter().peekable();
    let mut furthest = None;
    for (op, (first, _)) in &sent {
        while let Some((_, (_, last))) = before.next_if(|(other, _)| other.end < op.start) {
            furthest = furthest.max(Some(*last));
        }
        if furthest > Some(*first) {
            wrong.push(format!("{:?} came before a write that was acknowledged earlier", op.act));
        }
    }
    wrong
}

fn tail(writes: &[&Op]) -> String {
    let last = writes.iter().rev().take(12).rev();
    last.map(|op| format!("    {:?} {:?} {:?}..{:?}\n", op.act, op.outcome, op.start, op.end))
        .collect()
}

/// The checker finds what it is there to find.
pub fn self_test() {
    use Outcome::{Acknowledged, Refused, Unknown};
    let op = |table, act, start, end, outcome| {
        let at = Duration::from_millis;
        Op { table, id: 1, act, start: at(start), end: at(end), outcome }
    };
    let set = |table, value: &str, start, end, outcome| {
        op(table, Act::Set(value.into()), start, end, outcome)
    };
    let cell = |value: &str| Column::from([(1, value.to_string())]);
    let none = Column::new();
    let verdict = |ops: &[Op], items: &Column, counters: &Column, log: &[&str]| {
        let log: Vec<_> = log.iter().map(|value| (1, value.to_string())).collect();
        check(ops, items, counters, &log).len()
    };

    let two = [set("items", "a", 1, 2, Acknowledged(1)), set("items", "b", 3, 4, Acknowledged(0))];
    assert_eq!(verdict(&two, &cell("b"), &none, &[]), 0);
    assert_eq!(verdict(&two, &cell("a"), &none, &[]), 1, "the last write is lost");
    assert_eq!(verdict(&two, &none, &none, &[]), 1, "both are lost");
    let unknown = [set("items", "a", 1, 2, Unknown), set("items", "b", 3, 4, Acknowledged(0))];
    assert_eq!(verdict(&unknown, &cell("a"), &none, &[]), 0, "it may have come late");
    let refused = [set("items", "a", 1, 2, Refused)];
    assert_eq!(verdict(&refused, &cell("a"), &none, &[]), 1, "a refused write is in the table");
    let deleted = [two[0].clone(), op("items", Act::Delete, 3, 4, Acknowledged(1))];
    assert_eq!(verdict(&deleted, &none, &none, &[]), 0);
    assert_eq!(verdict(&deleted, &cell("a"), &none, &[]), 1, "the delete is lost");
    let saw =
        |value: &str, start| op("items", Act::Saw(value.into()), start, start + 1, Acknowledged(0));
    let read = |value: &str, start| [two[0].clone(), two[1].clone(), saw(value, start)];
    assert_eq!(verdict(&read("a", 3), &cell("b"), &none, &[]), 0);
    assert_eq!(verdict(&read("a", 5), &cell("b"), &none, &[]), 1, "a stale read");

    let add = |n, start, outcome| op("counters", Act::Add(n), start, start + 1, outcome);
    let adds = [add(5, 1, Acknowledged(5)), add(2, 3, Unknown), add(9, 5, Refused)];
    assert_eq!(verdict(&adds, &none, &cell("5"), &[]), 0);
    assert_eq!(verdict(&adds, &none, &cell("7"), &[]), 0);
    assert_eq!(verdict(&adds, &none, &cell("9"), &[]), 1, "the unknown one counted twice");
    assert_eq!(verdict(&adds, &none, &cell("2"), &[]), 1, "an acknowledged one is lost");
    let same = [add(5, 1, Acknowledged(5)), add(2, 3, Acknowledged(5))];
    assert_eq!(verdict(&same, &none, &cell("7"), &[]), 1, "one answer twice");

    let three = [
        set("logged", "a", 1, 2, Acknowledged(1)),
        set("logged", "b", 3, 4, Acknowledged(0)),
        set("logged", "c", 3, 5, Refused),
    ];
    assert_eq!(verdict(&three, &none, &none, &["a", "b"]), 0);
    assert_eq!(verdict(&three, &none, &none, &["a", "a", "b"]), 0, "tried again");
    assert_eq!(verdict(&three, &none, &none, &["b", "a"]), 1, "the other order");
    assert_eq!(verdict(&three, &none, &none, &["a", "b", "a"]), 1, "tried again too late");
    assert_eq!(verdict(&three, &none, &none, &["b"]), 1, "one is lost");
    assert_eq!(verdict(&three, &none, &none, &["a", "b", "c"]), 1, "a refused one");
    assert_eq!(verdict(&three, &none, &none, &["a", "b", "x"]), 1, "nobody's");
}
