//! Sessions of earlier masters, or of this server's earlier terms, whose statements may still reach
//! the rows.
//!
//! A server that crashed, or was the master, leaves behind statements that run, and messages that
//! nobody has read yet: those of a process of the database's that is stopped, or slow. Such a
//! session shows as idle. So the sessions of earlier masters, which the data set knows by their
//! tags, are ended, and seen to be gone; of other sessions the statements that run are waited for,
//! which end by themselves, within their time limit.

use super::session::Session;
use crate::engine::Tag;
use crate::pg::error::is_missing;

/// What was there when it was looked at.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// When that was, by the database's clock.
    since: f64,
    tags: Vec<Tag>,
    sessions: Vec<Left>,
}

/// A session of an earlier master.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Left {
    pid: i32,
    /// What it was at, if anything.
    transaction: Option<String>,
    /// It was told to end. Where our role may not do that, its transaction is waited for.
    is_told: bool,
}

const NOW: &str = "SELECT extract(epoch FROM clock_timestamp())::float8";

/// The sessions that hold the advisory lock of one of these tags, and their transactions: this view
/// hides nothing from a role without rights.
const LEFT: &str = "
    SELECT l.pid, (SELECT min(v.virtualxid) FROM pg_locks v
                   WHERE v.pid = l.pid AND v.locktype = 'virtualxid' AND v.mode = 'ExclusiveLock')
    FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.pid <> pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32) | l.objid::bigint = ANY($1)";

const END: &str = "SELECT pg_terminate_backend($1)";

/// Statements of the same role and program that began before the time `$1` and have not ended.
const RUNNING: &str = "
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user
      AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()
      AND state <> 'idle' AND coalesce(xact_start, query_start) < to_timestamp($1)";

impl Earlier {
    /// Ends the sessions with these tags. One that a living server makes afterwards stays.
    pub fn end(session: &mut Session, tags: Vec<Tag>) -> Result<Earlier, postgres::Error> {
        let since = session.client.query_one(NOW, &[])?.get(0);
        let mut sessions = left(session, &tags)?;
        for left in &mut sessions {
            left.is_told = match session.client.query_one(END, &[&left.pid]) {
                Ok(_) => true,
                Err(error) if is_missing(&error) => false,
                Err(error) => return Err(error),
            };
        }
        Ok(Earlier { since, tags, sessions })
    }

    /// True when nothing of it is there any more.
    pub fn is_gone(&self, session: &mut Session) -> Result<bool, postgres::Error> {
        if !self.sessions.is_empty() {
            let still = left(session, &self.tags)?;
            if self.sessions.iter().any(|left| left.is_among(&still)) {
                return Ok(false);
            }
        }
        Ok(session.client.query_one(RUNNING, &[&self.since])?.get::<_, i64>(0) == 0)
    }
}

impl Left {
    /// What is to end has not ended.
    fn is_among(&self, still: &[Left]) -> bool {
        let mut same = still.iter().filter(|left| left.pid == self.pid);
        same.any(|left| {
            self.is_told || (self.transaction.is_some() && left.transaction == self.transaction)
        })
    }
}

fn left(session: &mut Session, tags: &[Tag]) -> Result<Vec<Left>, postgres::Error> {
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    match session.client.query(LEFT, &[&tags]) {
        Ok(rows) => {
            let left = |row: &postgres::Row| Left {
                pid: row.get(0),
                transaction: row.get(1),
                is_told: false,
            };
            Ok(rows.iter().map(left).collect())
        }
        // Nobody can have taken such a lock.
        Err(error) if is_missing(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
