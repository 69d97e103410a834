//! The border to the server: the only `unsafe` of the crate.
//!
//! Everything here runs on the main thread, or on a thread that holds the server's lock, but for
//! [`wake`] and [`log`]. No panic crosses: each callback runs under [`guard`].
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::marker::PhantomData;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::{null, null_mut, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use redis_module::raw;

use super::value::Value;

/// Runs a callback; a panic is logged and becomes `None`.
fn guard<T>(what: &str, callback: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(callback)).ok();
    if result.is_none() {
        log(Level::Warning, &format!("{what} panicked; please report this with the lines above"));
    }
    result
}

/// Levels of the server's log.
#[derive(Debug, Clone, Copy)]
pub enum Level {
    /// What an operator wants to know.
    Notice,
    /// What an operator must know.
    Warning,
}

/// A context that lives as long as the module: for the log and for timers made in one-shots.
static DETACHED: AtomicPtr<raw::RedisModuleCtx> = AtomicPtr::new(null_mut());

/// The module that the detached context belongs to is about to go.
pub fn forget_context() {
    DETACHED.store(null_mut(), Ordering::Release);
}

/// Writes one line to the server's log. Any thread may call it.
pub fn log(level: Level, text: &str) {
    let level = match level {
        Level::Notice => c"notice",
        Level::Warning => c"warning",
    };
    // One line, whatever a database or a document puts into it.
    let text = text.replace(|c: char| c.is_control(), " ");
    let text = CString::new(text).unwrap_or_default();
    // SAFETY: the text is an argument of "%s", never the format. RM_Log takes a NULL context, and
    // only reads the module's name from one that is not.
    unsafe {
        let ctx = DETACHED.load(Ordering::Acquire);
        raw::RedisModule_Log.unwrap()(ctx, level.as_ptr(), c"%s".as_ptr(), text.as_ptr());
    }
}

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

/// Adds to what LATENCY shows of an event. Only on the main thread, and only where the server's
/// threshold is not 0: this call doesn't know that 0 means off.
pub fn latency(event: &CStr, took: Duration) {
    let took = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    // SAFETY: the server copies the name.
    unsafe { raw::RedisModule_LatencyAddSample.unwrap()(event.as_ptr(), took) };
}

/// The server's state, of this moment, without a client.
pub fn server_flags() -> Flags {
    // SAFETY: RM_GetContextFlags takes a NULL context.
    Flags(unsafe { raw::RedisModule_GetContextFlags.unwrap()(null_mut()) } as u32)
}

/// True while the server must not write to its replicas (CLIENT PAUSE, a failover, a shutdown).
pub fn avoid_replica_traffic() -> bool {
    // SAFETY: no arguments; a server that lacks it has no such state.
    unsafe { raw::RedisModule_AvoidReplicaTraffic.is_some_and(|f| f() != 0) }
}

/// What RM_GetContextFlags says.
#[derive(Debug, Clone, Copy)]
pub struct Flags(u32);

impl Flags {
    const UNBLOCKABLE: u32 = raw::REDISMODULE_CTX_FLAGS_MULTI
        | raw::REDISMODULE_CTX_FLAGS_LUA
        | raw::REDISMODULE_CTX_FLAGS_DENY_BLOCKING;
    const FOLLOWING: u32 = raw::REDISMODULE_CTX_FLAGS_SLAVE
        | raw::REDISMODULE_CTX_FLAGS_LOADING
        | raw::REDISMODULE_CTX_FLAGS_ASYNC_LOADING;

    /// The client can't be made to wait: MULTI/EXEC, a script, another module's call.
    pub fn cannot_block(self) -> bool {
        self.0 & Self::UNBLOCKABLE != 0
    }

    /// The data comes from elsewhere (a master, a file): it is not to be written through.
    pub fn is_following(self) -> bool {
        self.0 & Self::FOLLOWING != 0
    }

    /// Redis Cluster.
    pub fn is_cluster(self) -> bool {
        self.0 & raw::REDISMODULE_CTX_FLAGS_CLUSTER != 0
    }
}

/// A context of the server, valid during one callback.
pub struct Ctx {
    raw: *mut raw::RedisModuleCtx,
}

