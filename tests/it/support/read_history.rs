//! What clients saw of rows, and whether each answer was the row's at some moment of its question.

use std::collections::BTreeMap;
use std::time::Duration;

/// A row, by its one value that changes.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    Missing,
    /// The row is there, its value is NULL.
    Null,
    /// No two changes write the same.
    Is(String),
}

/// What an answer says of the row.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    Exactly(State),
    /// There is a row.
    Present,
    /// There is no value: no row, or NULL.
    NoValue,
    /// There is a value of so many bytes.
    Length(usize),
    /// There is a value.
    SomeValue,
}

impl Seen {
    fn is(&self, state: &State) -> bool {
        match self {
            Seen::Exactly(seen) => seen == state,
            Seen::Present => *state != State::Missing,
            Seen::NoValue => !matches!(state, State::Is(_)),
            Seen::Length(n) => matches!(state, State::Is(value) if value.len() == *n),
            Seen::SomeValue => matches!(state, State::Is(_)),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A change whose answer came. One of another program is over when the DEL that follows it is answered.
    Made(State),
    /// A change of which nobody knows whether, or when, it was made.
    Perhaps(State),
    /// A change that was made before its answer came, or not at all.
    Maybe(State),
    Read(Seen),
}

/// Something that a client did to a key.
#[derive(Debug, Clone)]
pub struct Act {
    pub key: usize,
    pub what: What,
    /// When it was sent, and when its answer came.
    pub start: Duration,
    pub end: Duration,
    /// As a person would say it.
    pub text: String,
}

/// All that is wrong with what was seen. Each key's first act is the row at the beginning.
pub fn check(acts: &[Act]) -> Vec<String> {
    let mut by_key: BTreeMap<usize, Vec<&Act>> = BTreeMap::new();
    acts.iter().for_each(|act| by_key.entry(act.key).or_default().push(act));
    by_key.values().flat_map(|acts| check_key(acts)).collect()
}

fn check_key(acts: &[&Act]) -> Vec<String> {
    let changes = || acts.iter().filter(|act| !matches!(act.what, What::Read(_)));
    // By the end of a change, the latest start of one that was over by then.
    let mut over: Vec<&&Act> = changes().filter(|act| matches!(act.what, What::Made(_))).collect();
    over.sort_by_key(|act| act.end);
    let mut latest: Vec<Duration> = Vec::with_capacity(over.len());
    for act in &over {
        latest.push(latest.last().map_or(act.start, |start| act.start.max(*start)));
    }
    let mut wrong = Vec::new();
    for read in acts {
        let What::Read(seen) = &read.what else { continue };
        let count = over.partition_point(|act| act.end < read.start);
        let newest = count.checked_sub(1).map(|at| latest[at]);
        let fits = |change: &&&Act| {
            let (state, end) = match &change.what {
                What::Made(state) | What::Maybe(state) => (state, change.end),
                What::Perhaps(state) => (state, Duration::MAX),
                What::Read(_) => return false,
            };
            seen.is(state) && change.start < read.end && newest.is_none_or(|newest| newest <= end)
        };
        if !changes().any(|change| fits(&change)) {
            // What was done about then, to be read by a person.
            let mut about: Vec<_> = acts.iter().filter(|act| act.start <= read.end).collect();
            about.sort_by_key(|act| (act.end, act.start));
            let (changes, reads): (Vec<_>, Vec<_>) =
                about.into_iter().partition(|act| !matches!(act.what, What::Read(_)));
            let last = changes.iter().rev().take(6).rev().chain(reads.iter().rev().take(6).rev());
            let line = |act: &&&&Act| {
                format!("\n    {:?}..{:?} {} {:?}", act.start, act.end, act.text, act.what)
            };
            let last: String = last.map(|act| line(&act)).collect();
            wrong.push(format!("{} at {:?} answered {seen:?}: {last}", read.text, read.start));
        }
    }
    wrong
}

#[test]
fn the_checker_finds_what_it_is_there_to_find() {
    let is = |value: &str| State::Is(value.into());
    let act = |what, start, end| {
        let at = Duration::from_millis;
        Act { key: 1, what, start: at(start), end: at(end), text: String::new() }
    };
    let begun = [
        act(What::Made(is("a")), 0, 0),
        act(What::Made(is("bb")), 10, 20),
        act(What::Made(State::Missing), 30, 40),
        act(What::Perhaps(State::Null), 50, 60),
    ];
    let wrong = |seen: Seen, start, end| {
        let mut acts = begun.to_vec();
        acts.push(act(What::Read(seen), start, end));
        check(&acts).len()
    };
    let exactly = |state| Seen::Exactly(state);
    assert_eq!(wrong(exactly(is("a")), 1, 2), 0);
    assert_eq!(wrong(exactly(is("a")), 15, 16), 0, "the change may not be made yet");
    assert_eq!(wrong(exactly(is("bb")), 15, 16), 0, "or it may");
    assert_eq!(wrong(exactly(is("a")), 21, 22), 1, "too old");
    assert_eq!(wrong(exactly(is("bb")), 1, 2), 1, "too early");
    assert_eq!(wrong(Seen::NoValue, 21, 25), 1, "a wrong nil");
    assert_eq!(wrong(Seen::NoValue, 35, 36), 0);
    assert_eq!(wrong(Seen::Present, 41, 42), 1);
    assert_eq!(wrong(Seen::Length(2), 22, 23), 0);
    assert_eq!(wrong(Seen::Length(1), 22, 23), 1);
    assert_eq!(wrong(Seen::Present, 90, 91), 0, "nobody knows");
    assert_eq!(wrong(exactly(State::Missing), 90, 91), 0, "either way");
    assert_eq!(wrong(Seen::SomeValue, 90, 91), 1);
}
