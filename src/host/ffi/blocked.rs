//! A client that is made to wait.

use std::collections::hash_map::Entry;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use redis_module::raw;

use super::Ctx;
use super::Value;
use super::{guard, Args, Row};
use crate::engine::Numbered;

impl Ctx {
    /// Makes the client wait. `None` where it can't be made to: MULTI/EXEC, a script, another module's
    /// call.
    pub fn block(&self) -> Option<Blocked> {
        if self.flags().cannot_block() {
            return None;
        }
        extern "C" fn reply(
            ctx: *mut raw::RedisModuleCtx,
            argv: *mut *mut raw::RedisModuleString,
            argc: c_int,
        ) -> c_int {
            // SAFETY: the private data is the boxed answer of `Blocked::end`, freed by `free`; the
            // server passes the `argc` arguments of the client's command.
            let (answer, raw) = unsafe {
                let data = raw::RedisModule_GetBlockedClientPrivateData.unwrap()(ctx);
                (data.cast::<Answer>().as_ref(), std::slice::from_raw_parts(argv, argc as usize))
            };
            let (ctx, args) = (Ctx { raw: ctx }, Args { raw });
            let lost = Value::error("ERR writethrough: the answer was lost");
            guard("a reply", || match answer {
                Some(Answer::Value(value)) => ctx.reply(value),
                Some(Answer::ByCommand(rows)) => ctx.reply_as_if(args, rows),
                None => ctx.reply(&lost),
            });
            raw::REDISMODULE_OK as c_int
        }
        extern "C" fn free(_: *mut raw::RedisModuleCtx, data: *mut c_void) {
            // SAFETY: `data` was made by Box::into_raw in `Blocked::end`, and is freed once.
            drop(unsafe { Box::from_raw(data.cast::<Answer>()) });
        }
        // SAFETY: `self.raw` belongs to a client. No timeout: deadlines are module timers.
        let raw = unsafe {
            raw::RedisModule_BlockClient.unwrap()(self.raw, Some(reply), None, Some(free), 0)
        };
        // How long it waits is not measured: SLOWLOG would show it as if the server had been busy.
        Some(Blocked { raw: NonNull::new(raw)? })
    }
}

/// What a blocked client is answered.
enum Answer {
    Value(Value),
    /// What its command says, run again: it reads a row that may not be cached.
    ByCommand(Vec<Row>),
}

/// What a blocked client waits for, and what is called when it goes.
struct Waiting {
    /// Most wait for one.
    first: u64,
    more: Vec<u64>,
    left: fn(&[u64]),
}

/// By the client's handle.
static WAITING: LazyLock<Mutex<Numbered<Waiting>>> = LazyLock::new(Mutex::default);

fn waiting() -> MutexGuard<'static, Numbered<Waiting>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client that waits. Dropped unanswered, it answers with an error.
#[derive(Debug)]
pub struct Blocked {
    raw: NonNull<raw::RedisModuleBlockedClient>,
}

// SAFETY: the handle is only used to unblock the client, once, which any thread may do.
unsafe impl Send for Blocked {}

impl Blocked {
    /// The client waits for what has this number. When it goes before it is answered, `left` is
    /// called with all such numbers, in the middle of whatever ends it: no key is touched there.
    pub fn waits_for(&self, number: u64, left: fn(&[u64])) {
        unsafe extern "C" fn disconnected(
            _: *mut raw::RedisModuleCtx,
            client: *mut raw::RedisModuleBlockedClient,
        ) {
            let waited = waiting().remove(&(client as u64));
            if let Some(Waiting { first, more, left }) = waited {
                let numbers = [&[first], &more[..]].concat();
                guard("the end of a client", || left(&numbers));
            }
        }
        let handle = self.raw.as_ptr();
        match waiting().entry(handle as u64) {
            Entry::Occupied(mut waiting) => return waiting.get_mut().more.push(number),
            Entry::Vacant(place) => place.insert(Waiting { first: number, more: Vec::new(), left }),
        };
        // SAFETY: the handle is valid until it is unblocked, and only the main thread calls this.
        unsafe { raw::RedisModule_SetDisconnectCallback.unwrap()(handle, Some(disconnected)) };
    }

    /// The client is there: it has not gone since [`Blocked::waits_for`].
    pub fn waits(&self) -> bool {
        waiting().contains_key(&(self.raw.as_ptr() as u64))
    }

    /// Answers the client. A client that has gone is fine: the server drops the answer.
    pub fn answer(self, value: Value) {
        self.end(Answer::Value(value));
    }

    /// Answers the client by the plain command that it has sent, as if these rows were cached.
    pub fn answer_by_command(self, rows: Vec<Row>) {
        self.end(Answer::ByCommand(rows));
    }

    fn end(self, answer: Answer) {
        let data = Box::into_raw(Box::new(answer)).cast();
        let raw = self.raw.as_ptr();
        std::mem::forget(self);
        // The server may give the handle's address to another client soon.
        waiting().remove(&(raw as u64));
        // SAFETY: the handle is valid and unblocked once; `data` is freed by the callback.
        unsafe { raw::RedisModule_UnblockClient.unwrap()(raw, data) };
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let value = Value::error("ERR writethrough: internal error, the write was dropped");
        Blocked { raw: self.raw }.answer(value);
    }
}
