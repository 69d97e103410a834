//! Staged hashes that no command of ours has changed: another module has, or a command that the
//! filter doesn't know. They are written through all the same.
//!
//! From a timer: what is done in the notification of a change goes to the replicas before the change
//! itself.

use std::time::Duration;

use super::external::{ExternalChange, CHANGES};
use super::transfer::{self, By};
use crate::command::Reply;
use crate::host::ffi::{self, log, Closed, Ctx, KeyChange, Level, Str, Value, Writable, ASK_AGAIN};
use crate::host::module::{module, Module};
use crate::model::key::{self, Show};

/// A staged hash has changed.
pub fn changed(change: &KeyChange) {
    let (staged, event) = (change.key.to_vec(), change.event.to_vec());
    let mut changes = CHANGES.get();
    // While there are any, a timer is set.
    if changes.is_empty() {
        ffi::timer(Duration::ZERO, write_through);
    }
    changes.push_back(ExternalChange { db: change.db(), staged, event });
}

/// A timer. The server waits for the database, so it does one at a time.
fn write_through(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let ctx = match ctx.writable() {
        Ok(ctx) => ctx,
        Err(Closed::Paused) => return ffi::timer(ASK_AGAIN, write_through),
        // The master sees to it.
        Err(Closed::Following) => return CHANGES.get().clear(),
    };
    let change = CHANGES.get().pop_front();
    if let Some(change) = change.filter(|change| ctx.select(change.db)) {
        write_one(&ctx, module, &change);
    }
    if !CHANGES.get().is_empty() {
        ffi::timer(Duration::ZERO, write_through);
    }
}

/// Its client can't be told of a failure, so the log is.
fn write_one(ctx: &Writable, module: &Module, change: &ExternalChange) {
    let written = transfer::whole_hash(ctx, module, &change.staged, Reply::Done, By::Nobody);
    let Err(Value::Error(error)) = written else { return };
    let staged = key::parse(module.config.prefix.as_bytes(), &change.staged);
    let name = staged.map_or("?".into(), |staged| Show(staged.name).to_string());
    let code = error.to_string_lossy();
    let code: Vec<&str> = code.split(' ').take(2).collect();
    log(
        Level::Warning,
        &format!(
            "a change by {} of a staged key of {name} was not written through: {}",
            Show(&change.event),
            code.join(" "),
        ),
    );
    module.apply(|| ctx.call(c"UNLINK", &[&Str::new(&change.staged)]));
}
