//! Waiting for a condition.

use std::time::{Duration, Instant};

/// Far longer than anything here takes, on a busy machine too: it is met only by what would never
/// happen.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Polls `condition` until it is true; panics with `what` at the deadline.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(what, || condition().then_some(()));
}

/// Polls `look` until it finds something, and returns that.
#[track_caller]
pub fn eventually_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}
