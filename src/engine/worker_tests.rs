use super::*;
use crate::config::limits::Limits;
use crate::config::Config;
use crate::engine::{
    Backend, Health, Image, Lost, Outcome, Permit, Resolution, Settled, Stats, Terms,
};
use crate::model::change::{Action, Change};
use crate::model::mapping::tests::{resolve, users};
use crate::model::mapping::{Mapping, Mappings};
use std::sync::Mutex;

/// What a statement is answered with, by a script.
type Answers = Arc<Mutex<VecDeque<Result<(), StoreError>>>>;

/// What became of lost statements, by a script; they have ended when it is empty.
type Fates = Arc<Mutex<VecDeque<Result<Resolution, StoreError>>>>;

/// Says what the script says; a row whose username is "bad" is refused, "named…" by an error that
/// says so, "panic" panics, and "demote" demotes the server while the statement runs.
struct Scripted {
    answers: Answers,
    resolutions: Fates,
    statements: Arc<Mutex<Vec<Vec<String>>>>,
    shared: Arc<Shared>,
}

impl Store for Scripted {
    fn apply(
        &mut self,
        permit: &Permit,
        mapping: &Mapping,
        _: &Form,
        rows: &[Row],
    ) -> Result<Vec<Outcome>, StoreError> {
        permit.to_write()?;
        let ids = rows.iter().map(|r| String::from_utf8_lossy(&r.change().target).into_owned());
        self.statements.lock().unwrap().push(ids.collect());
        let names: Vec<&[u8]> =
            rows.iter().flat_map(|row| row.action().values()).map(|(_, value)| value).collect();
        if names.contains(&&b"demote"[..]) {
            self.shared.terms.demote();
        }
        if let Some(answer) = self.answers.lock().unwrap().pop_front() {
            answer?;
        }
        assert!(!names.contains(&&b"panic"[..]), "as asked");
        let is_bad = |name: &&&[u8]| **name == b"bad" || name.starts_with(b"named");
        if let Some(name) = names.iter().find(is_bad) {
            let message = match *name == b"bad" {
                true => String::new(),
                false => format!("invalid: \"{}\"", String::from_utf8_lossy(name)),
            };
            let sqlstate = "23514".to_string();
            return Err(StoreError::Refused(Refusal { sqlstate, message, ..Refusal::default() }));
        }
        let mut image = Image::default();
        mapping.columns.iter().for_each(|_| image.push(None));
        Ok(rows.iter().map(|_| Ok(Some(image.clone()))).collect())
    }

    fn resolve(&mut self, _: &Lost, _: &Mapping, rows: &[Row]) -> Result<Resolution, StoreError> {
        let fate = self.resolutions.lock().unwrap().pop_front().unwrap_or(Ok(Resolution::Ended))?;
        // While it runs, short times go by and long ones don't.
        let left = rows.first().map(|row| row.members[0].deadline - Instant::now());
        if let (Resolution::Running, Some(left)) = (&fate, left.filter(|left| *left < LONG / 2)) {
            std::thread::sleep(left);
        }
        Ok(fate)
    }

    fn release(&mut self) {}
}

/// A write's number, its answer, and whether the row is unknown.
type Answered = (u64, Result<i64, Failure>, bool);

#[derive(Default)]
struct Collected(Mutex<Vec<Answered>>);

impl Completions for Collected {
    fn push(&self, settled: Vec<Settled>) {
        for settled in settled {
            let unknown = matches!(settled.state, RowState::Unknown);
            let answers = settled.answers.into_iter().map(|(id, answer)| (id, answer, unknown));
            self.0.lock().unwrap().extend(answers);
        }
    }
}

struct Bench {
    mapping: Arc<Mapping>,
    shared: Arc<Shared>,
    answers: Answers,
    resolutions: Fates,
    statements: Arc<Mutex<Vec<Vec<String>>>>,
    collected: Arc<Collected>,
    jobs: Vec<Job>,
}

