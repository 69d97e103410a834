//! Staged hashes that no command of ours has changed: another module has, or a command that the
//! filter doesn't know. They are written through all the same.
//!
//! From a timer: what is done in the notification of a change goes to the replicas before the change
//! itself.

use std::time::Duration;

use super::transfer::{self, By};
use crate::command::Reply;
use crate::host::ffi::Value;
use crate::host::ffi::{self, log, Closed, Ctx, KeyChange, Level, Str, Writable, ASK_AGAIN};
use crate::host::module::state::{module, Module, State};
use crate::model::key::{self, Show};

/// A change that is to be written through.
pub struct Changed {
    db: i32,
    staged: Vec<u8>,
    event: Vec<u8>,
}

impl State {
    /// True while a staged hash holds what is in no write yet.
    pub fn is_changed_elsewhere(&self, prefix: &[u8], target: &[u8]) -> bool {
        let is_its = |key: &[u8]| key::parse(prefix, key).is_ok_and(|key| key.target == target);
        self.elsewhere.iter().any(|change| is_its(&change.staged))
    }
}

/// A staged hash has changed.
pub fn changed(module: &Module, change: &KeyChange) {
    let (staged, event) = (change.key.to_vec(), change.event.to_vec());
    let mut state = module.state();
    // While there are any, a timer is set.
    if state.elsewhere.is_empty() {
        ffi::timer(Duration::ZERO, write_through);
    }
    state.elsewhere.push_back(Changed { db: change.db(), staged, event });
}

/// A timer. The server waits for the database, so it does one at a time.
fn write_through(ctx: &Ctx) {
    let Some(module) = module() else { return };
    let ctx = match ctx.writable() {
        Ok(ctx) => ctx,
        Err(Closed::Paused) => return ffi::timer(ASK_AGAIN, write_through),
        // The master sees to it.
        Err(Closed::Following) => return module.state().elsewhere.clear(),
    };
    let change = module.state().elsewhere.pop_front();
    if let Some(change) = change.filter(|change| ctx.select(change.db)) {
        write_one(&ctx, module, &change);
    }
    if !module.state().elsewhere.is_empty() {
        ffi::timer(Duration::ZERO, write_through);
    }
}

/// Its client can't be told of a failure, so the log is.
fn write_one(ctx: &Writable, module: &Module, change: &Changed) {
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
