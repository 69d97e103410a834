//! A queue that nothing is known of is looked at: who made which entries, and which keys they are of.

use std::sync::Arc;

use super::held;
use super::queue::{self, Queue, State, QUEUES};
use super::stream;
use crate::command::entry::{self, Op};
use crate::config::WriteMode;
use crate::host::ffi::{Ctx, Kind, Str, Value, Writable};
use crate::host::module::Module;
use crate::model::entry_id::EntryId;

/// Entries that are looked at in one turn.
const TURN: usize = 1000;

/// Looks at the queues that nothing is known of. True when there is more to look at.
pub fn step(ctx: &Ctx, module: &Module) -> bool {
    let of_state = |wanted: fn(&Queue) -> bool| -> Vec<Box<[u8]>> {
        let queues = QUEUES.get();
        queues.iter().filter(|(_, queue)| wanted(queue)).map(|(name, _)| name.clone()).collect()
    };
    for name in of_state(|queue| queue.state == State::Unknown) {
        look(ctx, module, &name);
    }
    let unread = of_state(|queue| matches!(queue.state, State::Scanning { .. }));
    let has_more = unread.iter().any(|name| scan(ctx, name));
    if !unread.is_empty() && !has_more {
        held::release_all(module);
    }
    has_more
}

/// True when entries of this final key wait. A queue that nothing is known of is looked at: who asks can't wait.
pub fn waits(ctx: &Ctx, module: &Module, target: &[u8]) -> bool {
    queue::is_waiting(target) && {
        step(ctx, module);
        queue::is_waiting(target)
    }
}

fn look(ctx: &Ctx, module: &Module, name: &[u8]) {
    let Some((waiting, failed)) =
        QUEUES.get().get(name).map(|queue| (queue.stream(), queue.failed_stream()))
    else {
        return;
    };
    let found = match ctx.open(&waiting).kind() {
        Kind::Empty => None,
        _ => stream::look(ctx, &waiting),
    };
    let refused = stream::len(ctx, &failed);
    let configs = module.catalog.configs();
    let is_behind = configs
        .iter()
        .any(|config| config.name().as_bytes() == name && config.write == WriteMode::Behind);
    if !is_behind && found.is_none() && refused == 0 {
        queue::remove(name);
        return held::release_all(module);
    }
    let entries = if found.is_some() { stream::len(ctx, &waiting) } else { 0 };
    {
        let mut queues = QUEUES.get();
        let Some(queue) = queues.get_mut(name) else { return };
        let (last, segments) = found.unwrap_or_default();
        queue.last = last;
        queue.segments = segments;
        queue.entries = entries;
        queue.failed = refused;
        queue.state = match entries {
            0 => State::Known,
            _ => State::Scanning { done: EntryId::default(), until: last },
        };
    }
    held::release_all(module);
}

/// Reads some entries. True when there are more.
fn scan(ctx: &Ctx, name: &[u8]) -> bool {
    let (waiting, from, until) = {
        let queues = QUEUES.get();
        let Some(queue) = queues.get(name) else { return false };
        let State::Scanning { done, until } = queue.state else { return false };
        (queue.stream(), done.next(), until)
    };
    let entries = stream::range(ctx, &waiting, from, Some(until), TURN);
    let mut queues = QUEUES.get();
    let Some(queue) = queues.get_mut(name) else { return false };
    for raw in &entries {
        // What is no entry is of no key: it is set aside when its turn comes.
        let target: Arc<[u8]> = target(&queue.name, &raw.fields()).into();
        let is_deleted = matches!(entry::head(&raw.fields()), Ok((Op::Delete, _)));
        queue.add(&target).is_deleted = is_deleted;
    }
    match entries.last() {
        Some(last) if entries.len() == TURN => {
            queue.state = State::Scanning { done: last.id, until };
            true
        }
        _ => {
            queue.state = State::Known;
            false
        }
    }
}

/// The final key of an entry; of what is none, one that no row has.
pub fn target(name: &str, fields: &[&[u8]]) -> Vec<u8> {
    let id = entry::head(fields).map_or(&b""[..], |(_, id)| id);
    [name.as_bytes(), b":", id].concat()
}

/// The stream of this mapping, to which entries may be added: they are of this server and of now. An error is
/// what the client reads.
pub fn make_ours(ctx: &Writable, module: &Module, name: &str) -> Result<Str, Value> {
    let is_known = {
        let mut queues = QUEUES.get();
        if let Some(queue) = queues.get(name.as_bytes()).filter(|queue| queue.is_ours) {
            return Ok(queue.stream());
        }
        let is_there = queues.contains_key(name.as_bytes());
        is_there
            && queues.get_mut(name.as_bytes()).is_some_and(|queue| queue.state != State::Unknown)
    };
    if !is_known {
        queue::start(module);
        look(ctx, module, name.as_bytes());
    }
    let Some((waiting, last)) =
        QUEUES.get().get(name.as_bytes()).map(|queue| (queue.stream(), queue.last))
    else {
        return Err(Value::error("ERR writethrough: the mapping is not written behind any more"));
    };
    let segment = stream::identify(ctx, &waiting, last)?;
    if let Some(queue) = QUEUES.get().get_mut(name.as_bytes()) {
        queue.segments.push(segment);
        queue.is_ours = true;
    }
    Ok(waiting)
}
