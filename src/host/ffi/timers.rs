//! Calls that the main thread makes later.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis_module::raw;

use super::context::DETACHED;
use super::guard;
use super::Ctx;

/// Asks the main thread to call `callback` from its event loop, soon. Any thread may call it.
pub fn wake(callback: fn()) {
    extern "C" fn run(data: *mut c_void) {
        // SAFETY: `data` is the function that `wake` was given.
        let callback = unsafe { std::mem::transmute::<*mut c_void, fn()>(data) };
        guard("a one-shot", callback);
    }
    // SAFETY: RM_EventLoopAddOneShot is thread-safe; a function pointer is always valid.
    unsafe { raw::RedisModule_EventLoopAddOneShot.unwrap()(Some(run), callback as *mut c_void) };
}

/// A timer that has not gone off yet.
#[derive(Debug, Clone, Copy)]
pub struct Timer(raw::RedisModuleTimerID);

/// Calls `callback` in the main thread after a time, with a context of its own in which commands
/// may be run. Only on the main thread, and not in OnLoad: a server that takes a load back, since
/// it knows no option of that name, crashes when the module has a timer.
pub fn timer(after: Duration, callback: fn(&Ctx)) {
    stoppable_timer(after, callback);
}

/// The same; it can be stopped.
pub fn stoppable_timer(after: Duration, callback: fn(&Ctx)) -> Timer {
    extern "C" fn run(ctx: *mut raw::RedisModuleCtx, data: *mut c_void) {
        // SAFETY: `data` is the function that `timer` was given.
        let callback = unsafe { std::mem::transmute::<*mut c_void, fn(&Ctx)>(data) };
        guard("a timer", || callback(&Ctx { raw: ctx }));
    }
    let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    // SAFETY: the detached context was made in `Ctx::detach`, before any timer, and is never freed.
    unsafe {
        let ctx = DETACHED.load(Ordering::Acquire);
        let create = raw::RedisModule_CreateTimer.unwrap();
        Timer(create(ctx, after, Some(run), callback as *mut c_void))
    }
}

impl Timer {
    /// It will not go off. One that did has no effect.
    pub fn stop(self) {
        // SAFETY: as in `timer`; the server looks the number up. The data may be NULL.
        unsafe {
            let ctx = DETACHED.load(Ordering::Acquire);
            raw::RedisModule_StopTimer.unwrap()(ctx, self.0, null_mut());
        }
    }
}
