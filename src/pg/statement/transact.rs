//! Several statements in one transaction: all of it is committed, or nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use postgres::SimpleQueryMessage;

use super::once;
use super::returned::{query, Returned};
use super::steps;
use super::transaction::{compare, number, reread};
use crate::engine::in_doubt::Commit;
use crate::engine::{
    At, Image, Job, Lost, Once, Outcome, Permit, Row, StoreError, Transacted, Undone, Way,
};
use crate::model::action::Action;
use crate::model::change::Change;
use crate::model::failure::Failure;
use crate::model::form::Form;
use crate::model::key::Show;
use crate::pg::connect::session::Session;
use crate::pg::error::{explain, is_end, SendError};
use crate::plan::group::{by_form, Group, Row as AnyRow};

/// The transaction's number: by it one can ask what became of a lost COMMIT. Some statements tell it
/// themselves.
const NUMBER: &str = "SELECT pg_current_xact_id()::text";

/// Runs the statements in order, and commits.
pub fn run(
    session: &mut Session,
    permit: &Permit,
    groups: &[Group<Job>],
    way: Way,
    once: Option<&Once>,
) -> Result<Transacted, Undone> {
    let backend = session.backend.clone();
    let mut at = At::Start;
    let begun = begin(session, groups.iter().any(tells_number));
    let done = begun.map_err(SendError::from).map_err(|error| error.classify(&backend));
    let done = done.and_then(|xid| {
        let work = work(session, permit, groups, (way, once), &mut at)?;
        Ok((xid, work))
    });
    let (xid, outcomes, reply) = match done {
        Ok((xid, Work::Done(outcomes, reply))) => (xid, outcomes, reply),
        Ok((_, Work::DoneBefore(reply))) => {
            session.roll_back();
            return Ok(Transacted::Before(reply));
        }
        Ok((_, Work::NoTable)) => {
            session.roll_back();
            return match once::create(session) {
                Ok(()) => run(session, permit, groups, way, once),
                Err(error) => {
                    let error = SendError::from(error).classify(&backend).into();
                    Err(Undone { at, error })
                }
            };
        }
        Err(error) => {
            session.roll_back();
            return Err(Undone { at, error: error.uncommitted().into() });
        }
    };
    let (at, mut outcomes) = (At::Commit, outcomes);
    let told = groups.iter().zip(&outcomes).filter(|(group, _)| tells_number(group));
    let told = told.map(|(group, outcomes)| number(&group.mapping, &group.form, outcomes));
    let xid = xid.or_else(|| told.flatten().next());
    let result = match session.client.batch_execute("COMMIT") {
        Ok(()) => reread_all(session, groups, &mut outcomes),
        Err(error) if !is_end(&error) => {
            let error = SendError::from(error).classify(&backend).uncommitted();
            return Err(Undone { at, error: error.into() });
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => Ok(Transacted::Now(outcomes, reply)),
        Err(error) => {
            let outcomes = outcomes.into_iter().flatten().collect();
            let commit = xid.map(|xid| Commit { xid, outcomes });
            let error = StoreError::Lost(Lost { reason: explain(&error), backend, commit });
            Err(Undone { at, error: error.into() })
        }
    }
}

/// What the statement returns ends with the transaction's number.
fn tells_number(group: &Group<Job>) -> bool {
    !group.mapping.watched && group.mapping.needs_transaction(&group.form)
}

fn begin(session: &mut Session, is_told: bool) -> Result<Option<String>, postgres::Error> {
    session.begin()?;
    if is_told {
        return Ok(None);
    }
    let told = session.client.simple_query(NUMBER)?;
    Ok(told.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_string),
        _ => None,
    }))
}

/// What was done before the COMMIT.
enum Work {
    Done(Vec<Vec<Outcome>>, Option<Vec<u8>>),
    DoneBefore(Vec<u8>),
    NoTable,
}

fn work(
    session: &mut Session,
    permit: &Permit,
    groups: &[Group<Job>],
    (way, once): (Way, Option<&Once>),
    at: &mut At,
) -> Result<Work, StoreError> {
    let backend = session.backend.clone();
    let failed = |error: SendError| error.classify(&backend);
    if let Some(once) = once {
        permit.to_write()?;
        match once::begin(session, once).map_err(|error| failed(error.into()))? {
            once::Begun::Now => {}
            once::Begun::Before(reply) => return Ok(Work::DoneBefore(reply)),
            once::Begun::NoTable => return Ok(Work::NoTable),
            once::Begun::Other => return Err(StoreError::Unfit(once::other(&once.token))),
        }
    }
    let counts = once.is_some_and(|once| once.replies.iter().any(|said| said.counts()));
    let mut before = Vec::new();
    if (way == Way::InOrder && has_several(groups)) || counts {
        before = lock(session, permit, groups, way).map_err(failed)?;
    }
    let mut all = Vec::with_capacity(groups.len());
    for (number, group) in groups.iter().enumerate() {
        *at = At::Statement(number);
        all.push(statement(session, permit, group, &failed)?);
    }
    *at = At::Commit;
    // A statement may have waited, for a lock or a slow database.
    permit.to_write()?;
    let reply = once.map(|once| once.reply(groups, &before, &all));
    if let (Some(once), Some(reply)) = (once, &reply) {
        once::end(session, once, reply).map_err(|error| failed(error.into()))?;
    }
    Ok(Work::Done(all, reply))
}

