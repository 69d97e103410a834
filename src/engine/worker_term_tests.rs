//! Terms: what a worker still sends when the server is demoted, and when it begins.

use super::*;

#[test]
fn what_was_not_sent_is_not_written_after_a_demotion() {
    let mut bench = Bench::new();
    bench.write(1, "a", LONG);
    bench.shared.terms.demote();
    assert_eq!(bench.run(), [(1, demoted(), false)]);
    bench.write(1, "b", LONG);
    bench.shared.terms.promote();
    bench.write(2, "c", LONG);
    assert_eq!(bench.run(), [(1, demoted(), false), (2, Ok(0), false)], "b is of another term");
    assert_eq!(*bench.statements.lock().unwrap(), [["users:2"]]);
}

fn demoted() -> Result<i64, Failure> {
    Err(Failure::Down("this server follows another one now; nothing was written".into()))
}

/// Whatever is left of a statement when the server is demoted: it is not sent.
#[test]
fn a_turn_ends_with_its_term() {
    let errors: [fn() -> Option<StoreError>; 5] = [
        || Some(StoreError::Locked),
        || Some(StoreError::Conflict(Refusal::default())),
        || Some(StoreError::Retry("57P01".into())),
        || Some(StoreError::Demoted),
        // It is refused for its bad row.
        || None,
    ];
    for error in errors {
        let mut bench = Bench::new();
        for (user, name) in [(1, "a"), (2, "bad"), (3, "c"), (4, "demote")] {
            bench.write(user, name, LONG);
        }
        error().into_iter().for_each(|error| bench.will(error));
        let answers = bench.run();
        assert!(answers.iter().all(|(_, answer, _)| *answer == demoted()), "{answers:?}");
        assert_eq!(bench.statements.lock().unwrap().len(), 1, "{:?}", error());
    }
}

#[test]
fn later_writes_of_a_row_end_with_the_term() {
    let mut bench = Bench::new();
    bench.write(1, "demote", LONG);
    bench.write(1, "b", LONG);
    // They can't be one: the second is another wave.
    bench.jobs[1].change.action = Action::Delete;
    assert_eq!(bench.run(), [(1, Ok(0), false), (2, demoted(), false)]);
    assert_eq!(bench.statements.lock().unwrap().len(), 1);
}

/// It has ended; what it did is seen in the row, by whoever is the master.
#[test]
fn a_lost_write_of_an_earlier_term_is_not_sent_again() {
    let mut bench = Bench::new();
    bench.write(1, "demote", LONG);
    bench.will_lose([Resolution::Running, Resolution::Ended]);
    let answers = bench.run();
    assert!(matches!(&answers[..], [(1, Err(Failure::TimedOut(_)), true)]), "{answers:?}");
    assert_eq!(bench.statements.lock().unwrap().len(), 1);
    assert_eq!(bench.shared.stats.unsettled.get(), 0);
}

/// Where the database answers, a monitor that can't end anybody holds up nobody for long.
#[test]
fn a_term_is_opened_by_the_clock_while_the_database_answers() {
    let mut bench = Bench::new();
    bench.write(1, "a", LONG);
    assert_eq!(bench.run(), [(1, Ok(0), false)]);
    assert!(bench.shared.terms.wait_until_open(Duration::ZERO));
}

#[test]
fn a_term_stays_closed_while_the_database_is_away() {
    let mut bench = Bench::new();
    bench.shared.health.report_down("away");
    bench.write(1, "a", LONG);
    bench.will(StoreError::Down("away".into()));
    assert_eq!(bench.run(), [(1, Err(Failure::Down("away".into())), false)]);
    assert!(!bench.shared.terms.wait_until_open(Duration::ZERO));
}
