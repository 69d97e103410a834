//! The server's strings, and a command's arguments.

use std::ptr::{from_ref, null_mut, NonNull};

use redis_module::raw;

/// A string of the server's that we own one reference to.
#[repr(transparent)]
#[derive(Debug)]
pub struct Str(pub(super) NonNull<raw::RedisModuleString>);

// SAFETY: a `Str` is made, used and dropped only by threads that hold the server's lock, as all of
// the host's code does; the lock orders them.
unsafe impl Send for Str {}
// SAFETY: as above.
unsafe impl Sync for Str {}

impl Str {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Str {
        // SAFETY: the buffer is valid for its length; a NULL context is allowed: no automatic
        // memory management.
        let raw = unsafe {
            raw::RedisModule_CreateString.unwrap()(null_mut(), bytes.as_ptr().cast(), bytes.len())
        };
        Str(NonNull::new(raw).expect("the server aborts when it is out of memory"))
    }

    /// The same string, by a reference more.
    pub fn share(&self) -> Str {
        // SAFETY: we hold a reference; with a NULL context the new one is ours to give back.
        unsafe { raw::RedisModule_RetainString.unwrap()(null_mut(), self.0.as_ptr()) };
        Str(self.0)
    }

    /// The server reads it as a whole number of 64 bits: HINCRBY takes it.
    pub fn is_integer(&self) -> bool {
        let mut number = 0;
        // SAFETY: we hold a reference; `number` outlives the call.
        unsafe {
            raw::RedisModule_StringToLongLong.unwrap()(self.0.as_ptr(), &mut number)
                == raw::REDISMODULE_OK as std::ffi::c_int
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: we hold a reference.
        unsafe { bytes(self.0.as_ptr()) }
    }
}

impl Drop for Str {
    fn drop(&mut self) {
        // SAFETY: we own one reference.
        unsafe { raw::RedisModule_FreeString.unwrap()(null_mut(), self.0.as_ptr()) };
    }
}

/// A string as bytes, as long as the server holds it.
///
/// # Safety
/// `string` is valid for `'a`.
pub(super) unsafe fn bytes<'a>(string: *const raw::RedisModuleString) -> &'a [u8] {
    let mut len = 0;
    let start = raw::RedisModule_StringPtrLen.unwrap()(string, &mut len);
    std::slice::from_raw_parts(start.cast(), len)
}

/// A command's arguments, its name first.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    pub(super) raw: &'a [*mut raw::RedisModuleString],
}

impl<'a> Args<'a> {
    /// A command of our own, its name first.
    pub fn of(words: &'a [Str]) -> Args<'a> {
        // SAFETY: `Str` is a transparent wrapper of a pointer, and each lives as long as the slice.
        let raw = unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len()) };
        Args { raw }
    }

    /// The number of arguments, the name included.
    pub fn len(self) -> usize {
        self.raw.len()
    }

    /// A command among the arguments, its name first.
    pub fn part(self, range: std::ops::Range<usize>) -> Args<'a> {
        Args { raw: &self.raw[range] }
    }

    /// The command that these arguments are, where the name was put before it.
    pub fn behind_name(self) -> Args<'a> {
        Args { raw: &self.raw[1..] }
    }

    /// The `at`th argument.
    pub fn get(self, at: usize) -> &'a [u8] {
        // SAFETY: the server keeps the arguments as long as the command runs.
        unsafe { bytes(self.raw[at]) }
    }

    /// The arguments from the `at`th on.
    pub fn from(self, at: usize) -> impl ExactSizeIterator<Item = &'a [u8]> {
        // SAFETY: as in `get`.
        self.raw[at..].iter().map(|&arg| unsafe { bytes(arg) })
    }

    /// The arguments from the `at`th on, by a reference more each.
    pub fn share(self, at: usize) -> impl ExactSizeIterator<Item = Str> + use<'a> {
        // SAFETY: as in `strings`.
        self.raw[at..].iter().map(|arg| unsafe { &*from_ref(arg).cast::<Str>() }.share())
    }

    /// References to the arguments from the `at`th on, for [`Ctx::call`].
    pub fn strings(self, at: usize) -> Vec<&'a Str> {
        // SAFETY: `Str` is a transparent wrapper of a non-null pointer; a reference to it drops
        // nothing.
        self.raw[at..].iter().map(|arg| unsafe { &*from_ref(arg).cast::<Str>() }).collect()
    }
}