impl Bench {
    fn new() -> Bench {
        let document = r#"{"mappings":[{"table":"users"}],"connect_timeout_ms":1}"#;
        let limits = Arc::new(Limits::new(&Config::parse(document, vec![]).unwrap()));
        let health = Health::new(limits.clone());
        health.report_up();
        let mapping = resolve(r#"{"table":"users"}"#, &users()).unwrap();
        Bench {
            mapping: Mappings::new(vec![mapping.into()]).get(b"users").unwrap().clone(),
            shared: Arc::new(Shared {
                health,
                stats: Stats::default(),
                terms: Arc::new(Terms::new(true)),
                limits,
            }),
            answers: Answers::default(),
            resolutions: Fates::default(),
            statements: Arc::default(),
            collected: Arc::default(),
            jobs: Vec::new(),
        }
    }

    fn write(&mut self, user: u32, name: &str, timeout: Duration) {
        let action = Action::Upsert(vec![(1, name.as_bytes().into())]);
        let change = Change::new(&self.mapping, format!("users:{user}").as_bytes(), action);
        let id = self.jobs.len() as u64 + 1;
        let deadline = Instant::now() + timeout;
        let term = self.shared.terms.now();
        self.jobs.push(Job::new(id, change, deadline, term, self.collected.clone()));
    }

    fn will(&self, trouble: StoreError) {
        self.answers.lock().unwrap().push_back(Err(trouble));
    }

    /// The connection of the next statement is lost, and this comes out, one look after the other.
    fn will_lose(&self, resolutions: impl IntoIterator<Item = Resolution>) {
        let (reason, backend) = ("reset".to_string(), Arc::new(Backend::default()));
        self.will(StoreError::Lost(Lost { reason, backend, commit: None }));
        self.resolutions.lock().unwrap().extend(resolutions.into_iter().map(Ok));
    }

    /// Runs the worker until every write has its answer; sorted by number.
    fn run(&mut self) -> Vec<Answered> {
        let queue = Arc::new(Queue::new(1));
        queue.resize(1);
        let count = self.jobs.len();
        self.shared.stats.waiting.add(count);
        queue.push(self.jobs.drain(..));
        queue.wake();
        let (answers, resolutions) = (self.answers.clone(), self.resolutions.clone());
        let (statements, shared) = (self.statements.clone(), self.shared.clone());
        let store = Scripted { answers, resolutions, statements, shared };
        let worker = Worker::new(
            0,
            queue.clone(),
            self.shared.clone(),
            self.collected.clone(),
            Box::new(store),
        );
        let thread = std::thread::spawn(|| worker.run());
        while self.collected.0.lock().unwrap().len() < count {
            std::thread::yield_now();
        }
        queue.close();
        thread.join().unwrap();
        let mut answers = std::mem::take(&mut *self.collected.0.lock().unwrap());
        answers.sort_by_key(|(id, ..)| *id);
        answers
    }
}

const LONG: Duration = Duration::from_secs(3600);

/// Which of these users' writes are refused, and the statements, each as its users' numbers.
fn isolated(names: &[&str]) -> (Vec<u64>, Vec<String>) {
    let mut bench = Bench::new();
    for (user, name) in (1..).zip(names) {
        bench.write(user, name, LONG);
    }
    let answers = bench.run();
    let refused = answers.into_iter().filter(|(_, answer, _)| answer.is_err()).map(|a| a.0);
    let statements = bench.statements.lock().unwrap();
    let users = |keys: &Vec<String>| keys.concat().replace("users:", "");
    (refused.collect(), statements.iter().map(users).collect())
}

#[test]
fn a_bad_row_fails_alone() {
    let (refused, statements) = isolated(&["a", "b", "bad", "d", "e"]);
    assert_eq!(refused, [3]);
    // What is left of a refused statement when its first half is written isn't tried as a whole.
    assert_eq!(statements, ["12345", "12", "3", "45"]);
    let (refused, statements) = isolated(&["bad", "b", "c", "bad"]);
    assert_eq!(refused, [1, 4]);
    assert_eq!(statements, ["1234", "12", "1", "2", "34", "3", "4"]);
}

#[test]
fn a_bad_row_that_the_error_names_is_left_out_at_once() {
    let (refused, statements) = isolated(&["a", "b", "c", "named", "e", "f", "g"]);
    assert_eq!(refused, [4]);
    assert_eq!(statements, ["1234567", "123567", "4"]);
    let (refused, statements) = isolated(&["named", "b", "c", "named", "e", "bad"]);
    assert_eq!(refused, [1, 4, 6]);
    assert_eq!(statements, ["123456", "2356", "23", "5", "6", "14", "1", "4"]);
    // Many bad rows are not found one by one.
    let names = ["named-1", "named-2", "named-3", "d", "e", "f", "g", "h"];
    let (refused, statements) = isolated(&names);
    assert_eq!(refused, [1, 2, 3]);
    assert_eq!(statements, ["12345678", "2345678", "234", "34", "3", "4", "2", "5678", "1"]);
}

#[test]
fn a_conflict_and_a_lost_connection_are_tried_again() {
    let mut bench = Bench::new();
    bench.write(1, "a", LONG);
    bench.will(StoreError::Conflict(Refusal::default()));
    bench.will(StoreError::Retry("57P01".into()));
    bench.will_lose([Resolution::Running, Resolution::Ended]);
    assert_eq!(bench.run(), [(1, Ok(0), false)]);
    assert_eq!(bench.shared.stats.retries.get(), 3);
    assert_eq!(bench.shared.stats.unsettled.get(), 0);
}

#[test]
fn why_a_lost_write_is_in_doubt_is_told() {
    let mut bench = Bench::new();
    bench.write(1, "a", LONG);
    bench.will_lose([]);
    let refused = Err(StoreError::Retry("53300 too many connections".into()));
    bench.resolutions.lock().unwrap().push_back(refused);
    assert_eq!(bench.run(), [(1, Ok(0), false)]);
    assert_eq!(bench.shared.stats.last_error(), "53300 too many connections");
}

/// What comes of an increment whose connection is lost, and how many statements it took.
fn lost_increment(resolutions: Vec<Resolution>, timeout: Duration) -> (Vec<Answered>, usize) {
    let mut bench = Bench::new();
    bench.write(1, "a", timeout);
    bench.jobs[0].change.action = Action::Add(3, b"1"[..].into());
    bench.will_lose(resolutions);
    let answers = bench.run();
    assert_eq!(bench.shared.stats.unsettled.get(), 0);
    let statements = bench.statements.lock().unwrap().len();
    (answers, statements)
}

#[test]
fn a_lost_increment_is_answered_by_what_became_of_it() {
    let image = || vec![Ok(Some(Image::default()))];
    let committed = lost_increment(vec![Resolution::Running, Resolution::Committed(image())], LONG);
    assert_eq!(committed, (vec![(1, Ok(0), false)], 1), "it is not done again");
    let not_committed = lost_increment(vec![Resolution::NotCommitted], LONG);
    assert_eq!(not_committed, (vec![(1, Ok(0), false)], 2), "it is done again");
}

#[test]
fn an_increment_is_never_repeated_blindly() {
    let (answers, statements) = lost_increment(vec![Resolution::Ended], LONG);
    assert!(matches!(&answers[..], [(1, Err(Failure::TimedOut(_)), true)]), "{answers:?}");
    assert_eq!(statements, 1);
}

/// Its row is read when it has ended, not before: it may change it until then.
#[test]
fn what_is_not_known_in_time_is_read_when_it_has_ended() {
    let running = || vec![Resolution::Running, Resolution::Running, Resolution::Running];
    let (answers, statements) = lost_increment(running(), Duration::from_secs(3));
    assert_eq!((answers, statements), (vec![(1, Ok(0), false)], 2));
}

#[test]
fn a_locked_row_waits_aside_and_keeps_its_order() {
    let mut bench = Bench::new();
    bench.write(1, "a", LONG);
    bench.write(2, "b", LONG);
    // Together, then the half with the row alone, then once more.
    bench.will(StoreError::Locked);
    bench.will(StoreError::Locked);
    assert_eq!(bench.run(), [(1, Ok(0), false), (2, Ok(0), false)]);
    let statements = bench.statements.lock().unwrap().clone();
    assert_eq!(
        statements,
        [vec!["users:1", "users:2"], vec!["users:1"], vec!["users:2"], vec!["users:1"]]
    );
}

#[test]
fn what_was_never_sent_is_refused_when_the_database_is_away() {
    let mut bench = Bench::new();
    bench.write(1, "a", LONG);
    bench.will(StoreError::Down("refused".into()));
    assert_eq!(bench.run(), [(1, Err(Failure::Down("refused".into())), false)]);
    assert!(!bench.shared.health.is_up());
}

#[test]
fn a_write_whose_time_is_up_is_not_begun() {
    let mut bench = Bench::new();
    bench.write(1, "a", Duration::ZERO);
    let answers = bench.run();
    assert!(matches!(&answers[..], [(1, Err(Failure::TimedOut(_)), false)]), "{answers:?}");
    assert!(bench.statements.lock().unwrap().is_empty());
}

#[test]
fn a_worker_that_panics_answers_and_goes_on() {
    let mut bench = Bench::new();
    bench.write(1, "panic", LONG);
    let answers = bench.run();
    assert!(matches!(&answers[..], [(1, Err(Failure::TimedOut(_)), true)]), "{answers:?}");
    bench.write(2, "a", LONG);
    assert_eq!(bench.run(), [(1, Ok(0), false)]);
}

#[path = "worker_term_tests.rs"]
mod terms;
