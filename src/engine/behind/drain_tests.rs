use std::collections::HashMap;
use std::sync::mpsc::channel;
use std::sync::Mutex;

use super::*;
use crate::config::limits::Limits;
use crate::config::Config;
use crate::engine::behind::{Entry, Moved, Position, Run, Source};
use crate::engine::{Health, Image, Outcome, Permit, Stats, Terms};
use crate::model::action::Action;
use crate::model::change::Change;
use crate::model::failure::Refusal;
use crate::model::mapping::tests::{resolve, users};
use crate::model::slot::Slot;
use crate::plan::group::Group;

fn id(seq: u64) -> EntryId {
    EntryId { ms: 1, seq }
}

/// What a database keeps of each identity, and of each transaction how many positions it moved and how many
/// entries it wrote.
#[derive(Default)]
struct Table {
    /// Of older entries it can't tell whether they were written.
    since: EntryId,
    positions: HashMap<Arc<str>, Position>,
    written: Vec<(usize, usize)>,
}

/// Writes what it is given, unless a value is "bad".
struct Scripted(Arc<Mutex<Table>>);

impl BehindStore for Scripted {
    fn positions(
        &mut self,
        _: &Permit,
        _: &str,
        identities: &[Arc<str>],
    ) -> Result<HashMap<Arc<str>, Position>, StoreError> {
        let mut table = self.0.lock().unwrap();
        let first = Position { since: table.since, ..Position::default() };
        let mut position =
            |of: &Arc<str>| table.positions.entry(of.clone()).or_insert(first.clone()).clone();
        Ok(identities.iter().map(|identity| (identity.clone(), position(identity))).collect())
    }

    fn write(
        &mut self,
        _: &Permit,
        moved: &[Moved],
        groups: &[Group<Job>],
    ) -> Result<Vec<Vec<Outcome>>, StoreError> {
        let mut table = self.0.lock().unwrap();
        for step in moved {
            let at = table.positions[step.identity].at;
            assert_eq!(at, step.from, "the position is where it was said to be");
        }
        let rows = || groups.iter().flat_map(|group| &group.rows);
        if rows().any(|row| row.action().values().any(|(_, value)| value == b"bad")) {
            let sqlstate = "23514".into();
            return Err(StoreError::Refused(Refusal { sqlstate, ..Refusal::default() }));
        }
        for step in moved {
            table.positions.get_mut(step.identity).unwrap().at = step.to;
        }
        table.written.push((moved.len(), rows().map(|row| row.members.len()).sum()));
        let image = |group: &Group<Job>| {
            let mut image = Image::default();
            group.mapping.columns.iter().for_each(|_| image.push(None));
            image
        };
        let outcomes = |group: &Group<Job>| {
            group.rows.iter().map(|_| Ok(Some(image(group)))).collect::<Vec<_>>()
        };
        Ok(groups.iter().map(outcomes).collect())
    }

    fn refuse(
        &mut self,
        _: &Permit,
        identity: &str,
        id: EntryId,
        failure: &Failure,
    ) -> Result<(), StoreError> {
        let mut table = self.0.lock().unwrap();
        table.positions.get_mut(identity).unwrap().refused.insert(id, failure.clone());
        Ok(())
    }

    fn release(&mut self) {}
}

/// Gives a thread these entries of the table of users, and returns what it reports, in order.
fn drain(table: &Arc<Mutex<Table>>, names: &[(u64, &str)]) -> Vec<String> {
    drain_runs(table, &[names])
}

