use super::*;
use crate::engine::{Image, Resolution, StoreError};
use crate::model::action::Action;
use crate::model::failure::{Failure, Refusal};
use bench::{Answered, Bench, LONG};

#[path = "worker_bench.rs"]
mod bench;

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

/// Its row is read when it has ended, not before: it may change it until then. What became of the write
/// itself stays unknown.
#[test]
fn what_is_not_known_in_time_is_read_when_it_has_ended() {
    let running = || vec![Resolution::Running, Resolution::Running, Resolution::Running];
    let (answers, statements) = lost_increment(running(), Duration::from_secs(3));
    assert!(matches!(&answers[..], [(1, Err(Failure::TimedOut(_)), false)]), "{answers:?}");
    assert_eq!(statements, 2);
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