impl Ctx {
    /// A context from the crate's entry macro.
    pub fn from_entry(ctx: &redis_module::Context) -> Ctx {
        Ctx { raw: ctx.ctx }
    }

    /// Makes the context that outlives this callback. Once, at load.
    pub fn detach(&self) {
        // SAFETY: `self.raw` is valid; the new context is never freed.
        let detached = unsafe { raw::RedisModule_GetDetachedThreadSafeContext.unwrap()(self.raw) };
        DETACHED.store(detached, Ordering::Release);
    }

    /// The state of the server and of the context's client.
    pub fn flags(&self) -> Flags {
        // SAFETY: `self.raw` is valid.
        Flags(unsafe { raw::RedisModule_GetContextFlags.unwrap()(self.raw) } as u32)
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

    /// Runs a command.
    pub fn call(&self, command: &CStr, mode: Mode, args: &[&Str]) -> Reply {
        let argv: Vec<_> = args.iter().map(|arg| arg.0.as_ptr()).collect();
        self.call_raw(command, mode, &argv)
    }

    /// Runs a command with the arguments of another one, and `more` behind them.
    pub fn pass_on(&self, command: &CStr, mode: Mode, args: Args, more: &[&Str]) -> Reply {
        let args = &args.raw[1..];
        if more.is_empty() {
            return self.call_raw(command, mode, args);
        }
        let more = more.iter().map(|arg| arg.0.as_ptr());
        let argv: Vec<_> = args.iter().copied().chain(more).collect();
        self.call_raw(command, mode, &argv)
    }

    fn call_raw(&self, command: &CStr, mode: Mode, argv: &[*mut raw::RedisModuleString]) -> Reply {
        let format = match mode {
            Mode::Propagate => c"!Ev",
            Mode::AsUser => c"!CEv",
            Mode::Read => c"Ev",
        };
        // SAFETY: `argv` is a vector of valid strings, as long as 'v' is told. They outlive the
        // call, which takes references of its own.
        let raw = unsafe {
            let call = raw::RedisModule_Call.unwrap();
            call(self.raw, command.as_ptr(), format.as_ptr(), argv.as_ptr(), argv.len())
        };
        Reply { raw: NonNull::new(raw) }
    }

    /// True when the context's user may run the command with these arguments.
    pub fn may_run(&self, command: &CStr, args: Args) -> bool {
        let name = Str::new(command.to_bytes());
        let mut argv = vec![name.0.as_ptr()];
        argv.extend(&args.raw[1..]);
        // SAFETY: `self.raw` is valid; the user's name and the user are ours to free; the arguments
        // are valid during the command.
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

    /// Looks at a key.
    pub fn open(&self, key: &Str) -> Key<'_> {
        // SAFETY: `self.raw` and `key` are valid; a missing key is NULL when opened for reading.
        let raw = unsafe {
            let mode = raw::REDISMODULE_READ as c_int;
            raw::RedisModule_OpenKey.unwrap()(self.raw, key.0.as_ptr(), mode)
        };
        Key { raw: NonNull::new(raw.cast()), _ctx: PhantomData }
    }

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
                let (command, format) = (c"UNLINK".as_ptr(), c"s".as_ptr());
                raw::RedisModule_Replicate.unwrap()(self.raw, command, format, key.0.as_ptr());
            }
        }
    }

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
        if let Some(start) = unsafe { raw::RedisModule_BlockedClientMeasureTimeStart } {
            // SAFETY: the handle is valid until it is unblocked.
            unsafe { start(raw) };
        }
        Some(blocked)
    }

    fn reply(&self, value: &Value) {
        // SAFETY (of all calls): `self.raw` is valid, and every pointer is to a live buffer of the
        // given length or to a C string. The server copies what it is given.
        unsafe {
            match value {
                Value::Integer(n) => raw::RedisModule_ReplyWithLongLong.unwrap()(self.raw, *n),
                Value::Bytes(bytes) => raw::RedisModule_ReplyWithStringBuffer.unwrap()(
                    self.raw,
                    bytes.as_ptr().cast(),
                    bytes.len(),
                ),
                Value::Status(text) => {
                    raw::RedisModule_ReplyWithSimpleString.unwrap()(self.raw, text.as_ptr())
                }
                Value::Error(text) => {
                    raw::RedisModule_ReplyWithError.unwrap()(self.raw, text.as_ptr())
                }
                Value::List(values) => {
                    raw::RedisModule_ReplyWithArray.unwrap()(self.raw, values.len() as _);
                    values.iter().for_each(|value| self.reply(value));
                    0
                }
                Value::Map(pairs) => {
                    raw::RedisModule_ReplyWithMap.unwrap()(self.raw, pairs.len() as _);
                    for (name, value) in pairs {
                        self.reply(&Value::Bytes(name.as_bytes().to_vec()));
                        self.reply(value);
                    }
                    0
                }
            }
        };
    }
}

