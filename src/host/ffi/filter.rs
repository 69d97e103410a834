//! Commands before they are looked up.

use std::ffi::{c_int, CStr};

use redis_module::raw;

use super::string::bytes;
use super::Str;

/// The server tells the filter whose command it is (7.2 and later).
pub fn tells_whose_command() -> bool {
    // SAFETY: the server has set it, or not, before it calls the module. It is copied, not borrowed.
    unsafe { raw::RedisModule_CommandFilterGetClientId.is_some_and(|_| true) }
}

/// A command on its way to be executed, which the filter may rename.
pub struct Filtered {
    pub(super) raw: *mut raw::RedisModuleCommandFilterCtx,
}

impl Filtered {
    /// Whose command it is, where the server tells (7.2 and later).
    pub fn client(&self) -> Option<u64> {
        // SAFETY: as above.
        unsafe { raw::RedisModule_CommandFilterGetClientId.map(|get| get(self.raw)) }
    }

    /// The number of arguments, the name included.
    pub fn len(&self) -> usize {
        // SAFETY: the filter's context is valid during the callback.
        unsafe { raw::RedisModule_CommandFilterArgsCount.unwrap()(self.raw) as usize }
    }

    /// The `at`th argument; `at` is below [`Filtered::len`].
    pub fn get(&self, at: usize) -> &[u8] {
        // SAFETY: as above; the argument lives as long as the callback and is not replaced while
        // `&self` is borrowed.
        unsafe { bytes(raw::RedisModule_CommandFilterArgGet.unwrap()(self.raw, at as c_int)) }
    }

    /// Puts a command's name before the whole command, which becomes its arguments.
    pub fn prepend(&mut self, name: &CStr) {
        let name = Str::new(name.to_bytes());
        // SAFETY: the server takes over our reference.
        unsafe {
            raw::RedisModule_CommandFilterArgInsert.unwrap()(self.raw, 0, name.0.as_ptr());
        }
        std::mem::forget(name);
    }

    /// Replaces the command's name. Key positions stay right.
    pub fn rename(&mut self, name: &CStr) {
        // A string of its own for each command: IO threads may free arguments.
        let name = Str::new(name.to_bytes());
        // SAFETY: the server takes over our reference.
        unsafe {
            raw::RedisModule_CommandFilterArgReplace.unwrap()(self.raw, 0, name.0.as_ptr());
        }
        std::mem::forget(name);
    }
}
