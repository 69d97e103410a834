//! MIGRATE: a key leaves this server when its writes are settled.
//!
//! The node that a slot moves to knows of a write that is on its way here by the staged key only,
//! and here nothing can be changed any more in a key that has left.

use super::admit::not_ready;
use super::pending::pending;
use super::server_errors::no_permission;
use super::synchronous::settle;
use crate::command::rewrite;
use crate::host::ffi::{Args, Value, Writable};
use crate::host::module::module;
use crate::model::key;

/// Waits for the writes of the keys among the arguments, as the server itself waits for MIGRATE's
/// other end, and runs it.
pub fn run(ctx: &Writable, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    // The server is not held up for somebody who may not.
    if !ctx.may_run(c"MIGRATE", &args.strings(1)) {
        return Some(no_permission(c"MIGRATE", args.get(3)));
    }
    let prefix = module.config.prefix.as_bytes();
    let target = |arg| key::parse(prefix, arg).map_or(arg, |staged| staged.target);
    let at = rewrite::migrated(args.len(), |at| args.get(at));
    let keys: Vec<&[u8]> = args.from(0).skip(at.start).take(at.len()).collect();
    let targets: Vec<&[u8]> = keys.iter().copied().map(target).collect();
    if ctx.db() == module.config.db && !settle(ctx, module, &targets) {
        // Together with its staged key it may go: that tells the other node what to wait for.
        let goes_alone = |key: &&[u8]| {
            let staged = key::staged(prefix, key);
            pending().has(key) && !keys.contains(&&*staged)
        };
        if keys.iter().any(goes_alone) {
            let problem = "TRYAGAIN writethrough: a write of a key is on its way; try again, or \
                           move its staged key with it";
            return Some(Value::error(problem));
        }
    }
    let reply = ctx.call_as_user(c"MIGRATE", args, &[]);
    Some(match reply.refusal() {
        Some(refusal) => refusal,
        None if reply.is_text(b"NOKEY") => Value::Status(c"NOKEY"),
        None => Value::OK,
    })
}
