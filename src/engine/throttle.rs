//! At most one log line of a kind in ten seconds; it says how many were left out.

use std::time::{Duration, Instant};

/// The least time between two lines of one kind.
pub const PAUSE: Duration = Duration::from_secs(10);

/// Lines of one kind.
#[derive(Debug, Default)]
pub struct Throttle {
    last: Option<Instant>,
    left_out: u64,
}

impl Throttle {
    /// Whether it is time for a line; then how many were left out since the last one.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// ` (7 more outages since the last line)`, or nothing.
pub fn more_since(left_out: u64, what: &str) -> String {
    match left_out {
        0 => String::new(),
        n => format!(" ({n} more {what} since the last such line)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_ten_seconds() {
        let (mut lines, start) = (Throttle::default(), Instant::now());
        assert_eq!(lines.admit(start), Some(0));
        assert_eq!(lines.admit(start + PAUSE / 2), None);
        assert_eq!(lines.admit(start + PAUSE / 2), None);
        assert_eq!(lines.admit(start + PAUSE), Some(2));
        assert_eq!(more_since(0, "outages"), "");
        assert_eq!(more_since(2, "outages"), " (2 more outages since the last such line)");
    }
}
