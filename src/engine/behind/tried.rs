//! What becomes of some entries when they are tried.

use super::Entry;

/// What became of a try.
pub(super) enum Tried {
    /// All of it is done.
    Done,
    /// These are left, to be tried at once, in this order.
    Left(Vec<Vec<Entry>>),
    /// The same after a pause.
    Later(Vec<Entry>, String),
    /// The batch is given up: the queue doesn't hold it any more, or it is another server's to write.
    Over,
}

/// The earlier and the later half: where an entry is refused alone, all before it are written.
pub(super) fn halves(mut part: Vec<Entry>) -> Tried {
    let second = part.split_off(part.len() / 2);
    Tried::Left(vec![part, second])
}
