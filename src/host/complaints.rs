//! What the log says of writes that fail: seldom, what to do, and never a value of a row.

use std::time::Instant;

use super::ffi::{log, Level};
use super::options;
use super::state::Module;
use crate::failure::{Class, Failure};
use crate::limits::Limit;
use crate::throttle::{more_since, Throttle};

/// One kind of line for each kind of failure.
#[derive(Default)]
pub struct Complaints {
    refused: [Throttle; Class::ALL.len()],
    late: Throttle,
    busy: Throttle,
}

impl Complaints {
    /// A client was answered with this failure.
    pub fn add(&mut self, module: &Module, failure: &Failure) {
        let now = Instant::now();
        let limit = |limit: Limit| {
            format!("{} = {}", options::name(limit.key()), module.shared.limits.get(limit))
        };
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
                let level = match class {
                    Class::NoData | Class::Data | Class::Constraint | Class::Raised => {
                        Level::Notice
                    }
                    Class::ReadOnly | Class::Access | Class::Resources | Class::Other => {
                        Level::Warning
                    }
                };
                let (advice, more) = (class.advice(), more_since(more, "of this class"));
                log(level, &format!("PostgreSQL refused a write, SQLSTATE {what}: {advice}{more}"));
            }
            Failure::TimedOut(_) => {
                let Some(more) = self.late.admit(now) else { return };
                let (limit, more) = (limit(Limit::Timeout), more_since(more, "such writes"));
                log(
                    Level::Warning,
                    &format!(
                        "a write was answered with WTTIMEOUT, {limit}: look for locks and slow \
                         statements in pg_stat_activity, and at commit_usec in INFO \
                         writethrough{more}"
                    ),
                );
            }
            Failure::Busy(_) => {
                let Some(more) = self.busy.admit(now) else { return };
                let (limit, more) = (limit(Limit::QueueMax), more_since(more, "such writes"));
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
            Failure::Down(_) | Failure::Input(_) => {}
        }
    }
}
