//! Entries go to the thread that writes them, and what became of them comes back.

use std::time::{Duration, Instant};

use super::gather::{gather, read_ahead};
use super::queues::{self, QUEUES};
use super::{attach, held, reports};
use crate::config::limits::Limit;
use crate::engine::behind::Batch;
use crate::host::ffi::{self, Closed, Ctx, Writable, ASK_AGAIN};
use crate::host::module::{module, MainThread, Module};

/// Batches that a thread has at once: one that it writes, and the next.
const BATCHES: usize = 2;

/// When the entries are looked at again that the database can't take now.
const PAUSE: Duration = Duration::from_millis(100);

/// The queues are looked at so often at most: what comes in between shares a turn, its trim and its batch.
const PACE: Duration = Duration::from_millis(1);

/// How long a turn takes, about: others wait for the server meanwhile.
const TURN: Duration = Duration::from_micros(100);

/// The timer.
#[derive(Default)]
struct Timer {
    /// When the next one goes off.
    due: Option<Instant>,
    /// When the last one did.
    was: Option<Instant>,
}

static TIMER: MainThread<Timer> = MainThread::new();

/// The queues are looked at in the next turn of the event loop. Also a one-shot.
pub fn soon() {
    after(Duration::ZERO);
}

fn after(pause: Duration) {
    let mut timer = TIMER.get();
    let now = Instant::now();
    let is_soon = timer.was.is_some_and(|was| now.duration_since(was) < PACE);
    let pause = if is_soon { pause.max(PACE) } else { pause };
    // One that goes off later finds nothing to do.
    if timer.due.is_none_or(|due| due > now + pause) {
        timer.due = Some(now + pause);
        ffi::timer(pause, run);
    }
}

fn run(ctx: &Ctx) {
    *TIMER.get() = Timer { due: None, was: Some(Instant::now()) };
    let Some(module) = module() else { return };
    if !ctx.select(module.config.db) {
        return;
    }
    if let Some(pause) = turn(ctx, module) {
        after(pause);
    }
}

/// The server waits for a write, in the context of its client: what it waits for may be an entry.
pub fn serve(ctx: &Writable, module: &Module) {
    if queues::any() && ctx.db() == module.config.db {
        if let Some(pause) = turn(ctx, module) {
            after(pause);
        }
    }
}

/// Takes what has become of entries, and hands over more. Returns when to come again.
fn turn(ctx: &Ctx, module: &Module) -> Option<Duration> {
    if !queues::any() {
        return None;
    }
    let ctx = match ctx.writable() {
        Ok(ctx) => ctx,
        Err(Closed::Paused) => {
            // Reads go on during a pause: it has to be known which of them wait.
            attach::step(ctx, module);
            return Some(ASK_AGAIN);
        }
        Err(Closed::Following) => {
            module.drains.reports.take().iter().for_each(|report| {
                reports::count_batch(report);
            });
            held::release_for_ever(module);
            return None;
        }
    };
    let again = attach::step(&ctx, module);
    if again == Some(Duration::ZERO) {
        return again;
    }
    let until = Instant::now() + TURN;
    let is_all = module.apply(|| reports::take_all(&ctx, module, until));
    let names: Vec<Box<[u8]>> = QUEUES.get().keys().cloned().collect();
    let times = names.iter().filter_map(|name| hand_over(&ctx, module, name, until));
    let left = (!is_all).then_some(Duration::ZERO);
    times.chain(again).chain(left).min()
}

/// Hands entries of a mapping over to the thread; while it has enough, more are read ahead. Returns when to come again
/// for those that wait for more.
fn hand_over(ctx: &Writable, module: &Module, name: &[u8], until: Instant) -> Option<Duration> {
    loop {
        let most = module.shared.limits.get(Limit::BatchMax) as usize;
        let (name, first, due, is_busy) = {
            let all = QUEUES.get();
            let queues = all.get(name)?;
            let first = *queues.due.front()?;
            let is_busy = queues.batches >= BATCHES;
            let delay = module.shared.limits.time(Limit::BehindDelay);
            let age = queues.due_since.map_or(delay, |since| since.elapsed());
            if !is_busy && age < delay && !queues.is_full(most as u64) {
                return Some(delay - age);
            }
            (queues.name.clone(), first, queues.due.len(), is_busy)
        };
        let mappings = module.catalog.mappings().ok();
        let mapping = mappings.and_then(|mappings| mappings.get(name.as_bytes()).cloned());
        let Some(mapping) = mapping else { return Some(PAUSE) };
        if is_busy {
            let is_all = read_ahead(ctx, &mapping, first, most, until);
            return (!is_all).then_some(Duration::ZERO);
        }
        let (mut runs, mut size) = (Vec::new(), 0);
        // Each queue once: the others are to have their turn.
        for _ in 0..due {
            if size >= most {
                break;
            }
            let slot = QUEUES.get().get_mut(name.as_bytes())?.due.pop_front();
            let Some(slot) = slot else { break };
            let taken = gather(ctx, module, &mapping, slot, most - size);
            size += taken.iter().map(|run| run.entries.len().max(1)).sum::<usize>();
            runs.extend(taken);
        }
        if runs.is_empty() {
            continue;
        }
        let mut all = QUEUES.get();
        let queues = all.get_mut(name.as_bytes())?;
        queues.batches += 1;
        queues.due_since = Some(Instant::now());
        drop(all);
        let term = module.shared.terms.now();
        module.drains.submit(Batch { name, term, runs });
    }
}
