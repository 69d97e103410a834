//! What happens to a row.

use std::sync::Arc;

/// What happens to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Set these columns, in ascending order; insert the row where it is missing.
    Upsert(Vec<(usize, Bytes)>),
    /// Set these columns, in ascending order, and the mapping's other ones to their defaults; insert the
    /// row where it is missing.
    Replace(Vec<(usize, Bytes)>),
    /// Set these columns to NULL, in ascending order, where the row exists.
    Erase(Vec<usize>),
    /// Add this number to the column (NULL counts as 0); insert the row where it is missing.
    Add(usize, Bytes),
    /// Set the column where it is NULL; insert the row where it is missing.
    Fill(usize, Bytes),
    /// Delete the row.
    Delete,
    /// Change nothing: read the row as the database has it.
    Read,
    /// Change nothing: lock the row, which must hold these values, or its transaction does nothing.
    Expect(Vec<(usize, Bytes)>),
    /// Nothing for the database: only the cache changes, after the writes before it.
    Pass,
}

/// A value as its client sent it.
pub type Bytes = Arc<[u8]>;

impl Action {
    /// The values, each with its column.
    pub fn values(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let (many, one) = match self {
            Action::Upsert(sets) | Action::Replace(sets) | Action::Expect(sets) => {
                (sets.as_slice(), None)
            }
            Action::Add(column, value) | Action::Fill(column, value) => {
                (&[][..], Some((*column, &value[..])))
            }
            Action::Erase(_) | Action::Delete | Action::Read | Action::Pass => (&[][..], None),
        };
        many.iter().map(|(column, value)| (*column, &value[..])).chain(one)
    }

    /// True when it changes nothing in the database.
    pub fn only_looks(&self) -> bool {
        matches!(self, Action::Read | Action::Expect(_) | Action::Pass)
    }
}
