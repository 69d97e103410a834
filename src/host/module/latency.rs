//! Events for the server's latency monitor: LATENCY HISTORY, LATEST and DOCTOR.

use std::ffi::CStr;
use std::time::Duration;

use super::setting::Setting;
use super::{MainThread, Module};
use crate::host::ffi::{self, Ctx};

/// A statement, from the moment it was sent until it was known to be committed.
const COMMIT: &CStr = c"writethrough-commit";
/// The server waited for a write (MULTI, a script, RENAME and the like).
const SYNC: &CStr = c"writethrough-sync";
/// The main thread merged rows that had arrived, and answered their clients.
const MERGE: &CStr = c"writethrough-merge";

/// The monitor counts whole milliseconds, and its threshold is one at least.
const LEAST: Duration = Duration::from_millis(1);

/// What the monitor records; zero: nothing.
static THRESHOLD: Setting<Duration> = Setting::new(c"latency-monitor-threshold", milliseconds);

/// How long the server itself has waited for a write, at most, since it was told.
static SLOW_SYNC: MainThread<Duration> = MainThread::new();

/// The server has waited so long for a write.
pub fn waited(took: Duration) {
    let mut slow = SLOW_SYNC.get();
    *slow = took.max(*slow);
}

/// Tells the server what took long since the last call. In a timer.
pub fn tell(ctx: &Ctx, module: &Module, merge: Duration) {
    let commit = module.shared.stats.commit.take_peak();
    let sync = std::mem::take(&mut *SLOW_SYNC.get());
    let events = [(COMMIT, commit), (SYNC, sync), (MERGE, merge)];
    if events.iter().all(|(_, took)| *took < LEAST) {
        return;
    }
    let threshold = THRESHOLD.get(ctx);
    if !threshold.is_zero() {
        let slow = events.iter().filter(|(_, took)| *took >= threshold.max(LEAST));
        slow.for_each(|(event, took)| ffi::latency(event, *took));
    }
}

fn milliseconds(text: Option<&[u8]>) -> Duration {
    let number = text.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    Duration::from_millis(number.unwrap_or(0))
}
