//! Whether a session is ours alone, or a pooler shares it with other programs.
//!
//! What is set in a session that is shared meets whoever gets it next, so nothing is set, and no
//! name is given, before this is known. Two connections without settings find out: see [`look`].

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use postgres::Client;

use super::connect_error::ConnectError;
use super::greeting::Told;
use super::session::cell;
use crate::model::failure::POOLED;

/// How often the two connections are compared. A pooler without other clients is found in the first
/// round; one with many gives another session nearly each time it is asked.
const ROUNDS: u32 = 3;

/// How long it holds that a pooler gives each connection its own session: somebody may change that.
const VALID: Duration = Duration::from_secs(60);

/// Who is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// PostgreSQL itself.
    Direct,
    /// Something between us and PostgreSQL, or a socket on which that can't be told; each
    /// connection has a session of its own.
    Session,
}

/// What was found out of each address.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashMap<String, (Nature, Instant)>>);

impl Known {
    /// What is known of an address.
    pub fn get(&self, address: &str) -> Option<Nature> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (nature, since) = *known.get(address)?;
        (nature == Nature::Direct || since.elapsed() < VALID).then_some(nature)
    }

    /// It was found out.
    pub fn learn(&self, address: &str, nature: Nature) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(address.to_string(), (nature, Instant::now()));
    }

    /// Something contradicts it.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Connects, and looks who is there. `dial` makes a connection in which nothing is set.
pub fn look(
    mut dial: impl FnMut() -> Result<(Client, Told), ConnectError>,
) -> Result<Nature, ConnectError> {
    let (mut ours, told) = dial()?;
    let pid = process(&mut ours)?;
    if is_direct(&told, pid) {
        return Ok(Nature::Direct);
    }
    let (mut other, _) = dial()?;
    for _ in 0..ROUNDS {
        // Twice: a pooler may give its sessions out in turns.
        let moved = process(&mut ours)? != pid || process(&mut ours)? != pid;
        // What we have just given back is what the next one gets.
        if moved || process(&mut other)? == pid {
            return Err(shared());
        }
        // While this one is held, another may be given to us.
        let held = match other.simple_query("BEGIN") {
            Ok(_) => process(&mut other)?,
            Err(error) if is_statement_mode(&error) => return Err(shared()),
            Err(error) => return Err(error.into()),
        };
        if held == pid || process(&mut ours)? != pid {
            return Err(shared());
        }
        other.simple_query("COMMIT")?;
    }
    Ok(Nature::Session)
}

/// The server's process that has answered.
pub fn process(client: &mut Client) -> Result<i32, postgres::Error> {
    let told = client.simple_query("SELECT pg_backend_pid()")?;
    Ok(cell(&told, 0).and_then(|pid| pid.parse().ok()).unwrap_or(0))
}

/// The process that answers is the one that has greeted.
pub fn is_direct(told: &Told, pid: i32) -> bool {
    pid != 0 && told.load(Ordering::Relaxed) == pid
}

fn shared() -> ConnectError {
    ConnectError::Pooled(POOLED.into())
}

/// PgBouncer's words. No PostgreSQL refuses BEGIN.
fn is_statement_mode(error: &postgres::Error) -> bool {
    error.as_db_error().is_some_and(|db| db.message().contains("statement pooling mode"))
}
