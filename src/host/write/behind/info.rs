//! What INFO and WT.STATUS show of the queues.

use super::queue::Queue;
use super::queues::QUEUES;
use crate::model::entry_id::now_ms;

/// Each field's name, and its value.
pub fn fields() -> [(&'static str, u64); 4] {
    let all = QUEUES.get();
    let queues = || all.values().flat_map(|queues| queues.by_slot.values());
    let oldest = queues().filter(|queue| queue.entries.get() > 0).filter_map(Queue::oldest);
    let oldest = oldest.map(|id| id.ms).min();
    [
        ("behind_entries", all.values().map(|queues| queues.sums.entries.get()).sum()),
        ("behind_oldest_ms", oldest.map_or(0, |ms| now_ms().saturating_sub(ms))),
        ("behind_failed", queues().map(|queue| queue.failed).sum()),
        ("behind_held", all.values().filter(|queues| queues.held.is_some()).count() as u64),
    ]
}
