//! One answer for several writes.

use std::ffi::CStr;
use std::sync::{Mutex, PoisonError};

use crate::host::ffi::Value;
use crate::host::ffi::{Blocked, Str, Writable};
use crate::host::module::state::Module;

/// A client that waits for several writes.
pub struct Gather {
    client: Option<Blocked>,
    left: usize,
    sum: i64,
    error: Option<Value>,
    then: Then,
}

/// What is done when every write has succeeded: plain keys are deleted.
pub struct Then {
    /// DEL or UNLINK.
    pub command: &'static CStr,
    /// The keys.
    pub keys: Vec<Vec<u8>>,
}

impl Then {
    /// Nothing more is to be done.
    pub const NOTHING: Then = Then { command: c"UNLINK", keys: Vec::new() };

    /// Does it. Returns how many keys were there.
    pub fn run(&self, ctx: &Writable, module: &Module) -> i64 {
        if self.keys.is_empty() {
            return 0;
        }
        let keys: Vec<Str> = self.keys.iter().map(|key| Str::new(key)).collect();
        let keys: Vec<&Str> = keys.iter().collect();
        module.apply(|| ctx.call(self.command, &keys).integer())
    }
}

impl Gather {
    /// `client` waits for `left` writes.
    pub fn new(client: Blocked, left: usize, then: Then) -> Gather {
        Gather { client: Some(client), left, sum: 0, error: None, then }
    }
}

/// One of its writes has this number. `left` is called when its client goes.
pub fn waits_for(gather: &Mutex<Gather>, write: u64, left: fn(&[u64])) {
    let gather = gather.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(client) = &gather.client {
        client.waits_for(write, left);
    }
}

/// Adds the answer of one write. The last one answers the client: with the first error, if any.
/// Where nothing may be written, nothing more is done.
pub fn add(writable: Option<&Writable>, module: &Module, gather: &Mutex<Gather>, value: Value) {
    let mut gather = gather.lock().unwrap_or_else(PoisonError::into_inner);
    match value {
        Value::Integer(n) => gather.sum += n,
        other => {
            gather.error.get_or_insert(other);
        }
    }
    gather.left -= 1;
    if gather.left > 0 {
        return;
    }
    let answer = match gather.error.take() {
        Some(error) => error,
        None => {
            let removed = writable.map_or(0, |ctx| gather.then.run(ctx, module));
            Value::Integer(gather.sum + removed)
        }
    };
    if let Some(client) = gather.client.take() {
        client.answer(answer);
    }
}