/// Runs one statement. Nothing is left out: what one row's write can't do, the transaction doesn't.
pub(super) fn statement(
    session: &mut Session,
    permit: &Permit,
    group: &Group<Job>,
    failed: &dyn Fn(SendError) -> StoreError,
) -> Result<Vec<Outcome>, StoreError> {
    let Group { mapping, form, rows } = group;
    let returned = match form {
        Form::Pass => return Ok(rows.iter().map(|_| Ok(None)).collect()),
        _ if mapping.watched && !form.only_looks() => {
            steps::run_within(session, permit, mapping, form, rows)
        }
        _ => query(session, permit, mapping, form, rows),
    };
    let outcomes = compare(session, mapping, form, rows, returned.map_err(failed)?, failed)?;
    for (row, outcome) in rows.iter().zip(&outcomes) {
        match outcome {
            Ok(image) => expect(row, image.as_ref())?,
            Err(Failure::Refused(refusal)) => return Err(StoreError::Refused(refusal.clone())),
            Err(failure) => {
                let problem = failure.to_string();
                let problem = problem.strip_prefix("ERR writethrough: ").unwrap_or(&problem);
                return Err(StoreError::Unfit(problem.into()));
            }
        }
    }
    Ok(outcomes)
}

/// The row holds what its write expects, where it does.
fn expect(row: &Row, image: Option<&Image>) -> Result<(), StoreError> {
    let Action::Expect(expected) = row.action() else { return Ok(()) };
    let Some(image) = image else {
        return Err(StoreError::Unmet(format!("there is no row {}", Show(&row.change().target))));
    };
    match expected.iter().find(|(column, value)| image.get(*column) != Some(value)) {
        None => Ok(()),
        Some((column, _)) => {
            let field = row.change().mapping.columns[*column].field.as_deref().unwrap_or_default();
            Err(StoreError::Unmet(format!("field {} is not as expected", Show(field))))
        }
    }
}

fn has_several(groups: &[Group<Job>]) -> bool {
    let target = |group: &Group<Job>| group.rows[0].change().target.clone();
    groups.iter().any(|group| target(group) != target(&groups[0]))
}

/// Locks all rows, a table after the other, in the order of their keys; those of a view, and without locks, it
/// reads. Returns each statement's row, as it is before the first.
fn lock(
    session: &mut Session,
    permit: &Permit,
    groups: &[Group<Job>],
    way: Way,
) -> Result<Vec<Option<Image>>, SendError> {
    let mut changes: Vec<Change> = Vec::new();
    let mut seen = HashSet::new();
    for change in groups.iter().map(|group| group.rows[0].change()) {
        let action = match way {
            Way::InOrder if change.mapping.has_arbiter => Action::Expect(Vec::new()),
            _ => Action::Read,
        };
        if seen.insert(&change.target) {
            changes.push(Change { action, ..change.clone() });
        }
    }
    changes.sort_by(|a, b| (&a.mapping.table, &a.target).cmp(&(&b.mapping.table, &b.target)));
    let mut found: HashMap<Arc<[u8]>, Option<Image>> = HashMap::new();
    for group in by_form(changes.into_iter().map(AnyRow::of).collect()) {
        let Returned { images, .. } =
            query(session, permit, &group.mapping, &group.form, &group.rows)?;
        let targets = group.rows.iter().map(|row| row.change().target.clone());
        found.extend(targets.zip(images));
    }
    let image = |group: &Group<Job>| found.get(&group.rows[0].change().target).cloned().flatten();
    Ok(groups.iter().map(image).collect())
}

/// Where triggers come after the statements, each row is read again, by the last statement of it.
pub(super) fn reread_all(
    session: &mut Session,
    groups: &[Group<Job>],
    outcomes: &mut [Vec<Outcome>],
) -> Result<(), postgres::Error> {
    for (number, group) in groups.iter().enumerate() {
        let is_last = |row: &Row| {
            let same = |other: &Row| other.change().target == row.change().target;
            !groups[number + 1..].iter().any(|later| later.rows.iter().any(same))
        };
        let is_read = matches!(group.form, Form::Delete | Form::Pass);
        if group.mapping.reread && !is_read && group.rows.iter().all(is_last) {
            reread(session, &group.mapping, &group.rows, &mut outcomes[number])?;
        }
    }
    Ok(())
}
