//! What a command asks for, in terms of the mapping.

use crate::model::action::{Action, Bytes};
use crate::model::mapping::Mapping;

/// A write, in terms of the mapping.
#[derive(Debug, PartialEq, Eq)]
pub struct Write {
    /// The command, for the log.
    pub command: &'static str,
    /// What happens to the row.
    pub action: Action,
    /// How the client of a committed write is answered.
    pub reply: Reply,
    /// Fields that are kept in Redis only.
    pub kept: Vec<(Bytes, Bytes)>,
    /// Such fields that leave.
    pub dropped: Vec<Bytes>,
    /// A field that is kept in Redis only and changes by what it holds.
    pub kept_change: Option<KeptChange>,
    /// What happens to the final key when the database has no part in it.
    pub cache: Option<CacheOnly>,
    /// What the staged hash holds of what this write sets, as it has been written last.
    pub staged: Staged,
    /// With a uuid: what the acknowledgement's stream is named after.
    pub uuid: Vec<u8>,
}

/// What a staged hash holds of the write that has written it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staged {
    /// Nothing: the write names the plain key.
    Nothing,
    /// The fields that it sets.
    Fields,
    /// Those, which are all columns' but the key's, and the key's fields, too.
    Row,
}

/// How the client of a committed write is answered: as its command would have been on the final
/// key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// How many of these fields were not there.
    NewFields(Vec<Named>),
    /// How many of these fields were there.
    OldFields(Vec<Named>),
    /// The column's new value, as a number where it is whole.
    Integer(usize),
    /// The column's new value, as a text.
    Text(usize),
    /// 1 when the column was NULL.
    Filled,
    /// 1 when the row was there.
    Existed,
    /// 1 when the row is there.
    Found,
    /// This number.
    Number(i64),
    /// This text.
    Bytes(Vec<u8>),
    /// What the server says of the change of the cache.
    Changed,
    /// `OK`.
    Done,
}

/// A field that a write names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A column of the mapping.
    Column(usize),
    /// An index of [`Write::kept`].
    Kept(usize),
    /// An index of [`Write::dropped`].
    Dropped(usize),
}

/// What happens to a field that is kept in Redis only, in order with the writes of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptChange {
    /// How it changes.
    pub kind: KeptKind,
    /// The field.
    pub field: Bytes,
    /// The increment, or the value.
    pub value: Bytes,
    /// The row was missing: it is made first, and then the field is missing, too.
    pub is_new_row: bool,
}

/// The command that changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptKind {
    /// `HINCRBY`
    Add,
    /// `HINCRBYFLOAT`
    AddFloat,
    /// `HSETNX`
    Fill,
}

/// rgsync's operations that leave the table alone.
#[derive(Debug, PartialEq, Eq)]
pub enum CacheOnly {
    /// `+`: set these fields of the final key.
    Set(Vec<(Bytes, Bytes)>),
    /// `-`: remove the final key.
    Evict,
}

impl Write {
    /// A write without fields that are kept in Redis only.
    pub(super) fn new(command: &'static str, action: Action, reply: Reply) -> Write {
        Write {
            command,
            action,
            reply,
            kept: Vec::new(),
            dropped: Vec::new(),
            kept_change: None,
            cache: None,
            staged: Staged::Nothing,
            uuid: Vec::new(),
        }
    }

    /// It reads the row and changes nothing, neither in the database nor in Redis.
    pub fn only_looks(&self) -> bool {
        self.action == Action::Read && self.kept_change.is_none() && self.cache.is_none()
    }

    /// What sets some columns sets the others to their defaults, and is answered as where there is nothing.
    pub fn replaces(&mut self, mapping: &Mapping) {
        let has_values = mapping.columns.len() > mapping.key_len;
        match std::mem::replace(&mut self.action, Action::Pass) {
            Action::Upsert(sets) if has_values => self.action = Action::Replace(sets),
            other => self.action = other,
        }
        if let Reply::NewFields(named) = &self.reply {
            self.reply = Reply::Number(named.len() as i64);
        }
    }

    /// Reads the row into the cache.
    pub fn read(reply: Reply) -> Write {
        Write::new("a read", Action::Read, reply)
    }

    /// Removes the final key, after the writes of it that are on their way.
    pub fn evict() -> Write {
        Write {
            cache: Some(CacheOnly::Evict),
            ..Write::new("an eviction", Action::Pass, Reply::Changed)
        }
    }

    /// A deletion whose row is replaced by the next write: only the final key goes.
    pub fn make_way(deletion: &Write) -> Write {
        match deletion.action {
            Action::Delete => Write { action: Action::Read, ..Write::evict() },
            _ => Write::evict(),
        }
    }

    /// Deletes the row.
    pub fn delete() -> Write {
        Write::new("DEL", Action::Delete, Reply::Existed)
    }
}
