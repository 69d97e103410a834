//! A key that is looked at.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{null, null_mut, NonNull};

use redis_module::raw;

use super::Ctx;
use super::Str;
use super::Writable;

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Empty,
    /// A hash.
    Hash,
    /// Anything else.
    Other,
}

/// A key opened for reading.
pub struct Key<'a> {
    raw: Option<NonNull<raw::RedisModuleKey>>,
    _ctx: PhantomData<&'a Ctx>,
}

impl Ctx {
    /// Looks at a key.
    pub fn open(&self, key: &Str) -> Key<'_> {
        // SAFETY: `self.raw` and `key` are valid; a missing key is NULL when opened for reading.
        let raw = unsafe {
            let mode = raw::REDISMODULE_READ as c_int;
            raw::RedisModule_OpenKey.unwrap()(self.raw, key.0.as_ptr(), mode)
        };
        Key { raw: NonNull::new(raw.cast()), _ctx: PhantomData }
    }
}

impl Writable<'_> {
    /// Removes a key, and replicates that, in whatever slot it is: a call would be refused for a
    /// slot that another node has, or is about to have.
    pub fn remove(&self, key: &Str) {
        // SAFETY: `self.raw` and `key` are valid; the opened key is closed before its name is used
        // again, and the arguments are what the format says.
        unsafe {
            let mode = (raw::REDISMODULE_READ | raw::REDISMODULE_WRITE) as c_int;
            let opened = raw::RedisModule_OpenKey.unwrap()(self.raw, key.0.as_ptr(), mode);
            let opened = opened.cast::<raw::RedisModuleKey>();
            let kind = raw::RedisModule_KeyType.unwrap()(opened);
            raw::RedisModule_UnlinkKey.unwrap()(opened);
            raw::RedisModule_CloseKey.unwrap()(opened);
            if kind != raw::REDISMODULE_KEYTYPE_EMPTY as c_int {
                signal_modified(self, key);
                let (command, format) = (c"UNLINK".as_ptr(), c"s".as_ptr());
                raw::RedisModule_Replicate.unwrap()(self.raw, command, format, key.0.as_ptr());
            }
        }
    }
}

impl Key<'_> {
    /// What it holds.
    pub fn kind(&self) -> Kind {
        let Some(raw) = self.raw else {
            return Kind::Empty;
        };
        // SAFETY: the key is open.
        match unsafe { raw::RedisModule_KeyType.unwrap()(raw.as_ptr()) } as isize {
            raw::REDISMODULE_KEYTYPE_EMPTY => Kind::Empty,
            raw::REDISMODULE_KEYTYPE_HASH => Kind::Hash,
            _ => Kind::Other,
        }
    }

    /// It holds a stream.
    pub fn is_stream(&self) -> bool {
        // SAFETY: the key is open.
        self.raw.is_some_and(|raw| unsafe {
            let kind = raw::RedisModule_KeyType.unwrap()(raw.as_ptr());
            kind == raw::REDISMODULE_KEYTYPE_STREAM as c_int
        })
    }

    /// It lives for ever.
    pub fn is_persistent(&self) -> bool {
        // SAFETY: the key is open.
        self.raw.is_none_or(|raw| unsafe {
            let left = raw::RedisModule_GetExpire.unwrap()(raw.as_ptr());
            left == i64::from(raw::REDISMODULE_NO_EXPIRE)
        })
    }

    /// It is there, and will be for so many milliseconds.
    pub fn lives_for(&self, ms: i64) -> bool {
        // SAFETY: the key is open.
        self.raw.is_some_and(|raw| unsafe {
            let left = raw::RedisModule_GetExpire.unwrap()(raw.as_ptr());
            left == i64::from(raw::REDISMODULE_NO_EXPIRE) || left > ms
        })
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        // SAFETY: the key is open.
        self.raw.map_or(0, |raw| unsafe { raw::RedisModule_ValueLength.unwrap()(raw.as_ptr()) })
    }

    /// True when the hash has this field.
    pub fn has(&self, field: &Str) -> bool {
        let Some(raw) = self.raw else { return false };
        let mut exists: c_int = 0;
        // SAFETY: the key is open and holds a hash, or RM_HashGet changes nothing; with EXISTS it
        // writes one int for each field, and NULL ends the fields.
        unsafe {
            raw::RedisModule_HashGet.unwrap()(
                raw.as_ptr(),
                raw::REDISMODULE_HASH_EXISTS as c_int,
                field.0.as_ptr(),
                &mut exists as *mut c_int,
                null::<c_void>(),
            );
        }
        exists != 0
    }
}

impl Key<'_> {
    /// The value of a hash's field.
    pub fn get(&self, field: &Str) -> Option<Str> {
        let raw = self.raw?;
        let mut value: *mut raw::RedisModuleString = null_mut();
        // SAFETY: the key is open; where it holds a hash, one string for each field is written, which is ours to
        // free, or NULL; and NULL ends the fields.
        unsafe {
            raw::RedisModule_HashGet.unwrap()(
                raw.as_ptr(),
                raw::REDISMODULE_HASH_NONE as c_int,
                field.0.as_ptr(),
                &mut value as *mut *mut raw::RedisModuleString,
                null::<c_void>(),
            );
        }
        NonNull::new(value).map(Str)
    }
}

impl Drop for Key<'_> {
    fn drop(&mut self) {
        if let Some(raw) = self.raw {
            // SAFETY: the key is open, and closed once.
            unsafe { raw::RedisModule_CloseKey.unwrap()(raw.as_ptr()) };
        }
    }
}

/// Tells the clients that watch or track the key: by a module's option, the low-level calls don't.
pub(super) fn signal_modified(ctx: &Ctx, key: &Str) {
    // SAFETY: the context and the key are valid.
    unsafe { raw::RedisModule_SignalModifiedKey.unwrap()(ctx.raw, key.0.as_ptr()) };
}
