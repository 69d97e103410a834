//! Writes whose clients waited long are logged: by the key, and never with a value.

use std::sync::PoisonError;
use std::time::Duration;

use super::pending::Pending;
use crate::config::limits::Limit;
use crate::host::module::Module;
use crate::model::key::Bare;

/// The client of a write of this key is answered: it has waited so long, and `in_database` of it for
/// statements, if any was sent.
pub fn note(
    module: &Module,
    key: &[u8],
    pending: &Pending,
    waited: Duration,
    in_database: Option<Duration>,
) {
    let limits = &module.shared.limits;
    let most = limits.time(Limit::SlowWrite);
    if most.is_zero() || waited <= most {
        return;
    }
    let line = || {
        let (name, ms) = (&pending.mapping.name, waited.as_millis());
        let of_these = in_database.map_or(String::new(), |time| {
            format!(", {} ms of these for the database", time.min(waited).as_millis())
        });
        let (option, limit) = (Limit::SlowWrite.option(), most.as_millis());
        let (command, key) = (pending.command, Bare(key));
        format!(
            "{command} of {key}, mapping {name:?}, waited {ms} ms{of_these}; {option} = {limit}"
        )
    };
    let mut log = module.error_log.lock().unwrap_or_else(PoisonError::into_inner);
    log.add_slow(line);
}
