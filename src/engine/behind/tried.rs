//! What becomes of some entries when they are tried.

use super::{Batch, Entry};
use crate::model::entry_id::EntryId;

/// An entry, and the number of its run in the batch.
pub(super) type Item = (usize, Entry);

/// The entries of a batch, one run after the other.
pub(super) fn items(batch: &mut Batch) -> Vec<Item> {
    let runs = batch.runs.iter_mut().enumerate();
    runs.flat_map(|(at, run)| run.entries.drain(..).map(move |entry| (at, entry))).collect()
}

/// The last entry of each run that is there.
pub(super) fn ends(part: &[Item]) -> Vec<(usize, EntryId)> {
    let runs = part.chunk_by(|one, next| one.0 == next.0);
    runs.filter_map(|run| run.last()).map(|(run, entry)| (*run, entry.id)).collect()
}

/// What became of a try.
pub(super) enum Tried {
    /// All of it is done.
    Done,
    /// These are left, to be tried at once, in this order.
    Left(Vec<Vec<Item>>),
    /// The same after a pause.
    Later(Vec<Item>, String),
    /// The batch is given up: it is another server's to write.
    Over,
}

/// The earlier and the later half: where an entry is refused alone, all before it are written.
pub(super) fn halves(mut part: Vec<Item>) -> Tried {
    let second = part.split_off(part.len() / 2);
    Tried::Left(vec![part, second])
}
