//! The last minute's values as a histogram that any thread adds to.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Buckets in an octave: a quantile is told at most a sixteenth too high.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Values up to 2^36 are told apart: in microseconds, 19 hours.
const BUCKETS: usize = STEPS as usize * (36 - STEP_BITS as usize + 1);

/// The minute is kept in slots of so many seconds, and forgotten slot by slot: the one that is
/// being filled, and the six before it.
const SLOT_SECONDS: u64 = 10;
const SLOTS: usize = 7;

/// A histogram of the last 60 to 70 seconds.
pub struct Percentiles {
    start: Instant,
    slots: [Slot; SLOTS],
}

struct Slot {
    /// Which ten seconds since the start it holds; 0: none yet.
    turn: AtomicU64,
    max: AtomicU64,
    counts: [AtomicU32; BUCKETS],
}

/// What a histogram says. All are 0 when nothing was recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Half of the values are not greater.
    pub p50: u64,
    /// 99 of 100 values are not greater.
    pub p99: u64,
    /// The greatest value.
    pub max: u64,
}

impl Default for Percentiles {
    fn default() -> Percentiles {
        let slot = |_| Slot {
            turn: AtomicU64::new(0),
            max: AtomicU64::new(0),
            counts: [const { AtomicU32::new(0) }; BUCKETS],
        };
        Percentiles { start: Instant::now(), slots: std::array::from_fn(slot) }
    }
}

impl Percentiles {
    fn turn(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / SLOT_SECONDS + 1
    }

    /// Adds a value. Values that come while another thread empties the slot may be lost: that
    /// happens once in ten seconds, and the histogram stays true enough.
    pub fn record(&self, now: Instant, value: u64) {
        let turn = self.turn(now);
        let slot = &self.slots[(turn % SLOTS as u64) as usize];
        let held = slot.turn.load(Relaxed);
        if held != turn && slot.turn.compare_exchange(held, turn, Relaxed, Relaxed).is_ok() {
            slot.max.store(0, Relaxed);
            slot.counts.iter().for_each(|count| count.store(0, Relaxed));
        }
        slot.max.fetch_max(value, Relaxed);
        slot.counts[bucket(value)].fetch_add(1, Relaxed);
    }

    /// What the last minute says.
    pub fn summary(&self, now: Instant) -> Summary {
        let turn = self.turn(now);
        let is_recent = |slot: &&Slot| {
            let held = slot.turn.load(Relaxed);
            held != 0 && held + SLOTS as u64 > turn
        };
        let (mut counts, mut max) = ([0u64; BUCKETS], 0);
        for slot in self.slots.iter().filter(is_recent) {
            max = max.max(slot.max.load(Relaxed));
            for (sum, count) in counts.iter_mut().zip(&slot.counts) {
                *sum += u64::from(count.load(Relaxed));
            }
        }
        let total: u64 = counts.iter().sum();
        let quantile = |percent: u64| {
            let wanted = (total * percent).div_ceil(100);
            let mut seen = 0;
            let at = counts.iter().position(|count| {
                seen += count;
                seen >= wanted && wanted > 0
            });
            at.map_or(0, |at| greatest(at).min(max))
        };
        Summary { p50: quantile(50), p99: quantile(99), max }
    }
}

/// Small values have a bucket each; the others share one with those that have the same first bits.
fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    let at = u64::from(shift) * STEPS + (value >> shift);
    (at as usize).min(BUCKETS - 1)
}

/// The greatest value of a bucket.
fn greatest(at: usize) -> u64 {
    let at = at as u64;
    if at < STEPS {
        return at;
    }
    let shift = at / STEPS - 1;
    ((at % STEPS + STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_holds_what_is_told_of_it() {
        for value in (0..5000).chain([1 << 20, (1 << 20) + 1, 123_456_789, (1 << 36) - 1]) {
            let told = greatest(bucket(value));
            assert!(told >= value && told - value <= value / STEPS, "{value}: {told}");
            assert_eq!(bucket(told), bucket(value));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_of_the_last_minute() {
        let percentiles = Percentiles::default();
        let at = |seconds| percentiles.start + Duration::from_secs(seconds);
        assert_eq!(percentiles.summary(at(0)), Summary::default());
        (1..=100).for_each(|value| percentiles.record(at(1), value));
        assert_eq!(percentiles.summary(at(2)), Summary { p50: 51, p99: 99, max: 100 });
        percentiles.record(at(50), 1_000_000);
        assert_eq!(percentiles.summary(at(59)).max, 1_000_000);
        assert_eq!(percentiles.summary(at(59)).p50, 51);
        // The first slot is forgotten, then used again.
        assert_eq!(
            percentiles.summary(at(75)),
            Summary { p50: 1_000_000, p99: 1_000_000, max: 1_000_000 }
        );
        percentiles.record(at(76), 7);
        assert_eq!(percentiles.summary(at(76)).p50, 7);
        assert_eq!(percentiles.summary(at(200)), Summary::default());
    }
}
