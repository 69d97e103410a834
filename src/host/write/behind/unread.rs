//! Entries that the thread doesn't have yet, as their commands were understood: so the stream is read, and each
//! entry understood again, only where more wait than may be kept.

use std::collections::VecDeque;
use std::sync::Arc;

use super::share::{Share, Sum};
use crate::model::change::Change;
use crate::model::entry_id::EntryId;
use crate::model::failure::Failure;

/// What is kept of all queues of a mapping, in bytes. The entries behind it wait in the streams only.
const MOST: u64 = 4 << 20;

/// What an entry takes besides its change, in bytes, about.
const EACH: usize = 200;

/// An entry.
pub struct Unread {
    /// Its id.
    pub id: EntryId,
    /// The final key.
    pub target: Arc<[u8]>,
    /// Where its acknowledgement goes.
    pub uuid: Vec<u8>,
    /// What it does, or why that can't be done.
    pub change: Result<Change, Failure>,
}

impl Unread {
    fn size(&self) -> u64 {
        (EACH + self.uuid.len() + self.change.as_ref().map_or(0, Change::size)) as u64
    }
}

/// The first of the entries that wait, in order.
pub struct Kept {
    entries: VecDeque<Unread>,
    bytes: Share,
}

impl Kept {
    /// None, of a mapping whose queues keep so many bytes.
    pub fn of(sum: &Sum) -> Kept {
        Kept { entries: VecDeque::new(), bytes: sum.share() }
    }

    /// What all queues of the mapping keep.
    pub fn sum(&self) -> &Sum {
        self.bytes.sum()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The last one.
    pub fn last(&self) -> Option<EntryId> {
        self.entries.back().map(|entry| entry.id)
    }

    /// No more are kept.
    pub fn is_full(&self) -> bool {
        self.sum().get() >= MOST
    }

    /// Keeps an entry that was added to the stream, behind so many others that the thread doesn't have.
    pub fn push(&mut self, others: u64, entry: Unread) {
        // Where one of the others is not here, the stream has to be read before.
        if others == self.entries.len() as u64 && !self.is_full() {
            self.bytes.set(self.bytes.get() + entry.size());
            self.entries.push_back(entry);
        }
    }

    /// The first ones, at most so many.
    pub fn take(&mut self, most: usize) -> Vec<Unread> {
        let taken: Vec<Unread> = self.entries.drain(..most.min(self.entries.len())).collect();
        self.bytes.set(self.bytes.get() - taken.iter().map(Unread::size).sum::<u64>());
        taken
    }

    /// Gives memory back.
    pub fn shrink(&mut self) {
        self.entries.shrink_to(8);
    }

    /// The stream is read again.
    pub fn clear(&mut self) {
        *self = Kept::of(self.sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64, bytes: usize) -> Unread {
        let change = Err(Failure::Input(String::new()));
        Unread {
            id: EntryId { ms: n, seq: 0 },
            target: b"t:1"[..].into(),
            uuid: vec![0; bytes],
            change,
        }
    }

    fn ids(entries: Vec<Unread>) -> Vec<u64> {
        entries.iter().map(|entry| entry.id.ms).collect()
    }

    #[test]
    fn what_is_kept_is_what_comes_next() {
        let mut kept = Kept::of(&Sum::default());
        (0..3).for_each(|n| kept.push(n, entry(n, 0)));
        assert_eq!(ids(kept.take(2)), [0, 1]);
        // Another one waits in the stream only.
        kept.push(2, entry(4, 0));
        assert_eq!(ids(kept.take(9)), [2]);
        kept.push(1, entry(5, 0));
        assert!(kept.take(9).is_empty());
        kept.push(0, entry(6, 0));
        assert_eq!(ids(kept.take(9)), [6]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let sum = Sum::default();
        let (mut kept, mut other) = (Kept::of(&sum), Kept::of(&sum));
        let quarter = MOST as usize / 4;
        (0..9).for_each(|n| kept.push(n, entry(n, quarter)));
        // The mapping's queues share the bytes.
        other.push(0, entry(1, quarter));
        assert!(other.take(9).is_empty());
        assert_eq!(ids(kept.take(9)), [0, 1, 2, 3]);
        kept.push(5, entry(9, 0));
        assert!(kept.take(9).is_empty());
        kept.push(0, entry(10, 0));
        kept.clear();
        assert!(kept.take(9).is_empty());
        assert_eq!(sum.get(), 0);
        other.push(0, entry(1, quarter));
        assert_eq!(ids(other.take(9)), [1]);
    }
}
