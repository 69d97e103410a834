//! Numbers that are moved between rows, and tokens that count once.

use std::collections::{BTreeMap, HashSet};

use crate::history::{Act, Column, Op, Outcome};

/// What each account holds at first.
const FIRST: i64 = 1000;

/// All that is wrong: what was moved has not become more or less, and each account holds what the
/// acknowledged transfers have left, and at most the unknown ones; each answered token counts exactly once.
pub fn check(ops: &[Op], accounts: &Column, counted: &Column) -> Vec<String> {
    let mut wrong = Vec::new();
    let value = |text: &String| text.parse::<i64>().expect("a number");
    let sum: i64 = accounts.values().map(value).sum();
    let expected = FIRST * accounts.len() as i64;
    if sum != expected {
        wrong.push(format!("all accounts hold {sum}, not {expected}"));
    }
    // The least and the most that each may hold.
    let mut bounds: BTreeMap<usize, (i64, i64)> =
        accounts.keys().map(|id| (*id, (FIRST, FIRST))).collect();
    let mut tokens: BTreeMap<usize, (i64, i64, HashSet<i64>)> = BTreeMap::new();
    for op in ops {
        match op.act {
            Act::Transfer(to, n) => {
                for (id, n) in [(op.id, -n), (to, n)] {
                    let (least, most) = bounds.entry(id).or_insert((FIRST, FIRST));
                    match op.outcome {
                        Outcome::Acknowledged(_) => (*least, *most) = (*least + n, *most + n),
                        Outcome::Unknown => {
                            (*least, *most) = (*least + n.min(0), *most + n.max(0));
                        }
                        Outcome::Refused => {}
                    }
                }
            }
            Act::Once => {
                let (done, unknown, answers) = tokens.entry(op.id).or_default();
                match op.outcome {
                    Outcome::Acknowledged(answer) => {
                        *done += 1;
                        if !answers.insert(answer) {
                            wrong.push(format!("counted:{} answered {answer} twice", op.id));
                        }
                    }
                    _ => *unknown += 1,
                }
            }
            _ => {}
        }
    }
    for (id, (least, most)) in bounds {
        let n = accounts.get(&id).map_or(FIRST, value);
        if !(least..=most).contains(&n) {
            wrong.push(format!("accounts:{id} is {n}, expected {least} to {most}"));
        }
    }
    for (id, (done, unknown, _)) in tokens {
        let n = counted.get(&id).map_or(0, value);
        if !(done..=done + unknown).contains(&n) {
            wrong.push(format!("counted:{id} is {n}; {done} tokens were answered, {unknown} not"));
        }
    }
    wrong
}

/// The checker finds what it is there to find.
pub fn self_test() {
    use std::time::Duration;
    let op = |id, act, outcome| {
        let (start, end) = (Duration::ZERO, Duration::ZERO);
        Op { table: "accounts", id, act, start, end, outcome }
    };
    let column = |values: &[i64]| -> Column {
        values.iter().enumerate().map(|(id, n)| (id, n.to_string())).collect()
    };
    let (acknowledged, unknown) = (Outcome::Acknowledged(1), Outcome::Unknown);
    let moved = |outcome| [op(0, Act::Transfer(1, 5), outcome)];
    let verdict = |ops: &[Op], accounts: &[i64], counted: &[i64]| {
        check(ops, &column(accounts), &column(counted)).len()
    };
    assert_eq!(verdict(&moved(acknowledged), &[995, 1005], &[]), 0);
    assert_eq!(verdict(&moved(acknowledged), &[1000, 1000], &[]), 2, "it is lost");
    assert_eq!(verdict(&moved(unknown), &[1000, 1000], &[]), 0);
    assert_eq!(verdict(&moved(unknown), &[995, 1005], &[]), 0);
    assert_eq!(verdict(&moved(unknown), &[1000, 1005], &[]), 1, "half of it");
    assert_eq!(verdict(&moved(Outcome::Refused), &[995, 1005], &[]), 2, "it was refused");
    let tokens = [op(0, Act::Once, acknowledged), op(0, Act::Once, unknown)];
    assert_eq!(verdict(&tokens, &[], &[1]), 0);
    assert_eq!(verdict(&tokens, &[], &[2]), 0);
    assert_eq!(verdict(&tokens, &[], &[3]), 1, "one counted twice");
    assert_eq!(verdict(&tokens, &[], &[0]), 1, "one is lost");
    let same = [op(0, Act::Once, acknowledged), op(0, Act::Once, acknowledged)];
    assert_eq!(verdict(&same, &[], &[2]), 1, "one answer twice");
}
