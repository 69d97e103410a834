//! What rows are after a batch.

use super::{WrittenRow, WrittenRows};
use crate::engine::job::{Image, Job, RowState};
use crate::engine::Outcome;
use crate::model::action::Action;
use crate::model::form::Form;
use crate::plan::group::Group;

/// What each row is after the last of its statements.
pub(super) fn states(groups: Vec<Group<Job>>, outcomes: Vec<Vec<Outcome>>) -> WrittenRows {
    let mut states = WrittenRows::default();
    for (Group { mapping, form, rows }, outcomes) in groups.into_iter().zip(outcomes) {
        for (row, outcome) in rows.into_iter().zip(outcomes) {
            let state = match outcome.ok().flatten() {
                Some(_) if form == Form::Delete => RowState::Deleted,
                Some(image) => RowState::Present(image),
                None => RowState::Absent,
            };
            let target = row.change().target.clone();
            let last = row.members.last().map(|job| &job.change.action);
            let is_as_sent =
                matches!(&state, RowState::Present(image) if last.is_some_and(|a| is_in(a, image)));
            let mapping = mapping.clone();
            states.insert(target, WrittenRow { mapping, state, is_as_sent });
            for job in row.members {
                job.finish();
            }
        }
    }
    states
}

/// The row holds what a write sets, to the letter.
fn is_in(action: &Action, row: &Image) -> bool {
    let sets = matches!(action, Action::Upsert(_) | Action::Replace(_));
    sets && action.values().all(|(column, value)| row.get(column) == Some(value))
}
