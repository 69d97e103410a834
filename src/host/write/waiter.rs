//! Who waits for a write, or for a row that is read: the one thing that completion knows of them.

use crate::config::limits::Limit;
use crate::engine::{JobId, RowState};
use crate::host::ffi::{Blocked, Value, Writable};
use crate::model::failure::Failure;
use crate::model::mapping::Mapping;

/// What has become of a write, for whoever waits for it.
pub struct Completed<'a> {
    /// Its number.
    pub write: JobId,
    /// The final key.
    pub key: &'a [u8],
    /// What its client reads.
    pub value: Value,
    /// Why it failed.
    pub failure: Option<&'a Failure>,
    /// The row, where somebody has read it to load it.
    pub loaded: Option<Loaded<'a>>,
}

/// A row that was read to be loaded.
pub struct Loaded<'a> {
    /// What the database holds.
    pub state: &'a RowState,
    /// By which the row's columns are numbered.
    pub mapping: &'a Mapping,
    /// It may be older than what has happened to the key since: it is to be read again.
    pub is_outdated: bool,
}

/// Somebody who waits: a blocked client, the server itself, a verification.
pub trait Waiter: Send {
    /// How long; `None`: until it is done, whenever that is.
    fn limit(&self) -> Option<Limit> {
        None
    }

    /// Its write has this number. `left` is to be called with it when the client goes.
    fn waits_for(&self, _write: JobId, _left: fn(&[JobId])) {}

    /// It does itself what follows from the row. Such a read is alone in its group.
    fn loads(&self) -> bool {
        false
    }

    /// A client reads the reply of a write, which counts.
    fn is_write(&self) -> bool {
        self.limit().is_some()
    }

    /// It only wants to know whether the cached hash is the row.
    fn compares(&self) -> bool {
        false
    }

    /// The cached hash is not the row. True when it is to become the row.
    fn differs(&self, _key: &[u8]) -> bool {
        false
    }

    /// It is done: merged, refused, given up. Nothing may be changed where `writable` is absent.
    fn completed(self: Box<Self>, writable: Option<&Writable>, completed: Completed);
}

impl Waiter for Blocked {
    fn limit(&self) -> Option<Limit> {
        Some(Limit::Timeout)
    }

    fn waits_for(&self, write: JobId, left: fn(&[JobId])) {
        Blocked::waits_for(self, write, left);
    }

    fn completed(self: Box<Self>, _: Option<&Writable>, completed: Completed) {
        self.answer(completed.value);
    }
}