/// How a command is run.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Replicated.
    Propagate,
    /// Replicated, with the rights of the context's user.
    AsUser,
    /// Changes nothing.
    Read,
}

/// A string of the server's that we own one reference to.
#[repr(transparent)]
#[derive(Debug)]
pub struct Str(NonNull<raw::RedisModuleString>);

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
unsafe fn bytes<'a>(string: *const raw::RedisModuleString) -> &'a [u8] {
    let mut len = 0;
    let start = raw::RedisModule_StringPtrLen.unwrap()(string, &mut len);
    std::slice::from_raw_parts(start.cast(), len)
}

/// A command's arguments, its name first.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    raw: &'a [*mut raw::RedisModuleString],
}

impl<'a> Args<'a> {
    /// The number of arguments, the name included.
    pub fn len(self) -> usize {
        self.raw.len()
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

    /// References to the arguments from the `at`th on, for [`Ctx::call`].
    pub fn strings(self, at: usize) -> Vec<&'a Str> {
        // SAFETY: `Str` is a transparent wrapper of a non-null pointer; a reference to it drops
        // nothing.
        self.raw[at..]
            .iter()
            .map(|arg| unsafe { &*std::ptr::from_ref(arg).cast::<Str>() })
            .collect()
    }
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

    /// True for a reply with this text.
    pub fn is_text(&self, expected: &[u8]) -> bool {
        // SAFETY: the reply is valid until it is dropped, and so is its text.
        self.raw.is_some_and(|raw| unsafe { text(raw.as_ptr()) } == expected)
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
        Element {
            reply: std::mem::ManuallyDrop::new(Reply { raw: NonNull::new(raw) }),
            _of: PhantomData,
        }
    }
}

