//! The context of a callback: what its client is, and in which database.

use std::ffi::{c_int, CStr};
use std::ptr::{null_mut, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

use redis_module::raw;

use super::flags::Flags;
use super::Str;

/// A context that lives as long as the module: for the log and for timers made in one-shots.
pub(super) static DETACHED: AtomicPtr<raw::RedisModuleCtx> = AtomicPtr::new(null_mut());

/// The module that the detached context belongs to is about to go.
pub fn forget_context() {
    DETACHED.store(null_mut(), Ordering::Release);
}

/// A context of the server, valid during one callback. It can only read: see [`Ctx::writable`].
pub struct Ctx {
    pub(super) raw: *mut raw::RedisModuleCtx,
}

impl Ctx {
    /// A context that is no client's: what the server allows a client in the middle of a slot's move, it
    /// doesn't allow here.
    pub fn of_nobody() -> Ctx {
        Ctx { raw: DETACHED.load(Ordering::Acquire) }
    }

    /// The state of the server and of the context's client.
    pub fn flags(&self) -> Flags {
        // SAFETY: `self.raw` is valid.
        Flags(unsafe { raw::RedisModule_GetContextFlags.unwrap()(self.raw) } as u32)
    }

    /// The number of the context's client.
    pub fn client(&self) -> u64 {
        // SAFETY: `self.raw` is valid.
        unsafe { raw::RedisModule_GetClientId.unwrap()(self.raw) }
    }

    /// The selected database.
    pub fn db(&self) -> i32 {
        // SAFETY: `self.raw` is valid and has a client.
        unsafe { raw::RedisModule_GetSelectedDb.unwrap()(self.raw) }
    }

    /// Selects a database for the calls that follow. False when there is none of this number.
    pub fn select(&self, db: i32) -> bool {
        // SAFETY: `self.raw` is valid and has a client.
        unsafe { raw::RedisModule_SelectDb.unwrap()(self.raw, db) == raw::REDISMODULE_OK as c_int }
    }

    /// True when the context's user may run the command with these arguments.
    pub fn may_run(&self, command: &CStr, args: &[&Str]) -> bool {
        let name = Str::new(command.to_bytes());
        let mut argv: Vec<_> =
            std::iter::once(&&name).chain(args).map(|arg| arg.0.as_ptr()).collect();
        // SAFETY: `self.raw` is valid; the user's name and the user are ours to free; the arguments
        // are valid strings, which the check only reads.
        unsafe {
            let user_name = raw::RedisModule_GetCurrentUserName.unwrap()(self.raw);
            let Some(user_name) = NonNull::new(user_name).map(Str) else { return false };
            let user = raw::RedisModule_GetModuleUserFromUserName.unwrap()(user_name.0.as_ptr());
            if user.is_null() {
                return false;
            }
            let check = raw::RedisModule_ACLCheckCommandPermissions.unwrap();
            let allowed = check(user, argv.as_mut_ptr(), argv.len() as c_int);
            raw::RedisModule_FreeModuleUser.unwrap()(user);
            allowed == raw::REDISMODULE_OK as c_int
        }
    }
}
