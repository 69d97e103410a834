//! Entries that PostgreSQL has refused: they are set aside, and can be put back.

use std::sync::{Arc, PoisonError};

use super::queue::Flush;
use super::queues::{self, with, QUEUES};
use super::{attach, drain, held, place, stream};
use crate::command::entry;
use crate::host::ffi::{Args, Ctx, Str, Value, Writable};
use crate::host::module::{module, negative, Module};
use crate::host::write::acknowledge::Acknowledgement;
use crate::host::write::admit::{self, not_ready, refuse};
use crate::host::write::pending::pending;
use crate::model::entry_id::EntryId;
use crate::model::failure::Failure;
use crate::model::slot::Slot;

/// Entries that are put back by one command, at most.
const PUT_BACK: usize = 10_000;

/// What stands before the entry's own fields: its id, and why it was refused.
const ABOUT: [&[u8]; 3] = [b"entry", b"sqlstate", b"message"];

/// The entry leaves the queue for the other stream, in one unit. The hash becomes the row again.
///
/// Where the other stream can't be made, since the slot is on its way, the entry stays: PostgreSQL knows that it
/// was refused, and whoever has the slot then sets it aside.
pub fn set_aside(
    ctx: &Writable,
    module: &Module,
    name: &str,
    slot: Slot,
    id: EntryId,
    failure: &Failure,
) {
    let bytes = name.as_bytes();
    let Some((waiting, failed)) =
        with(bytes, slot, |queue| (queue.stream(), queue.failed_stream()))
    else {
        return;
    };
    let raw = match stream::range(ctx, &waiting, id, Some(id), 1) {
        Some(raw) if place::is_here(&failed) => raw,
        _ => return queues::rest(name, slot),
    };
    if let Some(raw) = raw.first() {
        let (sqlstate, message) = match failure {
            Failure::Refused(refusal) => (refusal.sqlstate.clone(), refusal.to_string()),
            other => (String::new(), other.to_string()),
        };
        let message = message.strip_prefix(&*sqlstate).unwrap_or(&message).trim_start();
        let id_text = id.to_string();
        let about = [id_text.as_bytes(), sqlstate.as_bytes(), message.as_bytes()];
        let about = ABOUT.into_iter().zip(about).flat_map(|(name, value)| [name, value]);
        let words: Vec<Str> =
            about.chain(raw.fields.iter().map(Vec::as_slice)).map(Str::new).collect();
        let any = Str::new(b"*");
        // Where somebody else's key is in the way, another name is found.
        let other = [failed.as_bytes(), b":", id_text.as_bytes()].concat();
        let names = [failed.share(), Str::new(&other)];
        let is_added = |stream: &&Str| {
            let args: Vec<&Str> = [*stream, &any].into_iter().chain(&words).collect();
            ctx.call(c"XADD", &args).error().is_none()
        };
        let _ = names.iter().any(|stream| is_added(&stream));
        stream::delete(ctx, &waiting, id);
        let mut log = module.error_log.lock().unwrap_or_else(PoisonError::into_inner);
        log.add(&module.shared.limits, failure, None);
    }
    let (target, uuid, is_last, flushed) = {
        let mut all = QUEUES.get();
        let queue = all.get_mut(bytes).and_then(|queues| queues.by_slot.get_mut(&slot));
        let Some(queue) = queue else { return };
        queue.failed += u64::from(!raw.is_empty());
        let sent = queue.sent.iter().position(|sent| sent.id == id);
        let sent = sent.and_then(|at| queue.sent.remove(at));
        let (target, uuid) = match (sent, raw.first()) {
            (Some(sent), _) => (sent.target.to_vec(), sent.uuid),
            (None, Some(raw)) => (attach::target(&queue.name, &raw.fields()), Vec::new()),
            (None, None) => return,
        };
        let is_last = queue.settle(&target).is_some();
        if let Some(entries) = queue.waiting.get_mut(&*target) {
            entries.is_doubtful = true;
        }
        (target, uuid, is_last, queue.flushed())
    };
    if !uuid.is_empty() {
        Acknowledgement::of(&target, &uuid).send(ctx, module, &Value::from(failure));
    }
    flushed.into_iter().for_each(Flush::done);
    if is_last {
        module.stale_keys.add(&target);
        held::release(module, &target);
    }
}

/// `WT.RETRY name`: puts the refused entries of a mapping behind its others. The answer is their number.
pub fn retry(ctx: &Ctx, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    let ctx = match ctx.writable() {
        Ok(ctx) => ctx,
        Err(closed) => return Some(closed.into()),
    };
    let checked = admit::mappings(module).and_then(|mappings| {
        let mapping = admit::named(&mappings, args.get(1))?;
        admit::in_our_database(&ctx, module)?;
        match mapping.is_behind {
            true => Ok(mapping),
            false => Err(Failure::Input(format!("{:?} is not written behind", mapping.name))),
        }
    });
    match checked {
        Ok(mapping) => Some(module.apply(|| put_back(&ctx, module, &mapping.name))),
        Err(failure) => Some(refuse(module, &failure)),
    }
}

fn put_back(ctx: &Writable, module: &Module, name: &str) -> Value {
    let slots: Vec<Slot> = {
        let all = QUEUES.get();
        let queues = all.get(name.as_bytes()).into_iter().flat_map(|queues| queues.by_slot.iter());
        queues.filter(|(_, queue)| queue.failed > 0).map(|(slot, _)| *slot).collect()
    };
    let mut count = 0;
    for slot in slots {
        match put_back_of(ctx, module, name, slot, PUT_BACK - count) {
            Ok(more) => count += more,
            Err(refusal) if count == 0 => return refusal,
            Err(_) => break,
        }
    }
    drain::soon();
    Value::Integer(count as i64)
}

/// The same of one queue: how many were put back, of so many at most.
fn put_back_of(
    ctx: &Writable,
    module: &Module,
    name: &str,
    slot: Slot,
    most: usize,
) -> Result<usize, Value> {
    attach::make_ours(ctx, module, name, slot)?;
    let streams = with(name.as_bytes(), slot, |queue| (queue.stream(), queue.failed_stream()));
    let Some((waiting, failed)) = streams else { return Ok(0) };
    let mut count = 0;
    let refused = stream::range(ctx, &failed, EntryId::default(), None, most);
    for raw in refused.unwrap_or_default() {
        let fields: Vec<&[u8]> = raw.fields().split_off((2 * ABOUT.len()).min(raw.fields.len()));
        let words: Vec<Str> = fields.iter().map(|field| Str::new(field)).collect();
        let words: Vec<&Str> = words.iter().collect();
        // What somebody else has put there is no entry.
        if entry::head(&fields).is_err() {
            continue;
        }
        let Some(id) = stream::add(ctx, &waiting, &words)? else { break };
        stream::delete(ctx, &failed, raw.id);
        let target: Arc<[u8]> = attach::target(name, &fields).into();
        let mut all = QUEUES.get();
        let Some(queues) = all.get_mut(name.as_bytes()) else { break };
        let Some(queue) = queues.by_slot.get_mut(&slot) else { break };
        // The hash does not show it yet.
        queue.add(&target).is_doubtful = true;
        queue.failed = queue.failed.saturating_sub(1);
        queues.added(slot, id, None);
        drop(all);
        pending().evicted(&target);
        negative::end(&target);
        count += 1;
    }
    Ok(count)
}
