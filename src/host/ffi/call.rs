//! A command that the module runs, and what the server replies.

use std::ffi::{c_int, CStr};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{null, null_mut, NonNull};

use redis_module::raw;

use super::Args;
use super::Ctx;
use super::Str;
use super::Value;
use super::Writable;

impl Ctx {
    /// Runs a command that changes nothing: the server refuses one that would.
    pub fn read(&self, command: &CStr, args: &[&Str]) -> Reply {
        self.call_raw(command, c"EWv", &pointers(args))
    }

    pub(super) fn call_raw(
        &self,
        command: &CStr,
        format: &CStr,
        argv: &[*mut raw::RedisModuleString],
    ) -> Reply {
        // SAFETY: `argv` is a vector of valid strings, as long as 'v' is told. They outlive the
        // call, which takes references of its own.
        let raw = unsafe {
            let call = raw::RedisModule_Call.unwrap();
            call(self.raw, command.as_ptr(), format.as_ptr(), argv.as_ptr(), argv.len())
        };
        Reply { raw: NonNull::new(raw) }
    }
}

impl Writable<'_> {
    /// Runs a command, and replicates it.
    pub fn call(&self, command: &CStr, args: &[&Str]) -> Reply {
        self.call_raw(command, c"!Ev", &pointers(args))
    }

    /// Runs a command with the rights of the context's user, with the arguments of another one, and
    /// `more` behind them; and replicates it.
    pub fn call_as_user(&self, command: &CStr, args: Args, more: &[&Str]) -> Reply {
        let args = &args.raw[1..];
        if more.is_empty() {
            return self.call_raw(command, c"!CEv", args);
        }
        let more = more.iter().map(|arg| arg.0.as_ptr());
        let all: Vec<_> = args.iter().copied().chain(more).collect();
        self.call_raw(command, c"!CEv", &all)
    }

    /// Runs a command with the arguments of another one and the rights of the context's user,
    /// replicates it, and gives its client the reply, in the protocol that it speaks.
    pub fn reply_by_writing(&self, command: &CStr, args: Args) {
        self.call_raw(command, c"!CEM0v", &args.raw[1..]).give(self);
    }
}

/// True when the server refuses a call since the key's slot is another node's, or is moving.
pub fn is_elsewhere(error: &[u8]) -> bool {
    error.ends_with(b"Attempted to access a non local key in a cluster node")
}

/// What Redis says of keys that are neither here nor there; clients of a cluster ask again.
pub const TRY_AGAIN: &str = "TRYAGAIN the slot of this key is moving to another node";

/// An error of a call, in the words that clients and users know.
fn as_user_sees(error: &[u8]) -> Vec<u8> {
    if is_elsewhere(error) {
        return TRY_AGAIN.into();
    }
    // Redis 7.0's words for a call without rights.
    match error.strip_prefix(b"ERR acl verification failed, ") {
        Some(reason) => [b"NOPERM ", reason.trim_ascii_end()].concat(),
        None => error.to_vec(),
    }
}

fn pointers(args: &[&Str]) -> Vec<*mut raw::RedisModuleString> {
    args.iter().map(|arg| arg.0.as_ptr()).collect()
}

/// The reply of a command that we ran.
pub struct Reply {
    raw: Option<NonNull<raw::RedisModuleCallReply>>,
}

impl Reply {
    /// The integer, or 0 when it is something else.
    pub fn integer(&self) -> i64 {
        // SAFETY: the reply is valid until it is dropped.
        self.raw
            .map_or(0, |raw| unsafe { raw::RedisModule_CallReplyInteger.unwrap()(raw.as_ptr()) })
    }

    /// The error's text, when it is one.
    pub fn error(&self) -> Option<&[u8]> {
        const UNKNOWN: &[u8] = b"ERR writethrough: the server gave no reply";
        let Some(raw) = self.raw else {
            return Some(UNKNOWN);
        };
        // SAFETY: the reply is valid until it is dropped, and so is its text.
        unsafe {
            let kind = raw::RedisModule_CallReplyType.unwrap()(raw.as_ptr());
            (kind == raw::REDISMODULE_REPLY_ERROR as c_int).then(|| text(raw.as_ptr()))
        }
    }

