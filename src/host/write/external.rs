//! Staged hashes that no command of ours has changed, and that are in no write yet.

use std::collections::VecDeque;

use crate::host::module::MainThread;
use crate::model::key;

/// Such a change.
pub struct ExternalChange {
    /// In this database.
    pub db: i32,
    /// The staged key.
    pub staged: Vec<u8>,
    /// The event that told of it.
    pub event: Vec<u8>,
}

/// Those that are to be written through, in order.
pub static CHANGES: MainThread<VecDeque<ExternalChange>> = MainThread::new();

/// True while a staged hash holds what is in no write yet.
pub fn is_changed(prefix: &[u8], target: &[u8]) -> bool {
    let is_its = |key: &[u8]| key::parse(prefix, key).is_ok_and(|key| key.target == target);
    CHANGES.get().iter().any(|change| is_its(&change.staged))
}
