//! From writes in order to statements: coalesce the writes of one row, group rows by shape.
//!
//! A plan is a list of groups, run in order. A group is one statement: rows of one table, each at
//! most once, with the same columns, sorted by key (two writers with overlapping unsorted
//! statements deadlock). Where two writes of a row can't be one, the later one is in a later wave.

use std::sync::Arc;

use super::group::{by_form, Group, Row};
use super::merge::merge;
use super::mixed;
use crate::model::change::Change;
use crate::model::map::Map;

struct Entry<J> {
    wave: usize,
    row: Row<J>,
    alone: bool,
}

/// Plans `jobs`, which are in the order in which the server executed them.
pub fn plan<J: AsRef<Change>>(jobs: Vec<J>) -> Vec<Group<J>> {
    group(entries(jobs), mixed::combine)
}

/// The same for writes that are one transaction: each group does all that its writes ask for, and the tables
/// come in one order, so that two of them lock rows in the same one.
pub fn plan_whole<J: AsRef<Change>>(jobs: Vec<J>) -> Vec<Group<J>> {
    let in_order = |mut groups: Vec<Group<J>>| {
        groups.sort_by(|a, b| a.mapping.table.cmp(&b.mapping.table));
        groups
    };
    group(entries(jobs), in_order)
}

/// Each write as a statement of its own, in order.
pub fn plan_singly<J: AsRef<Change>>(jobs: Vec<J>) -> Vec<Group<J>> {
    jobs.into_iter().flat_map(|job| by_form(vec![Row::of(job)])).collect()
}

fn entries<J: AsRef<Change>>(jobs: Vec<J>) -> Vec<Entry<J>> {
    let mut entries: Vec<Entry<J>> = Vec::with_capacity(jobs.len());
    let mut last: Map<Arc<[u8]>, usize> =
        Map::with_capacity_and_hasher(jobs.len(), Default::default());
    for job in jobs {
        let change = job.as_ref();
        let shares = change.mapping.shares || change.action.only_looks();
        let alone = !shares || change.is_unsendable();
        let mut wave = 0;
        if let Some(&at) = last.get(&change.target) {
            let entry = &mut entries[at];
            // Two readings of the catalog number columns in two ways.
            let is_same = entry.row.change().mapping.version == change.mapping.version;
            if is_same && !alone && !entry.alone {
                let merged = merge(&change.mapping, entry.row.action(), &change.action);
                if merged.is_some() {
                    entry.row.merged = merged;
                    entry.row.members.push(job);
                    continue;
                }
            }
            wave = entry.wave + 1;
        }
        last.insert(change.target.clone(), entries.len());
        entries.push(Entry { wave, row: Row::of(job), alone });
    }
    entries
}

fn group<J: AsRef<Change>>(
    entries: Vec<Entry<J>>,
    combine: fn(Vec<Group<J>>) -> Vec<Group<J>>,
) -> Vec<Group<J>> {
    let waves = entries.iter().map(|entry| entry.wave + 1).max().unwrap_or(0);
    let (mut together, mut alone) = (by_wave(waves), by_wave(waves));
    for entry in entries {
        let waves = if entry.alone { &mut alone } else { &mut together };
        waves[entry.wave].push(entry.row);
    }
    let mut groups = Vec::new();
    for (together, alone) in together.into_iter().zip(alone) {
        groups.extend(combine(by_form(together)));
        groups.extend(alone.into_iter().flat_map(|row| by_form(vec![row])));
    }
    groups
}

fn by_wave<T>(waves: usize) -> Vec<Vec<T>> {
    (0..waves).map(|_| Vec::new()).collect()
}

#[cfg(test)]
#[path = "batch_model.rs"]
mod model;
#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
