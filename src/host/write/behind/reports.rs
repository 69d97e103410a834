//! What the thread tells of the entries that it has, or had.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use super::queue::{Queue, QUEUES};
use super::{failed, held, rows};
use crate::engine::behind::{News, Report};
use crate::host::ffi::{log, Level, Writable};
use crate::host::module::Module;

/// True when the report is of entries that the queue holds.
fn is_live(report: &Report, queue: &Queue) -> bool {
    Arc::ptr_eq(&report.live, &queue.live)
}

/// A batch has ended. True when it was the last one of those that are not the queue's any more.
pub fn count_batch(report: &Report) -> bool {
    let mut queues = QUEUES.get();
    let Some(queue) = queues.get_mut(report.name.as_bytes()) else { return false };
    if !matches!(report.news, News::End) {
        return false;
    }
    match is_live(report, queue) {
        true => queue.batches = queue.batches.saturating_sub(1),
        false => queue.earlier_batches = queue.earlier_batches.saturating_sub(1),
    }
    queue.earlier_batches == 0
}

/// Takes one.
pub fn take(ctx: &Writable, module: &Module, report: Report) {
    let is_of_now = {
        let queues = QUEUES.get();
        queues.get(report.name.as_bytes()).is_some_and(|queue| is_live(&report, queue))
    };
    match report.news {
        News::End => {
            if count_batch(&report) {
                held::release_all(module);
            }
            // What a batch has left, which was given up, is read again.
            let mut queues = QUEUES.get();
            if let Some(queue) = queues.get_mut(report.name.as_bytes()).filter(|_| is_of_now) {
                if queue.batches == 0 && !queue.live.load(Ordering::Acquire) {
                    queue.live = Arc::new(AtomicBool::new(true));
                    if let Some(first) = queue.sent.front().map(|sent| sent.id) {
                        queue.read_to = first.previous();
                        queue.sent.clear();
                        queue.unread.clear();
                    }
                }
            }
        }
        News::FoundOlder => {
            module.shared.stats.behind_found_older.add(1);
            log(
                Level::Warning,
                &format!(
                    "the queue of {:?} is older than the table: PostgreSQL has writes that this server has lost; \
                     cached hashes become their rows",
                    &*report.name
                ),
            );
        }
        News::DatabaseOlder => {
            module.shared.stats.behind_database_older.add(1);
            log(
                Level::Warning,
                &format!(
                    "the database is of an earlier time than the queue of {:?}: it has lost writes that it had \
                     confirmed; cached hashes become their rows",
                    &*report.name
                ),
            );
            module.manager.timeline.doubt();
        }
        _ if !is_of_now => {}
        News::Written(up_to, states) => {
            let mut queues = QUEUES.get();
            if let Some(queue) = queues.get_mut(report.name.as_bytes()) {
                queue.held = None;
            }
            drop(queues);
            rows::written(ctx, module, &report.name, up_to, states);
        }
        News::Refused(id, failure) => failed::set_aside(ctx, module, &report.name, id, &failure),
        News::Held(reason) => {
            let mut queues = QUEUES.get();
            let Some(queue) = queues.get_mut(report.name.as_bytes()) else { return };
            if queue.held.replace(reason.clone()).is_none() {
                log(
                    Level::Warning,
                    &format!(
                        "the queue of {:?} can't be written now: {reason}; it goes on by itself",
                        &*report.name
                    ),
                );
            }
        }
    }
}
