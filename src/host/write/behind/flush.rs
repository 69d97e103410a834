//! `WT.FLUSH name`: waits until what a mapping's queue holds is written.

use super::queue::{State, QUEUES};
use super::{attach, drain, queue};
use crate::host::ffi::{Args, Closed, Ctx, Value};
use crate::host::module::module;
use crate::host::write::admit::{self, not_ready, refuse};
use crate::model::failure::Failure;

/// Answers `OK` when all entries that are there now are written, or set aside.
pub fn flush(ctx: &Ctx, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    if let Err(closed @ Closed::Following) = ctx.writable() {
        return Some(closed.into());
    }
    let name = args.get(1);
    let configs = module.catalog.configs();
    if !configs.iter().any(|config| config.name().as_bytes() == name) {
        let named = admit::mappings(module).and_then(|mappings| admit::named(&mappings, name));
        let failure = named.err().unwrap_or_else(|| Failure::Input("no such mapping".into()));
        return Some(refuse(module, &failure));
    }
    attach::step(ctx, module);
    let is_empty = |queue: &queue::Queue| queue.state == State::Known && queue.entries == 0;
    if QUEUES.get().get(name).is_none_or(is_empty) {
        return Some(Value::OK);
    }
    let Some(client) = ctx.block() else {
        let problem = "WT.FLUSH can't wait in MULTI, nor in a script";
        return Some(refuse(module, &Failure::Input(problem.into())));
    };
    let mut queues = QUEUES.get();
    let Some(queue) = queues.get_mut(name) else {
        drop(queues);
        client.answer(Value::OK);
        return None;
    };
    queue.flushes.push((queue.last, client));
    drop(queues);
    drain::soon();
    None
}
