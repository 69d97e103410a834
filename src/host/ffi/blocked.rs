//! A client that is made to wait.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use redis_module::raw;

use super::guard;
use super::Ctx;
use super::Value;

impl Ctx {
    /// Makes the client wait. `None` when the server will not have it.
    pub fn block(&self) -> Option<Blocked> {
        extern "C" fn reply(
            ctx: *mut raw::RedisModuleCtx,
            _: *mut *mut raw::RedisModuleString,
            _: c_int,
        ) -> c_int {
            // SAFETY: the private data is the boxed value of `Blocked::answer`, freed by `free`.
            let value = unsafe {
                raw::RedisModule_GetBlockedClientPrivateData.unwrap()(ctx).cast::<Value>().as_ref()
            };
            let lost = Value::error("ERR writethrough: the answer was lost");
            guard("a reply", || Ctx { raw: ctx }.reply(value.unwrap_or(&lost)));
            raw::REDISMODULE_OK as c_int
        }
        extern "C" fn free(_: *mut raw::RedisModuleCtx, data: *mut c_void) {
            // SAFETY: `data` was made by Box::into_raw in `Blocked::answer`, and is freed once.
            drop(unsafe { Box::from_raw(data.cast::<Value>()) });
        }
        // SAFETY: `self.raw` belongs to a client. No timeout: deadlines are module timers.
        let raw = unsafe {
            raw::RedisModule_BlockClient.unwrap()(self.raw, Some(reply), None, Some(free), 0)
        };
        let blocked = Blocked { raw: NonNull::new(raw)? };
        // SAFETY: the handle is valid until it is unblocked.
        unsafe {
            if let Some(start) = raw::RedisModule_BlockedClientMeasureTimeStart {
                start(raw);
            }
        }
        Some(blocked)
    }
}

/// The numbers of the writes that blocked clients wait for, by the client's handle.
static WAITING: LazyLock<Mutex<HashMap<usize, Vec<u64>>>> = LazyLock::new(Mutex::default);

fn waiting() -> MutexGuard<'static, HashMap<usize, Vec<u64>>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is called with the numbers of the writes whose client has gone.
static LEFT: OnceLock<fn(&[u64])> = OnceLock::new();

/// A client that waits. Dropped unanswered, it answers with an error.
#[derive(Debug)]
pub struct Blocked {
    raw: NonNull<raw::RedisModuleBlockedClient>,
}

// SAFETY: the handle is only used to unblock the client, once, which any thread may do.
unsafe impl Send for Blocked {}

impl Blocked {
    /// The client waits for the write of this number. When it goes before it is answered, `left` is
    /// called with all such numbers, in the middle of whatever ends it: no key is touched there.
    pub fn waits_for(&self, write: u64, left: fn(&[u64])) {
        unsafe extern "C" fn disconnected(
            _: *mut raw::RedisModuleCtx,
            client: *mut raw::RedisModuleBlockedClient,
        ) {
            let writes = waiting().remove(&(client as usize)).unwrap_or_default();
            if let Some(left) = LEFT.get() {
                guard("the end of a client", || left(&writes));
            }
        }
        let _ = LEFT.set(left);
        let handle = self.raw.as_ptr();
        waiting().entry(handle as usize).or_default().push(write);
        // SAFETY: the handle is valid until it is unblocked, and only the main thread calls this.
        unsafe { raw::RedisModule_SetDisconnectCallback.unwrap()(handle, Some(disconnected)) };
    }

    /// Answers the client. A client that has gone is fine: the server drops the answer.
    pub fn answer(self, value: Value) {
        let data = Box::into_raw(Box::new(value)).cast();
        let raw = self.raw.as_ptr();
        std::mem::forget(self);
        // The server may give the handle's address to another client soon.
        waiting().remove(&(raw as usize));
        // SAFETY: the handle is valid and unblocked once; `data` is freed by the callback.
        unsafe {
            if let Some(end) = raw::RedisModule_BlockedClientMeasureTimeEnd {
                end(raw);
            }
            raw::RedisModule_UnblockClient.unwrap()(raw, data);
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let value = Value::error("ERR writethrough: internal error, the write was dropped");
        Blocked { raw: self.raw }.answer(value);
    }
}