/// A part of a reply, freed with the whole.
pub struct Element<'a> {
    reply: std::mem::ManuallyDrop<Reply>,
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

    /// It lives for ever.
    pub fn is_persistent(&self) -> bool {
        // SAFETY: the key is open.
        self.raw.is_none_or(|raw| unsafe {
            let left = raw::RedisModule_GetExpire.unwrap()(raw.as_ptr());
            left == i64::from(raw::REDISMODULE_NO_EXPIRE)
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

impl Drop for Key<'_> {
    fn drop(&mut self) {
        if let Some(raw) = self.raw {
            // SAFETY: the key is open, and closed once.
            unsafe { raw::RedisModule_CloseKey.unwrap()(raw.as_ptr()) };
        }
    }
}

/// A client that waits. Dropped unanswered, it answers with an error.
#[derive(Debug)]
pub struct Blocked {
    raw: NonNull<raw::RedisModuleBlockedClient>,
}

// SAFETY: the handle is only used to unblock the client, once, which any thread may do.
unsafe impl Send for Blocked {}

impl Blocked {
    /// Answers the client. A client that has gone is fine: the server drops the answer.
    pub fn answer(self, value: Value) {
        let data = Box::into_raw(Box::new(value)).cast();
        let raw = self.raw.as_ptr();
        std::mem::forget(self);
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

/// A command of the module's.
pub trait Command {
    /// Its name.
    const NAME: &'static CStr;
    /// What it does, in one line.
    const SUMMARY: &'static CStr;
    /// The server's flags, as `write deny-oom fast`.
    const FLAGS: &'static CStr;
    /// ACL categories, where the server has them (7.2 and later).
    const CATEGORIES: &'static CStr;
    /// As in COMMAND INFO: negative means "at least".
    const ARITY: c_int;
    /// Each key argument's position and flags.
    const KEYS: &'static [KeySpec];

    /// Runs it. `None`: the client is blocked and is answered later.
    fn run(ctx: &Ctx, args: Args) -> Option<Value>;
}

/// Where keys are among a command's arguments, and what happens to them.
pub struct KeySpec {
    /// The first key's position.
    pub first: c_int,
    /// The last key's position, counted from the first; negative from the end.
    pub last: c_int,
    /// REDISMODULE_CMD_KEY_*.
    pub flags: u32,
}

/// The key is read and written.
pub const KEY_UPDATE: u32 = raw::REDISMODULE_CMD_KEY_RW | raw::REDISMODULE_CMD_KEY_UPDATE;
/// The key is overwritten.
pub const KEY_OVERWRITE: u32 = raw::REDISMODULE_CMD_KEY_OW | raw::REDISMODULE_CMD_KEY_UPDATE;
/// The key is read and removed.
pub const KEY_MOVE: u32 =
    raw::REDISMODULE_CMD_KEY_RW | raw::REDISMODULE_CMD_KEY_ACCESS | raw::REDISMODULE_CMD_KEY_DELETE;
/// The key is read.
pub const KEY_READ: u32 = raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS;

impl Ctx {
    /// Registers a command. False when the server will not have it.
    pub fn register<C: Command>(&self) -> bool {
        extern "C" fn run<C: Command>(
            ctx: *mut raw::RedisModuleCtx,
            argv: *mut *mut raw::RedisModuleString,
            argc: c_int,
        ) -> c_int {
            // SAFETY: the server passes `argc` arguments and keeps them during the call.
            let raw = unsafe { std::slice::from_raw_parts(argv, argc as usize) };
            let ctx = Ctx { raw: ctx };
            let value = guard("a command", || C::run(&ctx, Args { raw })).unwrap_or_else(|| {
                Some(Value::error("ERR writethrough: internal error, see the server's log"))
            });
            if let Some(value) = value {
                guard("a reply", || ctx.reply(&value));
            }
            raw::REDISMODULE_OK as c_int
        }
        // SAFETY: `self.raw` is the context of OnLoad; all strings are static; the server copies
        // the command's description.
        unsafe {
            let created = raw::RedisModule_CreateCommand.unwrap()(
                self.raw,
                C::NAME.as_ptr(),
                Some(run::<C>),
                C::FLAGS.as_ptr(),
                0,
                0,
                0,
            );
            let command = raw::RedisModule_GetCommand.unwrap()(self.raw, C::NAME.as_ptr());
            if created != raw::REDISMODULE_OK as c_int || command.is_null() {
                return false;
            }
            if let Some(set) = raw::RedisModule_SetCommandACLCategories {
                set(command, C::CATEGORIES.as_ptr());
            }
            set_info::<C>(command)
        }
    }
}

/// Tells the server arity and keys, which its own 1,1,1 would overstate.
///
/// # Safety
/// `command` is valid.
unsafe fn set_info<C: Command>(command: *mut raw::RedisModuleCommand) -> bool {
    let mut specs: Vec<raw::RedisModuleCommandKeySpec> = Vec::new();
    for key in C::KEYS {
        let mut spec: raw::RedisModuleCommandKeySpec = std::mem::zeroed();
        spec.flags = key.flags.into();
        spec.begin_search_type = raw::RedisModuleKeySpecBeginSearchType_REDISMODULE_KSPEC_BS_INDEX;
        spec.bs.index.pos = key.first;
        spec.find_keys_type = raw::RedisModuleKeySpecFindKeysType_REDISMODULE_KSPEC_FK_RANGE;
        spec.fk.range.lastkey = key.last;
        spec.fk.range.keystep = 1;
        specs.push(spec);
    }
    // A zeroed entry ends the list.
    specs.push(std::mem::zeroed());
    let version = raw::RedisModuleCommandInfoVersion {
        version: 1,
        sizeof_historyentry: size_of::<raw::RedisModuleCommandHistoryEntry>(),
        sizeof_keyspec: size_of::<raw::RedisModuleCommandKeySpec>(),
        sizeof_arg: size_of::<raw::RedisModuleCommandArg>(),
    };
    let mut info: raw::RedisModuleCommandInfo = std::mem::zeroed();
    info.version = &version;
    info.summary = C::SUMMARY.as_ptr();
    info.since = c"0.1.0".as_ptr();
    info.arity = C::ARITY;
    info.key_specs = specs.as_mut_ptr();
    raw::RedisModule_SetCommandInfo.unwrap()(command, &info) == raw::REDISMODULE_OK as c_int
}

/// A command on its way to be executed, which the filter may rename.
pub struct Filtered {
    raw: *mut raw::RedisModuleCommandFilterCtx,
}

impl Filtered {
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

/// What the server tells the module of. One implementation: the host.
pub trait Host {
    /// Every command, before it is looked up.
    fn filter(command: &mut Filtered);
    /// A key changed.
    fn keyspace(ctx: &Ctx, event: &[u8], key: &[u8]);
    /// Something happened to the server.
    fn event(ctx: &Ctx, event: Event);
    /// INFO wants the module's sections.
    fn info(out: &mut Info);
}

/// Something that happened to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A database was emptied; `None`: all of them.
    Flushed(Option<i32>),
    /// Two databases changed places.
    Swapped(i32, i32),
    /// A data set was loaded.
    Loaded,
    /// This server is a master now.
    Promoted,
    /// This server follows another one now.
    Demoted,
    /// The server ends.
    Shutdown,
    /// All commands that have come are executed; the server is about to wait for more.
    Idle,
}

impl Ctx {
    /// Registers the callbacks. False when the server will not have one.
    pub fn subscribe<H: Host>(&self) -> bool {
        extern "C" fn filter<H: Host>(raw: *mut raw::RedisModuleCommandFilterCtx) {
            guard("the command filter", || H::filter(&mut Filtered { raw }));
        }
        extern "C" fn keyspace<H: Host>(
            ctx: *mut raw::RedisModuleCtx,
            _: c_int,
            event: *const c_char,
            key: *mut raw::RedisModuleString,
        ) -> c_int {
            // SAFETY: the server passes a C string and a string that live during the callback.
            let (event, key) = unsafe { (CStr::from_ptr(event).to_bytes(), bytes(key)) };
            guard("the keyspace handler", || H::keyspace(&Ctx { raw: ctx }, event, key));
            raw::REDISMODULE_OK as c_int
        }
        extern "C" fn event<H: Host>(
            ctx: *mut raw::RedisModuleCtx,
            id: raw::RedisModuleEvent,
            sub: u64,
            data: *mut c_void,
        ) {
            // SAFETY: the server documents which structure `data` is for each event.
            let event = unsafe { decode(id.id, sub, data) };
            if let Some(event) = event {
                guard("an event handler", || H::event(&Ctx { raw: ctx }, event));
            }
        }
        extern "C" fn info<H: Host>(raw: *mut raw::RedisModuleInfoCtx, _: c_int) {
            guard("INFO", || H::info(&mut Info { raw }));
        }
        const EVENTS: [u64; 6] = [
            raw::REDISMODULE_EVENT_EVENTLOOP,
            raw::REDISMODULE_EVENT_FLUSHDB,
            raw::REDISMODULE_EVENT_SWAPDB,
            raw::REDISMODULE_EVENT_LOADING,
            raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
            raw::REDISMODULE_EVENT_SHUTDOWN,
        ];
        // SAFETY: `self.raw` is the context of OnLoad; the callbacks are functions of this crate,
        // which is never unloaded once OnLoad has succeeded.
        unsafe {
            let types = raw::REDISMODULE_NOTIFY_HASH | raw::REDISMODULE_NOTIFY_GENERIC;
            let no_self = raw::REDISMODULE_CMDFILTER_NOSELF as c_int;
            let keyspace = raw::RedisModule_SubscribeToKeyspaceEvents.unwrap()(
                self.raw,
                types,
                Some(keyspace::<H>),
            );
            let events = EVENTS.iter().all(|&id| {
                let id = raw::RedisModuleEvent { id, dataver: 1 };
                raw::RedisModule_SubscribeToServerEvent.unwrap()(self.raw, id, Some(event::<H>))
                    == raw::REDISMODULE_OK as c_int
            });
            let info = raw::RedisModule_RegisterInfoFunc.unwrap()(self.raw, Some(info::<H>));
            let filter = raw::RedisModule_RegisterCommandFilter.unwrap()(
                self.raw,
                Some(filter::<H>),
                no_self,
            );
            events && keyspace == 0 && info == 0 && !filter.is_null()
        }
    }
}

/// # Safety
/// `data` is what the server documents for the event.
unsafe fn decode(id: u64, sub: u64, data: *mut c_void) -> Option<Event> {
    match (id, sub) {
        (raw::REDISMODULE_EVENT_FLUSHDB, raw::REDISMODULE_SUBEVENT_FLUSHDB_START) => {
            let info = data.cast::<raw::RedisModuleFlushInfo>().as_ref()?;
            Some(Event::Flushed((info.dbnum >= 0).then_some(info.dbnum)))
        }
        (raw::REDISMODULE_EVENT_SWAPDB, _) => {
            let info = data.cast::<raw::RedisModuleSwapDbInfo>().as_ref()?;
            Some(Event::Swapped(info.dbnum_first, info.dbnum_second))
        }
        (raw::REDISMODULE_EVENT_LOADING, raw::REDISMODULE_SUBEVENT_LOADING_ENDED) => {
            Some(Event::Loaded)
        }
        (
            raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
            raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_MASTER,
        ) => Some(Event::Promoted),
        (
            raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
            raw::REDISMODULE_EVENT_REPLROLECHANGED_NOW_REPLICA,
        ) => Some(Event::Demoted),
        (raw::REDISMODULE_EVENT_SHUTDOWN, _) => Some(Event::Shutdown),
        (raw::REDISMODULE_EVENT_EVENTLOOP, raw::REDISMODULE_SUBEVENT_EVENTLOOP_BEFORE_SLEEP) => {
            Some(Event::Idle)
        }
        _ => None,
    }
}

/// The module's options in the server's configuration, by their names without `writethrough.`. One
/// implementation: the host.
pub trait Options {
    /// An option's value.
    fn number(name: &str) -> i64;
    /// Sets it; an error is what CONFIG SET answers.
    fn set_number(name: &str, value: i64) -> Result<(), String>;
    /// An option's value. It stays where it is as long as nobody sets it.
    fn text(name: &str) -> Option<std::sync::Arc<Str>>;
    /// Sets it.
    fn set_text(name: &str, value: &[u8]) -> Result<(), String>;
}

/// An option's name as the server passes it.
///
/// # Safety
/// `name` is a C string.
unsafe fn option_name<'a>(name: *const c_char) -> &'a str {
    let name = CStr::from_ptr(name).to_str().unwrap_or_default();
    name.strip_prefix("writethrough.").unwrap_or(name)
}

/// Answers a set function.
///
/// # Safety
/// `error` is where the server looks for one.
unsafe fn set(
    name: *const c_char,
    error: *mut *mut raw::RedisModuleString,
    set: impl FnOnce(&str) -> Result<(), String>,
) -> c_int {
    let name = option_name(name);
    let result = guard("an option", || set(name));
    match result.unwrap_or_else(|| Err("internal error, see the server's log".into())) {
        Ok(()) => raw::REDISMODULE_OK as c_int,
        Err(why) => {
            let why = Str::new(why.as_bytes());
            // The server takes over our reference.
            *error = why.0.as_ptr();
            std::mem::forget(why);
            raw::REDISMODULE_ERR as c_int
        }
    }
}

impl Ctx {
    /// Registers an option that is a number. False when the server will not have it.
    pub fn register_number<O: Options>(
        &self,
        name: &str,
        default: i64,
        (least, most): (i64, i64),
        can_change: bool,
    ) -> bool {
        unsafe extern "C" fn get_number<O: Options>(name: *const c_char, _: *mut c_void) -> i64 {
            let name = option_name(name);
            guard("an option", || O::number(name)).unwrap_or_default()
        }
        unsafe extern "C" fn set_number<O: Options>(
            name: *const c_char,
            value: i64,
            _: *mut c_void,
            error: *mut *mut raw::RedisModuleString,
        ) -> c_int {
            set(name, error, |name| O::set_number(name, value))
        }
        let name = CString::new(name).unwrap_or_default();
        let flags = if can_change { 0 } else { raw::REDISMODULE_CONFIG_IMMUTABLE };
        // SAFETY: `self.raw` is the context of OnLoad; the server copies the name.
        unsafe {
            raw::RedisModule_RegisterNumericConfig.is_some_and(|register| {
                register(
                    self.raw,
                    name.as_ptr(),
                    default,
                    flags,
                    least,
                    most,
                    Some(get_number::<O>),
                    Some(set_number::<O>),
                    None,
                    null_mut(),
                ) == raw::REDISMODULE_OK as c_int
            })
        }
    }

    /// Registers an option that is a text and can't change while the server runs.
    pub fn register_text<O: Options>(&self, name: &str, default: &str) -> bool {
        unsafe extern "C" fn get_text<O: Options>(
            name: *const c_char,
            _: *mut c_void,
        ) -> *mut raw::RedisModuleString {
            // The server copies it at once, and the host keeps it until it is set.
            let name = option_name(name);
            let text = guard("an option", || O::text(name)).flatten();
            text.map_or(null_mut(), |text| text.0.as_ptr())
        }
        unsafe extern "C" fn set_text<O: Options>(
            name: *const c_char,
            value: *mut raw::RedisModuleString,
            _: *mut c_void,
            error: *mut *mut raw::RedisModuleString,
        ) -> c_int {
            let value = bytes(value);
            set(name, error, |name| O::set_text(name, value))
        }
        let name = CString::new(name).unwrap_or_default();
        let default = CString::new(default).unwrap_or_default();
        // SAFETY: as above; the server copies name and default.
        unsafe {
            raw::RedisModule_RegisterStringConfig.is_some_and(|register| {
                register(
                    self.raw,
                    name.as_ptr(),
                    default.as_ptr(),
                    raw::REDISMODULE_CONFIG_IMMUTABLE,
                    Some(get_text::<O>),
                    Some(set_text::<O>),
                    None,
                    null_mut(),
                ) == raw::REDISMODULE_OK as c_int
            })
        }
    }

    /// Sets every registered option: to what redis.conf or MODULE LOADEX says, or to its default.
    /// False when one can't be set; the server has logged which.
    pub fn load_options(&self) -> bool {
        // SAFETY: `self.raw` is the context of OnLoad.
        unsafe {
            raw::RedisModule_LoadConfigs
                .is_some_and(|load| load(self.raw) == raw::REDISMODULE_OK as c_int)
        }
    }
}

/// Where INFO's sections and fields go.
pub struct Info {
    raw: *mut raw::RedisModuleInfoCtx,
}

impl Info {
    /// Begins a section. False when nobody asked for it.
    pub fn section(&mut self, name: &str) -> bool {
        let name = CString::new(name).unwrap_or_default();
        // SAFETY: the context is valid during the callback; the server copies all texts.
        unsafe { raw::RedisModule_InfoAddSection.unwrap()(self.raw, name.as_ptr()) == 0 }
    }

    /// A number.
    pub fn number(&mut self, field: &str, value: u64) {
        let field = CString::new(field).unwrap_or_default();
        // SAFETY: as above.
        unsafe {
            raw::RedisModule_InfoAddFieldULongLong.unwrap()(self.raw, field.as_ptr(), value as _);
        }
    }

    /// A text in one line.
    pub fn text(&mut self, field: &str, value: &str) {
        let field = CString::new(field).unwrap_or_default();
        let value = CString::new(value.replace(['\0', '\r', '\n'], " ")).unwrap_or_default();
        // SAFETY: as above.
        unsafe {
            raw::RedisModule_InfoAddFieldCString.unwrap()(self.raw, field.as_ptr(), value.as_ptr());
        }
    }
}
