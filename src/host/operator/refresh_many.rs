//! WT.REFRESH of any number of keys, for a client that waits. Some of them are read at a time; the
//! next ones follow as these are done, so that others are served meanwhile.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::command::{Reply, Write};
use crate::config::limits::Limit;
use crate::engine::{JobId, Limited};
use crate::host::ffi::{self, Blocked, Ctx, Timer, Value, Writable};
use crate::host::module::{module, MainThread, Module};
use crate::host::write::admit;
use crate::host::write::pending::pending;
use crate::host::write::submit::submit;
use crate::host::write::waiter::{Completed, Waiter};
use crate::model::failure::Failure;

/// Keys that are read at a time, at most.
const IN_FLIGHT: usize = 1024;

/// Those that are running, by number.
#[derive(Default)]
struct Refreshes {
    running: HashMap<JobId, Refresh>,
    timer: Option<Timer>,
}

static REFRESHES: MainThread<Refreshes> = MainThread::new();

/// One that is running.
struct Refresh {
    client: Blocked,
    /// What is to be read yet.
    keys: std::vec::IntoIter<Box<[u8]>>,
    in_flight: HashSet<JobId>,
    total: usize,
    done: usize,
    found: i64,
    failure: Option<Failure>,
    /// When it ends, if no row is read until then.
    deadline: Instant,
}

/// Reads the rows of these final keys, and answers the client with their number.
pub fn start(module: &Module, client: Blocked, keys: Vec<Box<[u8]>>) {
    let number = {
        let number = pending().next_id();
        client.waits_for(number, left);
        let refresh = Refresh {
            client,
            total: keys.len(),
            keys: keys.into_iter(),
            in_flight: HashSet::new(),
            done: 0,
            found: 0,
            failure: None,
            deadline: Instant::now() + module.shared.limits.timeout(),
        };
        let mut refreshes = REFRESHES.get();
        refreshes.running.insert(number, refresh);
        watch(&mut refreshes);
        number
    };
    go_on(module, number);
}

/// Sends the next keys to the workers, or answers.
fn go_on(module: &Module, number: JobId) {
    if let Err(failure) = send_next(module, number) {
        if let Some(refresh) = REFRESHES.get().running.get_mut(&number) {
            refresh.fail(failure);
        }
    }
    let end = {
        let mut refreshes = REFRESHES.get();
        let is_over = |refresh: &Refresh| refresh.in_flight.is_empty() && refresh.keys.len() == 0;
        match refreshes.running.get(&number).is_some_and(is_over) {
            true => refreshes.running.remove(&number),
            false => None,
        }
    };
    if let Some(refresh) = end {
        refresh.end(module);
    }
}

fn send_next(module: &Module, number: JobId) -> Result<(), Failure> {
    let limits = &module.shared.limits;
    let queue_max = limits.get(Limit::QueueMax) as usize;
    let room = queue_max.saturating_sub(module.shared.stats.waiting.get() as usize);
    // Half of the queue is for others.
    let most = IN_FLIGHT.min(queue_max / 2).max(1);
    let keys: Vec<Box<[u8]>> = {
        let mut refreshes = REFRESHES.get();
        let Some(refresh) = refreshes.running.get_mut(&number) else { return Ok(()) };
        let in_flight = refresh.in_flight.len();
        if in_flight > most / 2 {
            return Ok(());
        }
        // One is sent also where there is no room, or nothing would ever go on.
        let next = (most - in_flight).min(room).max(usize::from(in_flight == 0));
        refresh.keys.by_ref().take(next).collect()
    };
    if keys.is_empty() {
        return Ok(());
    }
    if ffi::server_flags().is_following() {
        return Err(Failure::Down("this server is no master".into()));
    }
    let mappings = admit::mappings(module)?;
    for key in keys {
        // The document may have been read again since the command came.
        let mapping = admit::of_plain(module, &mappings, &key)?;
        let (read, waiter) = (Write::read(Reply::Found), Box::new(Row(number)));
        let id = submit(module, &mapping, &key, read, waiter, None);
        if let Some(refresh) = REFRESHES.get().running.get_mut(&number) {
            refresh.in_flight.insert(id);
        }
    }
    Ok(())
}

/// A row of the refresh of this number.
struct Row(JobId);

impl Waiter for Row {
    fn completed(self: Box<Self>, _: Option<&Writable>, completed: Completed) {
        let Some(module) = module() else { return };
        if let Some(refresh) = REFRESHES.get().running.get_mut(&self.0) {
            refresh.in_flight.remove(&completed.write);
            refresh.done += 1;
            refresh.deadline = Instant::now() + module.shared.limits.timeout();
            match (completed.failure, completed.value) {
                (Some(failure), _) => refresh.fail(failure.clone()),
                (None, Value::Integer(n)) => refresh.found += n,
                (None, _) => {}
            }
        }
        go_on(module, self.0);
    }
}

impl Refresh {
    /// Notes the first failure. After one that is no single key's, nothing more is sent.
    fn fail(&mut self, failure: Failure) {
        if !matches!(failure, Failure::Refused(_)) {
            self.keys = Vec::new().into_iter();
        }
        self.failure.get_or_insert(failure);
    }

    fn end(self, module: &Module) {
        let value = match &self.failure {
            Some(failure) => admit::refuse(module, failure),
            None => Value::Integer(self.found),
        };
        self.client.answer(value);
    }
}

/// Takes one out before its end. What was not sent for it never is.
fn take(refreshes: &mut Refreshes, number: JobId) -> Option<Refresh> {
    let refresh = refreshes.running.remove(&number)?;
    let mut pending = pending();
    for id in &refresh.in_flight {
        let Some(pending) = pending.jobs.get_mut(id) else { continue };
        pending.claim.leave();
        pending.waiter = None;
    }
    Some(refresh)
}

/// The client of these has gone: the server drops the reply.
fn left(numbers: &[JobId]) {
    let gone: Vec<Refresh> = {
        let mut refreshes = REFRESHES.get();
        numbers.iter().filter_map(|number| take(&mut refreshes, *number)).collect()
    };
    for refresh in gone {
        refresh.client.answer(Value::Integer(refresh.found));
    }
}

/// Sets the timer for the first deadline, in place of one that is set.
fn watch(refreshes: &mut Refreshes) {
    if let Some(timer) = refreshes.timer.take() {
        timer.stop();
    }
    if let Some(first) = refreshes.running.values().map(|refresh| refresh.deadline).min() {
        let left = first.saturating_duration_since(Instant::now());
        // A millisecond more: timers count whole ones.
        let left = left + std::time::Duration::from_millis(1);
        refreshes.timer = Some(ffi::stoppable_timer(left, end_of_time));
    }
}

/// A timer: ends those that have not come on for so long.
fn end_of_time(_: &Ctx) {
    let Some(module) = module() else { return };
    let ended: Vec<Refresh> = {
        let mut refreshes = REFRESHES.get();
        let now = Instant::now();
        let running = refreshes.running.iter();
        let late = running.filter(|(_, refresh)| refresh.deadline <= now);
        let late: Vec<JobId> = late.map(|(number, _)| *number).collect();
        let ended = late.into_iter().filter_map(|number| take(&mut refreshes, number)).collect();
        refreshes.timer = None;
        watch(&mut refreshes);
        ended
    };
    let limit = Limited(Some((Limit::Timeout.key(), module.shared.limits.timeout())));
    for mut refresh in ended {
        let Refresh { done, total, .. } = refresh;
        let late = format!("no row could be read {limit}; {done} of {total} keys are done");
        refresh.fail(Failure::TimedOut(late));
        refresh.end(module);
    }
}