/// The same of several queues.
fn drain_runs(table: &Arc<Mutex<Table>>, runs: &[&[(u64, &str)]]) -> Vec<String> {
    let config = Config::parse(r#"{"mappings":[{"table":"users"}]}"#, Vec::new()).unwrap();
    let limits = Arc::new(Limits::new(|limit| config.limit(limit)));
    let health = Health::new(limits.clone());
    health.report_up();
    let (stats, terms) = (Stats::default(), Arc::new(Terms::new(true)));
    terms.open(terms.now());
    let shared = Arc::new(Shared { health, stats, terms, limits });
    let mapping = Arc::new(resolve(r#"{"table":"users"}"#, &users()).unwrap());
    let entry = |(seq, name): &(u64, &str)| {
        let target: Arc<[u8]> = format!("users:{seq}").into_bytes().into();
        let action = Action::Upsert(vec![(1, name.as_bytes().into())]);
        Entry { id: id(*seq), change: Ok(Change::new(&mapping, &target, action)) }
    };
    let reports = Arc::new(Reports::new(|| ()));
    let store = Box::new(Scripted(table.clone()));
    let thread = Drain::new(shared.clone(), store, reports.clone(), Arc::default());
    let (sender, batches) = channel();
    let run = |(at, names): (usize, &&[(u64, &str)])| Run {
        source: Source { slot: Slot::numbered(at as u16), live: Arc::new(AtomicBool::new(true)) },
        identity: format!("wt:{at}").into(),
        entries: names.iter().map(entry).collect(),
        ends: None,
    };
    let runs = runs.iter().enumerate().map(run).collect();
    let batch = Batch { name: "users".into(), term: shared.terms.now(), runs };
    sender.send(batch).unwrap();
    drop(sender);
    thread.run(&batches);
    let told = |report: Report| match report.news {
        News::Written(ends, _) => {
            let ends: Vec<String> = ends.iter().map(|(_, at)| at.seq.to_string()).collect();
            format!("written {}", ends.join(" "))
        }
        News::Refused(_, at, _) => format!("refused {}", at.seq),
        News::Held(reason) => format!("held {reason}"),
        News::FoundOlder(_) => "older".into(),
        News::DatabaseOlder => "database older".into(),
        News::End(_) => "end".into(),
    };
    reports.take().into_iter().map(told).collect()
}

#[test]
fn a_bad_entry_is_refused_alone_and_in_order() {
    let table = Arc::default();
    let told = drain(&table, &[(1, "a"), (2, "bad"), (3, "c"), (4, "d")]);
    assert_eq!(told, ["written 1", "refused 2", "written 4", "end"]);
}

/// A server was killed between the refusal and setting the entry aside. Whatever the table takes by then: were the
/// entry written now, WT.RETRY of what is set aside could write it once more.
#[test]
fn what_was_refused_once_is_not_written_when_it_comes_again() {
    let table: Arc<Mutex<Table>> = Arc::default();
    assert_eq!(drain(&table, &[(1, "a"), (2, "bad")]), ["written 1", "refused 2", "end"]);
    // The table would take it.
    assert_eq!(drain(&table, &[(2, "good"), (3, "c")]), ["refused 2", "written 3", "end"]);
    assert_eq!(table.lock().unwrap().written, [(1, 1), (1, 1)]);
    // The position has passed it.
    assert_eq!(drain(&table, &[(2, "good"), (3, "c")]), ["refused 2", "written 3", "end"]);
    assert_eq!(table.lock().unwrap().written.len(), 2);
}

/// Their position may have been deleted.
#[test]
fn what_is_too_old_to_be_told_is_refused() {
    let table: Arc<Mutex<Table>> = Arc::default();
    table.lock().unwrap().since = id(3);
    let told = drain(&table, &[(1, "a"), (2, "b"), (3, "c")]);
    assert_eq!(told, ["refused 1", "refused 2", "written 3", "end"]);
    // The position has passed them.
    assert_eq!(drain(&table, &[(2, "b"), (4, "d")]), ["refused 2", "written 4", "end"]);
    assert_eq!(table.lock().unwrap().written, [(1, 1), (1, 1)]);
}

/// Each queue's entries stay in order, and a bad one of one queue holds no other.
#[test]
fn several_queues_share_a_transaction() {
    let table: Arc<Mutex<Table>> = Arc::default();
    let told = drain_runs(&table, &[&[(1, "a"), (2, "b")], &[(5, "c")], &[(3, "d")]]);
    assert_eq!(told, ["written 2 5 3", "end"]);
    assert_eq!(table.lock().unwrap().written, [(3, 4)]);
    let told = drain_runs(&table, &[&[(1, "a"), (4, "bad"), (5, "c")], &[(5, "c"), (6, "d")]]);
    // What is written already is said first.
    assert_eq!(told, ["written 1 5", "refused 4", "written 5 6", "end"]);
    assert_eq!(table.lock().unwrap().written, [(3, 4), (2, 2)]);
}
