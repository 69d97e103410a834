//! OnLoad: where the module makes itself known.

use std::sync::atomic::Ordering;

use redis_module::raw;

use super::context::DETACHED;

/// The context of OnLoad. Commands, callbacks and options are registered in it; no key is touched.
pub struct OnLoad {
    pub(super) raw: *mut raw::RedisModuleCtx,
}

impl OnLoad {
    /// Makes the context that outlives this callback. Once.
    pub fn detach(&self) {
        // SAFETY: `self.raw` is valid; the new context is never freed.
        let detached = unsafe { raw::RedisModule_GetDetachedThreadSafeContext.unwrap()(self.raw) };
        DETACHED.store(detached, Ordering::Release);
    }
}