    /// What a client reads of it, when it is an error.
    pub fn refusal(&self) -> Option<Value> {
        self.error().map(|error| Value::error(as_user_sees(error)))
    }

    /// Gives it to the context's client, in the protocol that it speaks.
    pub(super) fn give(&self, ctx: &Ctx) {
        if let Some(refusal) = self.refusal() {
            ctx.reply(&refusal);
        } else if let Some(raw) = self.raw {
            // SAFETY: the context is a client's, and the reply is valid until it is dropped.
            unsafe { raw::RedisModule_ReplyWithCallReply.unwrap()(ctx.raw, raw.as_ptr()) };
        }
    }

    /// The text of a string, or nothing.
    pub fn text(&self) -> &[u8] {
        // SAFETY: the reply is valid until it is dropped, and so is its text.
        self.raw.map_or(&[], |raw| unsafe { text(raw.as_ptr()) })
    }

    /// What a client would read: a number, or a text.
    pub fn value(&self) -> Value {
        // SAFETY: the reply is valid until it is dropped, and so is its text.
        let is_number = self.raw.is_some_and(|raw| unsafe {
            let kind = raw::RedisModule_CallReplyType.unwrap()(raw.as_ptr());
            kind == raw::REDISMODULE_REPLY_INTEGER as c_int
        });
        match is_number {
            true => Value::Integer(self.integer()),
            false => Value::Bytes(self.text().to_vec()),
        }
    }

    /// True for a reply with this text.
    pub fn is_text(&self, expected: &[u8]) -> bool {
        // SAFETY: the reply is valid until it is dropped, and so is its text.
        self.raw.is_some_and(|raw| unsafe { text(raw.as_ptr()) } == expected)
    }

    /// How many elements an array has; 0 when it is something else.
    pub fn len(&self) -> usize {
        let Some(raw) = self.raw else { return 0 };
        // SAFETY: the reply is valid until it is dropped; only an array's length is asked for.
        unsafe {
            match raw::RedisModule_CallReplyType.unwrap()(raw.as_ptr()) as isize {
                raw::REDISMODULE_REPLY_ARRAY => {
                    raw::RedisModule_CallReplyLength.unwrap()(raw.as_ptr())
                }
                _ => 0,
            }
        }
    }

    /// The texts of an array's elements.
    pub fn texts(&self) -> Vec<&[u8]> {
        let Some(raw) = self.raw else {
            return Vec::new();
        };
        // SAFETY: elements live as long as the reply; indexes are below its length.
        unsafe {
            let len = raw::RedisModule_CallReplyLength.unwrap()(raw.as_ptr());
            let element = raw::RedisModule_CallReplyArrayElement.unwrap();
            (0..len).map(|at| text(element(raw.as_ptr(), at))).collect()
        }
    }

    /// The `at`th element of an array.
    pub fn element(&self, at: usize) -> Element<'_> {
        // SAFETY: as in `texts`; an index out of range is NULL.
        let raw = self.raw.map_or(null_mut(), |raw| unsafe {
            raw::RedisModule_CallReplyArrayElement.unwrap()(raw.as_ptr(), at)
        });
        Element { reply: ManuallyDrop::new(Reply { raw: NonNull::new(raw) }), _of: PhantomData }
    }
}

/// A part of a reply, freed with the whole.
pub struct Element<'a> {
    reply: ManuallyDrop<Reply>,
    _of: PhantomData<&'a Reply>,
}

impl std::ops::Deref for Element<'_> {
    type Target = Reply;

    fn deref(&self) -> &Reply {
        &self.reply
    }
}

/// The text of a string, status or error reply.
///
/// # Safety
/// `reply` is valid for `'a`, or NULL.
unsafe fn text<'a>(reply: *mut raw::RedisModuleCallReply) -> &'a [u8] {
    let mut len = 0;
    let start = match reply.is_null() {
        true => null(),
        false => raw::RedisModule_CallReplyStringPtr.unwrap()(reply, &mut len),
    };
    match start.is_null() {
        true => &[],
        false => std::slice::from_raw_parts(start.cast(), len),
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(raw) = self.raw {
            // SAFETY: we own the reply.
            unsafe { raw::RedisModule_FreeCallReply.unwrap()(raw.as_ptr()) };
        }
    }
}
