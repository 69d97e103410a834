//! What the log says of writes that fail: at most one line of a kind in ten seconds, with what to do,
//! and never a value of a row.

use std::sync::Arc;
use std::time::Instant;

use crate::config::limits::{Limit, Limits};
use crate::engine::throttle::{more_since, Throttle};
use crate::engine::Stage;
use crate::host::ffi::{log, Level};
use crate::model::failure::{Class, Failure};
use crate::model::mapping::Mapping;

/// One kind of line for each kind of failure.
#[derive(Default)]
pub struct ErrorLog {
    refused: [Throttle; Class::ALL.len()],
    late: [Throttle; Stage::ALL.len()],
    busy: Throttle,
    slow: Throttle,
}

/// A write whose client's time was up.
pub struct Late {
    /// Of this table.
    pub mapping: Arc<Mapping>,
    /// What it waited for.
    pub stage: Stage,
    /// Which time it was.
    pub limit: Limit,
}

impl Late {
    /// Why it took so long, and what an operator makes of it.
    fn why(&self) -> &'static str {
        match self.stage {
            Stage::Queued => {
                "it waited for a worker, since the database is slower than the clients; look at \
                 waiting and commit_usec in INFO writethrough, and raise pool-size or send less"
            }
            Stage::Sent => {
                "its statement was slow; look for it in pg_stat_activity, for triggers and locks of \
                 the whole table, and at commit_usec in INFO writethrough"
            }
            Stage::Locked => {
                "another session has its row locked; look for a transaction that stays open in \
                 pg_stat_activity"
            }
            Stage::Unconnected => {
                "its connection to the database was lost, or none could be had; look at last_error \
                 in INFO writethrough"
            }
        }
    }
}

impl ErrorLog {
    /// A write took long: what is said of it.
    pub fn add_slow(&mut self, what: impl FnOnce() -> String) {
        let Some(more) = self.slow.admit(Instant::now()) else { return };
        let (what, more) = (what(), more_since(more, "such writes"));
        log(Level::Warning, &format!("a write was slow: {what}{more}"));
    }

    /// A client was answered with this failure. `late`: the write whose
    /// client's time was up, if that is why.
    pub fn add(&mut self, limits: &Limits, failure: &Failure, late: Option<Late>) {
        let now = Instant::now();
        let limit = |limit: Limit| format!("{} = {}", limit.option(), limits.get(limit));
        match failure {
            Failure::Refused(refusal) => {
                let class = refusal.class();
                let Some(more) = self.refused[class as usize].admit(now) else { return };
                let mut what = refusal.sqlstate.clone();
                let parts = [("constraint", &refusal.constraint), ("column", &refusal.column)];
                for (name, part) in parts {
                    if let Some(part) = part {
                        what.push_str(&format!(" {name}={part}"));
                    }
                }
                let (advice, is_operators) = refusal.advice();
                let level = if is_operators { Level::Warning } else { Level::Notice };
                let more = more_since(more, "of this class");
                log(level, &format!("PostgreSQL refused a write, SQLSTATE {what}: {advice}{more}"));
            }
            Failure::TimedOut(_) => {
                let Some(late) = late else { return };
                let Some(more) = self.late[late.stage as usize].admit(now) else { return };
                let (limit, more) = (limit(late.limit), more_since(more, "such writes"));
                let (name, why) = (&late.mapping.name, late.why());
                log(
                    Level::Warning,
                    &format!(
                        "a write of {name:?} was answered with WTTIMEOUT, {limit}: {why}{more}"
                    ),
                );
            }
            Failure::Busy(_) | Failure::Behind(_) => {
                let Some(more) = self.busy.admit(now) else { return };
                let full = match failure {
                    Failure::Behind(_) => Limit::BehindMax,
                    _ => Limit::QueueMax,
                };
                let (limit, more) = (limit(full), more_since(more, "such writes"));
                log(
                    Level::Warning,
                    &format!(
                        "a write was answered with WTBUSY, {limit}: the database is slower than \
                         the clients; look at commit_usec in INFO writethrough, and raise \
                         pool-size or send less{more}"
                    ),
                );
            }
            // The monitor tells of an outage once; and bad input is its client's own affair.
            Failure::Down(_) | Failure::Input(_) | Failure::Unmet(_) | Failure::Aborted => {}
        }
    }
}
