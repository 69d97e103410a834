//! What the document says of plain keys, `users:1`: which are read through, and what becomes of a write.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Catalog;
use crate::config::{IdPattern, MappingConfig, OnDelete, PlainWrites};
use crate::model::id::{self, Id};
use crate::model::key;

/// What some mapping of the document says, for the commands that ask whether any does.
#[derive(Default)]
pub(super) struct Any {
    reads_through: AtomicBool,
    takes_writes: AtomicBool,
}

impl Any {
    /// Of these mappings.
    pub(super) fn set(&self, configs: &[MappingConfig]) {
        let takes_writes = |config: &MappingConfig| config.plain_writes != PlainWrites::Allow;
        let reads_through = configs.iter().any(|config| config.read_through);
        self.reads_through.store(reads_through, Ordering::Relaxed);
        self.takes_writes.store(configs.iter().any(takes_writes), Ordering::Relaxed);
    }
}

/// A plain key whose writes don't just change the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainKey {
    /// What becomes of a write; never [`PlainWrites::Allow`].
    pub writes: PlainWrites,
    /// What DEL and UNLINK delete.
    pub on_delete: OnDelete,
    /// Whether it is a row's.
    pub id: Id,
}

impl Catalog {
    /// Some mapping of the document reads through.
    pub fn any_reads_through(&self) -> bool {
        self.any.reads_through.load(Ordering::Relaxed)
    }

    /// A final key of a mapping that reads through, by the document.
    pub fn reads_through(&self, key: &[u8]) -> bool {
        if !self.any_reads_through() {
            return false;
        }
        let Some(row) = key::plain(key) else { return false };
        let is_its = |m: &MappingConfig| m.read_through && m.name().as_bytes() == row.name;
        self.state().configs.iter().any(is_its)
    }

    /// Some mapping of the document says what becomes of plain writes.
    pub fn any_plain_writes(&self) -> bool {
        self.any.takes_writes.load(Ordering::Relaxed)
    }

    /// `None` for a key that is no row's, and where a write changes the cache only.
    pub fn plain_key(&self, key: &[u8]) -> Option<PlainKey> {
        if !self.any_plain_writes() {
            return None;
        }
        let row = key::plain(key)?;
        let state = self.state();
        let mut configs = state.configs.iter();
        let config = configs.find(|m| m.name().as_bytes() == row.name)?;
        let (writes, on_delete) = (config.plain_writes, config.on_delete);
        if writes == PlainWrites::Allow {
            return None;
        }
        let by_pattern = || match IdPattern::allows(config.id_pattern.as_ref(), row.id) {
            true => Id::Possible,
            false => Id::Never,
        };
        // While the table isn't known, the pattern alone says.
        let mapping = state.known().and_then(|mappings| mappings.get(row.name));
        let id = mapping.map_or_else(by_pattern, |mapping| id::of(mapping, row.id));
        (id != Id::Never).then_some(PlainKey { writes, on_delete, id })
    }
}
