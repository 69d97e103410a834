//! What INFO and WT.STATUS show of the queues.

use super::queue::{Queue, QUEUES};
use crate::model::entry_id::now_ms;

/// Each field's name, and its value.
pub fn fields() -> [(&'static str, u64); 4] {
    let queues = QUEUES.get();
    let oldest = queues.values().filter(|queue| queue.entries > 0).filter_map(Queue::oldest);
    let oldest = oldest.map(|id| id.ms).min();
    [
        ("behind_entries", queues.values().map(|queue| queue.entries).sum()),
        ("behind_oldest_ms", oldest.map_or(0, |ms| now_ms().saturating_sub(ms))),
        ("behind_failed", queues.values().map(|queue| queue.failed).sum()),
        ("behind_held", queues.values().filter(|queue| queue.held.is_some()).count() as u64),
    ]
}
