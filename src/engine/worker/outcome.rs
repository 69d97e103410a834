//! What a statement did, in terms of its writes.

use super::super::job::{Answer, Image, Job, Row, RowState, Settled};
use crate::model::action::Action;
use crate::model::change::Change;
use crate::model::failure::{Failure, Refusal};
use crate::plan::merge::increment;

/// The client's time was up before it was known.
pub const UNKNOWN: &str = "the connection was lost; the write may or may not be committed";

/// What became of the writes of one row. `answer` is given each one's place. Of a write that became a read
/// while its outcome is not known, the row is known now, and no more.
pub fn settle_all(jobs: Vec<Job>, answer: impl Fn(usize) -> Answer, state: RowState) -> Settled {
    let (target, mapping) = (jobs[0].change.target.clone(), jobs[0].change.mapping.clone());
    let as_written = match (&state, jobs.as_slice()) {
        (RowState::Present(image), [job]) => is_as_written(image, &job.change),
        _ => false,
    };
    let in_doubt = jobs.iter().any(|job| job.in_doubt.is_some());
    let answers = jobs.into_iter().enumerate().map(|(at, job)| {
        let is_unknown = job.in_doubt.is_some() && job.change.action == Action::Read;
        let answer = match answer(at) {
            Ok(_) if is_unknown => Err(Failure::TimedOut(UNKNOWN.into())),
            answer => answer,
        };
        (job.finish(), answer)
    });
    Settled {
        target,
        mapping,
        answers: answers.collect(),
        state,
        as_written,
        in_doubt,
        is_followed: false,
    }
}

/// See [`Settled::as_written`].
fn is_as_written(image: &Image, change: &Change) -> bool {
    let Action::Upsert(sets) = &change.action else { return false };
    let values = change.mapping.key_len..change.mapping.columns.len();
    values.filter(|&c| image.get(c).is_some()).count() == sets.len()
        && sets.iter().all(|(c, value)| image.get(*c) == Some(&value[..]))
}

/// For each member, what the later ones have added to the number that the row holds now.
pub fn added_later(row: &Row) -> Vec<i64> {
    let mut later = vec![0; row.members.len()];
    if let Action::Add(column, _) = *row.action() {
        let column = &row.change().mapping.columns[column];
        let added = |job: &Job| match &job.change.action {
            Action::Add(_, value) => increment(column, value).unwrap_or(0),
            _ => 0,
        };
        for at in (1..row.members.len()).rev() {
            later[at - 1] = later[at] + added(&row.members[at]);
        }
    }
    later
}

/// An error for INFO. Its text and its detail may hold the row: a trigger's text is anything. What
/// names of the table it has are shown in their place.
pub fn describe(refusal: &Refusal) -> String {
    let shown = Refusal { message: String::new(), detail: None, ..refusal.clone() };
    shown.to_string().replacen("  ", " ", 1).trim_end().to_string()
}
