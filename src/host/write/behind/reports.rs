//! What the thread tells of the entries that it has, or had.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use super::queue::State;
use super::queues::{with, QUEUES};
use super::{failed, held, rows};
use crate::engine::behind::{News, Report, Source};
use crate::host::ffi::{log, Level, Writable};
use crate::host::module::Module;

/// True when the source's entries are those that the queue holds.
fn is_live(name: &str, source: &Source) -> bool {
    let is_same = |live: &Arc<AtomicBool>| Arc::ptr_eq(live, &source.live);
    with(name.as_bytes(), source.slot, |queue| is_same(&queue.live)) == Some(true)
}

/// A batch may have ended. True when it was the last one of those that are not a queue's any more.
pub fn count_batch(report: &Report) -> bool {
    let News::End(sources) = &report.news else { return false };
    let mut all = QUEUES.get();
    let Some(queues) = all.get_mut(report.name.as_bytes()) else { return false };
    queues.batches = queues.batches.saturating_sub(1);
    let mut is_last = false;
    for source in sources {
        let Some(queue) = queues.by_slot.get_mut(&source.slot) else { continue };
        if Arc::ptr_eq(&queue.live, &source.live) {
            queue.batches = queue.batches.saturating_sub(1);
        } else {
            queue.earlier_batches = queue.earlier_batches.saturating_sub(1);
            is_last |= queue.earlier_batches == 0;
        }
        // There is nothing of it any more; its identities may have ended; entries may be left.
        let has_more = queue.is_nothing() || queue.segments.len() > 1 || queue.unread_count() > 0;
        if queue.state == State::Known && has_more {
            queues.became(source.slot, State::Known);
        }
    }
    is_last
}

/// What a batch has left, which was given up, is read again.
fn read_again(name: &str, source: &Source) {
    let mut all = QUEUES.get();
    let Some(queues) = all.get_mut(name.as_bytes()) else { return };
    let Some(queue) = queues.by_slot.get_mut(&source.slot) else { return };
    if queue.batches == 0 && !queue.live.load(Ordering::Acquire) {
        queue.live = Arc::new(AtomicBool::new(true));
        if let Some(first) = queue.sent.front().map(|sent| sent.id) {
            queue.read_to = first.previous();
            queue.sent.clear();
            queue.unread.clear();
        }
        queues.make_due(source.slot);
    }
}

/// Takes those that have come, until the time is over. False when some are left.
pub fn take_all(ctx: &Writable, module: &Module, until: Instant) -> bool {
    let reports = &module.drains.reports;
    while let Some(report) = reports.next() {
        if let Some(rest) = take(ctx, module, report, until) {
            reports.put_back(rest);
            return false;
        }
    }
    true
}

/// Takes one. Returns what is left of it when the time is over.
fn take(ctx: &Writable, module: &Module, report: Report, until: Instant) -> Option<Report> {
    let name = report.name.clone();
    if count_batch(&report) {
        held::release_all(module);
    }
    match report.news {
        News::End(sources) => {
            let live = sources.iter().filter(|source| is_live(&name, source));
            live.for_each(|source| read_again(&name, source));
        }
        News::FoundOlder(queues) => {
            module.shared.stats.behind_found_older.add(queues);
            log(
                Level::Warning,
                &format!(
                    "the queue of {name:?} is older than the table: PostgreSQL has writes that this server has \
                     lost; cached hashes become their rows",
                ),
            );
        }
        News::DatabaseOlder => {
            module.shared.stats.behind_database_older.add(1);
            log(
                Level::Warning,
                &format!(
                    "the database is of an earlier time than the queue of {name:?}: it has lost writes that it \
                     had confirmed; cached hashes become their rows",
                ),
            );
            module.manager.timeline.doubt();
        }
        News::Written(mut ends, mut rows) => {
            if let Some(queues) = QUEUES.get().get_mut(name.as_bytes()) {
                queues.held = None;
            }
            ends.retain(|(source, _)| is_live(&name, source));
            if !rows::written(ctx, module, &name, &mut ends, &mut rows, until) {
                return Some(Report { name, news: News::Written(ends, rows) });
            }
        }
        News::Refused(source, id, failure) => {
            if is_live(&name, &source) {
                failed::set_aside(ctx, module, &name, source.slot, id, &failure);
            }
        }
        News::Held(reason) => {
            let mut all = QUEUES.get();
            let queues = all.get_mut(name.as_bytes())?;
            if queues.held.replace(reason.clone()).is_none() {
                log(
                    Level::Warning,
                    &format!(
                        "the queue of {name:?} can't be written now: {reason}; it goes on by itself"
                    ),
                );
            }
        }
    }
    None
}
