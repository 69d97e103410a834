//! Events for the server's latency monitor: LATENCY HISTORY, LATEST and DOCTOR.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use super::{MainThread, Module};
use crate::host::ffi::{self, Ctx, Str};

/// A statement, from the moment it was sent until it was known to be committed.
const COMMIT: &CStr = c"writethrough-commit";
/// The server waited for a write (MULTI, a script, RENAME and the like).
const SYNC: &CStr = c"writethrough-sync";
/// The main thread merged rows that had arrived, and answered their clients.
const MERGE: &CStr = c"writethrough-merge";

/// The monitor counts whole milliseconds, and its threshold is one at least.
const LEAST: Duration = Duration::from_millis(1);

/// How long the threshold is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// What only the main thread knows of it.
#[derive(Default)]
struct Latency {
    /// How long the server itself has waited for a write, at most, since it was told.
    slow_sync: Duration,
    /// `latency-monitor-threshold`, and when the server was asked for it.
    threshold: Option<(Instant, Duration)>,
}

static LATENCY: MainThread<Latency> = MainThread::new();

/// The server has waited so long for a write.
pub fn waited(took: Duration) {
    let mut latency = LATENCY.get();
    latency.slow_sync = latency.slow_sync.max(took);
}

/// Tells the server what took long since the last call. In a timer.
pub fn tell(ctx: &Ctx, module: &Module, merge: Duration) {
    let commit = module.shared.stats.commit.take_peak();
    let sync = std::mem::take(&mut LATENCY.get().slow_sync);
    let events = [(COMMIT, commit), (SYNC, sync), (MERGE, merge)];
    if events.iter().all(|(_, took)| *took < LEAST) {
        return;
    }
    let threshold = threshold(ctx);
    if !threshold.is_zero() {
        let slow = events.iter().filter(|(_, took)| *took >= threshold.max(LEAST));
        slow.for_each(|(event, took)| ffi::latency(event, *took));
    }
}

fn threshold(ctx: &Ctx) -> Duration {
    let now = Instant::now();
    let is_new = |asked: &Instant| now.saturating_duration_since(*asked) < BELIEVED;
    let known = LATENCY.get().threshold.filter(|(asked, _)| is_new(asked));
    if let Some((_, threshold)) = known {
        return threshold;
    }
    let args = [&b"GET"[..], b"latency-monitor-threshold"].map(Str::new);
    let reply = ctx.read(c"CONFIG", &args.each_ref());
    let number = reply.texts().get(1).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    let threshold = Duration::from_millis(number.unwrap_or(0));
    LATENCY.get().threshold = Some((now, threshold));
    threshold
}
