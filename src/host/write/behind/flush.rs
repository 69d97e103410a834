//! `WT.FLUSH name`: waits until what a mapping's queue holds is written.

use super::queue::Flush;
use super::queues::{Queues, QUEUES};
use super::{attach, drain};
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
    // A slot that is on its way may have arrived.
    if let Some(queues) = QUEUES.get().get_mut(name) {
        queues.look_now();
    }
    attach::step(ctx, module);
    let is_written = |queues: &Queues| {
        let is_known = queues.is_found() && queues.unknown.is_empty();
        is_known && queues.sums.entries.get() == 0
    };
    if QUEUES.get().get(name).is_none_or(is_written) {
        return Some(Value::OK);
    }
    let Some(client) = ctx.block() else {
        let problem = "WT.FLUSH can't wait in MULTI, nor in a script";
        return Some(refuse(module, &Failure::Input(problem.into())));
    };
    match QUEUES.get().get_mut(name) {
        Some(queues) => {
            queues.flushes.push(Flush::new(client));
            queues.begin_flushes();
        }
        None => Flush::new(client).done(),
    }
    drain::soon();
    None
}
