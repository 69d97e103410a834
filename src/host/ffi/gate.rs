//! The one gate that every change of the data set goes through.
//!
//! A server that follows another one holds what that one holds. While CLIENT PAUSE, FAILOVER or
//! SHUTDOWN waits for the replicas, the data set must stay as it is: a server that has anybody to
//! tell of a change then, a replica or an append-only file, ends itself by an assertion. So a
//! [`Ctx`] alone can only read. What changes keys is part of [`Writable`], and only the gate makes
//! one.

use std::ops::Deref;
use std::time::Duration;

use super::flags::{avoid_replica_traffic, server_flags};
use super::Ctx;
use super::Value;

/// When to ask again at a gate that is [`Closed::Paused`].
pub const ASK_AGAIN: Duration = Duration::from_millis(5);

/// Why the data set must not be changed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The data comes from elsewhere, a master or a file: what was to be changed is given up.
    Following,
    /// CLIENT PAUSE, FAILOVER or SHUTDOWN: what was to be changed waits until it has ended.
    Paused,
}

/// A context in which keys may be changed, until the callback ends: nothing can close the gate
/// while the main thread is in one.
pub struct Writable<'a> {
    ctx: &'a Ctx,
}

impl Deref for Writable<'_> {
    type Target = Ctx;

    fn deref(&self) -> &Ctx {
        self.ctx
    }
}

impl Ctx {
    /// Asks at the gate: in a timer, and in a command that the server doesn't know as one that
    /// writes.
    pub fn writable(&self) -> Result<Writable<'_>, Closed> {
        match () {
            () if server_flags().is_following() => Err(Closed::Following),
            () if avoid_replica_traffic() => Err(Closed::Paused),
            () => Ok(Writable { ctx: self }),
        }
    }

    /// Asks at the gate in a command that is flagged as a write: the server has asked itself. It
    /// says "paused" all the same inside the transaction that has made the pause, which takes effect
    /// after it. Outside of one, another module calls the command, and hasn't asked.
    pub(super) fn writable_in_write(&self) -> Result<Writable<'_>, Closed> {
        match self.writable() {
            Err(Closed::Paused) if server_flags().is_transaction() => Ok(Writable { ctx: self }),
            asked => asked,
        }
    }
}

/// What the client of a command reads. A replica's is the server's own.
impl From<Closed> for Value {
    fn from(closed: Closed) -> Value {
        Value::error(match closed {
            Closed::Following => "READONLY You can't write against a read only replica.",
            Closed::Paused => "ERR writethrough: the server must not write now, it is paused",
        })
    }
}
