//! What rows are after a batch.

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::job::{Job, RowState};
use crate::engine::Outcome;
use crate::model::form::Form;
use crate::model::mapping::Mapping;
use crate::plan::group::Group;

/// What each row is after the last of its statements.
pub(super) fn states(
    groups: Vec<Group<Job>>,
    outcomes: Vec<Vec<Outcome>>,
) -> Vec<(Arc<[u8]>, Arc<Mapping>, RowState)> {
    let mut states = HashMap::new();
    for (Group { mapping, form, rows }, outcomes) in groups.into_iter().zip(outcomes) {
        for (row, outcome) in rows.into_iter().zip(outcomes) {
            let state = match outcome.ok().flatten() {
                Some(_) if form == Form::Delete => RowState::Deleted,
                Some(image) => RowState::Present(image),
                None => RowState::Absent,
            };
            states.insert(row.change().target.clone(), (mapping.clone(), state));
            for job in row.members {
                job.finish();
            }
        }
    }
    states.into_iter().map(|(target, (mapping, state))| (target, mapping, state)).collect()
}
