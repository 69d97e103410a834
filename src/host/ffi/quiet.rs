//! What reads do to the data set without anybody noticing: a look at a key from the filter, and a hash
//! that is filled from its row.
//!
//! Facts, from docs/development.md: a look-up in the filter ends a server where the key has just expired
//! and somebody is told of that, an append-only file or a replica, unless it is by these flags (7.2 and
//! later), or unless somebody subscribes to misses (7.0). A fill by HSET tells a client that tracks the
//! key before it has read the reply; one by the low-level calls doesn't.

use std::ffi::{c_int, c_void, CStr, CString};
use std::ptr::null;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use redis_module::raw;

use super::context::DETACHED;
use super::key::signal_modified;
use super::string::bytes;
use super::{Args, Ctx, Filtered, Kind, OnLoad, Str, Writable};
use crate::model::slot::name_beside;

/// What the names of our commands begin with.
const PREFIX: &str = "wt.";

/// The look has no effect: it deletes nothing that has expired, and counts as no hit or miss.
const LOOK: u32 = raw::REDISMODULE_READ
    | raw::REDISMODULE_OPEN_KEY_NOTOUCH
    | raw::REDISMODULE_OPEN_KEY_NONOTIFY
    | raw::REDISMODULE_OPEN_KEY_NOSTATS
    | raw::REDISMODULE_OPEN_KEY_NOEXPIRE
    | raw::REDISMODULE_OPEN_KEY_NOEFFECTS;

/// The server knows the flags of [`LOOK`].
fn knows_flags() -> bool {
    // SAFETY: it takes nothing; a server that lacks it is 7.0.
    let known = unsafe { raw::RedisModule_GetOpenKeyModesAll.map_or(0, |all| all()) };
    known as u32 & LOOK == LOOK
}

/// A subscription to misses has been made, where one is needed.
static IS_READY: AtomicBool = AtomicBool::new(false);

impl OnLoad {
    /// The low-level calls tell nobody of a change by themselves. The looks of the filter are in this
    /// database.
    pub fn be_quiet(&self, db: i32) {
        // SAFETY: `self.raw` is the context of OnLoad; the detached one lives as long as the module.
        unsafe {
            let option = raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED as c_int;
            raw::RedisModule_SetModuleOptions.unwrap()(self.raw, option);
            raw::RedisModule_SelectDb.unwrap()(DETACHED.load(Ordering::Acquire), db);
        }
    }
}

/// Makes looks possible. On 7.0 each miss of any key costs a quarter more from then on.
pub fn look_from_now_on() {
    extern "C" fn missed(
        _: *mut raw::RedisModuleCtx,
        _: c_int,
        _: *const std::ffi::c_char,
        _: *mut raw::RedisModuleString,
    ) -> c_int {
        raw::REDISMODULE_OK as c_int
    }
    if knows_flags() || IS_READY.swap(true, Ordering::AcqRel) {
        return;
    }
    // SAFETY: the detached context lives as long as the module.
    unsafe {
        let ctx = DETACHED.load(Ordering::Acquire);
        let event = raw::REDISMODULE_NOTIFY_KEY_MISS;
        raw::RedisModule_SubscribeToKeyspaceEvents.unwrap()(ctx, event, Some(missed));
    }
}

/// A key that expires within this time, in milliseconds, may have done so when the command runs: the
/// server's clock goes on between a look and the command.
const SOON_MS: i64 = 200;

impl Filtered {
    /// True when there is no key of the `at`th argument's name, in the database of the looks, or may be
    /// none when the command runs.
    pub fn is_missing(&self, at: usize) -> bool {
        let ctx = DETACHED.load(Ordering::Acquire);
        // SAFETY: the argument and the detached context are valid; what is opened is closed.
        unsafe {
            let name = raw::RedisModule_CommandFilterArgGet.unwrap()(self.raw, at as c_int);
            let key = raw::RedisModule_OpenKey.unwrap()(ctx, name, LOOK as c_int);
            if key.is_null() {
                return true;
            }
            let left = raw::RedisModule_GetExpire.unwrap()(key.cast());
            raw::RedisModule_CloseKey.unwrap()(key.cast());
            left != i64::from(raw::REDISMODULE_NO_EXPIRE) && left <= SOON_MS
        }
    }
}

/// True when the server evicts keys, if its policy lets it, between the filter and the command.
pub fn may_evict() -> bool {
    // A single-precision number: the limit itself may be a little less than 1. It is 0 without a limit.
    // SAFETY: it takes nothing.
    unsafe { raw::RedisModule_GetUsedMemoryRatio.unwrap()() > 0.999_999 }
}

/// Fields and values.
pub type Pairs = [(Str, Str)];

/// A key, and the hash that it would be. Many readers share one.
pub type Row = Arc<(Str, Vec<(Str, Str)>)>;

/// A plain command is being run for one of ours.
static RUNS_PLAIN: AtomicBool = AtomicBool::new(false);

/// True for the calls that [`Ctx::reply_by_plain`] makes: they are not rewritten again.
pub fn runs_plain() -> bool {
    RUNS_PLAIN.load(Ordering::Relaxed)
}

impl Writable<'_> {
    /// Makes a missing key this hash, and replicates that. False when there is a key already.
    /// No event is fired, and no client is told of a change: reading the row changed nothing.
    pub fn fill(&self, key: &Str, pairs: &Pairs, ttl: Option<Duration>) -> bool {
        // SAFETY: the context and all strings are valid; the key is open until it is closed, once; the
        // arguments of Replicate are what its format says, and outlive the call.
        unsafe {
            let opened = open_to_write(self, key);
            let kind = raw::RedisModule_KeyType.unwrap()(opened);
            if kind != raw::REDISMODULE_KEYTYPE_EMPTY as c_int {
                raw::RedisModule_CloseKey.unwrap()(opened);
                return false;
            }
            set_all(opened, pairs);
            let args = std::iter::once(key).chain(pairs.iter().flat_map(|(f, v)| [f, v]));
            let args: Vec<_> = args.map(|arg| arg.0.as_ptr()).collect();
            let replicate = raw::RedisModule_Replicate.unwrap();
            replicate(self.raw, c"HSET".as_ptr(), c"v".as_ptr(), args.as_ptr(), args.len());
            if let Some(ttl) = ttl {
                let left = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
                raw::RedisModule_SetExpire.unwrap()(opened, left);
                let at = raw::RedisModule_GetAbsExpire.unwrap()(opened);
                let (name, format) = (c"PEXPIREAT".as_ptr(), c"sl".as_ptr());
                replicate(self.raw, name, format, key.0.as_ptr(), at);
            }
            raw::RedisModule_CloseKey.unwrap()(opened);
        }
        true
    }
}

impl Ctx {
    /// Gives the client the reply of its plain command, as if these rows were cached. A row that isn't
    /// is a hash of another name meanwhile: its key may have expired without being deleted yet, as
    /// during a pause, and then nothing can be put there. So is one that may expire before the command
    /// looks at it.
    pub fn reply_as_if(&self, args: Args, rows: &[Row]) {
        let (mut argv, mut made) = (args.raw.to_vec(), Vec::new());
        let may_be_missing = |row: &&Row| {
            let key = self.open(&row.0);
            key.kind() == Kind::Empty || key.kind() == Kind::Hash && !key.lives_for(SOON_MS)
        };
        for row in rows.iter().filter(may_be_missing) {
            let name = Str::new(&name_beside(row.0.as_bytes(), STAND_IN));
            // SAFETY: as in `fill`; nothing is replicated, and the hash is gone again below. A hash
            // without a field is no key.
            unsafe {
                let opened = open_to_write(self, &name);
                set_all(opened, &row.1);
                raw::RedisModule_CloseKey.unwrap()(opened);
            }
            let is_it = |arg: &&mut *mut raw::RedisModuleString| {
                // SAFETY: the arguments are valid strings.
                unsafe { bytes(**arg) == row.0.as_bytes() }
            };
            // Of EXISTS all arguments are keys; of the others the first, and fields behind it.
            let keys = if args.get(0).eq_ignore_ascii_case(b"wt.exists") { argv.len() } else { 2 };
            argv[1..keys].iter_mut().filter(is_it).for_each(|arg| *arg = name.0.as_ptr());
            made.push(name);
        }
        // Its rights were looked at before the row was read.
        let format = if made.is_empty() { c"0ECv" } else { c"0Ev" };
        self.reply_by(&Args { raw: &argv }, format);
        for name in made {
            // SAFETY: as above.
            unsafe {
                let opened = open_to_write(self, &name);
                raw::RedisModule_DeleteKey.unwrap()(opened);
                raw::RedisModule_CloseKey.unwrap()(opened);
            }
        }
    }

    /// Tells the clients that watch or track the key that it has changed.
    pub fn tell_of_change(&self, key: &Str) {
        signal_modified(self, key);
    }

    /// The server has no memory left for more data.
    pub fn is_out_of_memory(&self) -> bool {
        self.flags().0 & raw::REDISMODULE_CTX_FLAGS_OOM != 0
    }

    /// Runs the plain command of one of ours, `HGET` of `wt.hget`, with the rights of the context's
    /// user, and gives its client the reply, in the protocol that it speaks.
    pub fn reply_by_plain(&self, args: Args) {
        self.reply_by(&args, c"0ECv");
    }

    fn reply_by(&self, args: &Args, format: &CStr) {
        let name = args.get(0);
        let plain = name.get(PREFIX.len()..).unwrap_or(name).to_ascii_uppercase();
        let command = CString::new(plain).unwrap_or_default();
        RUNS_PLAIN.store(true, Ordering::Relaxed);
        let reply = self.call_raw(&command, format, &args.raw[1..]);
        RUNS_PLAIN.store(false, Ordering::Relaxed);
        reply.give(self);
    }
}

/// Behind the name of a key whose row stands in for it.
const STAND_IN: &[u8] = b":writethrough:row that is not cached";

/// # Safety
/// The context and the key are valid; what is returned is closed.
unsafe fn open_to_write(ctx: &Ctx, key: &Str) -> *mut raw::RedisModuleKey {
    let mode = (raw::REDISMODULE_READ | raw::REDISMODULE_WRITE) as c_int;
    raw::RedisModule_OpenKey.unwrap()(ctx.raw, key.0.as_ptr(), mode).cast()
}

/// # Safety
/// The key is open, to be written, and is empty or a hash.
unsafe fn set_all(key: *mut raw::RedisModuleKey, pairs: &Pairs) {
    let set = raw::RedisModule_HashSet.unwrap();
    let flags = raw::REDISMODULE_HASH_NONE as c_int;
    for (field, value) in pairs {
        set(key, flags, field.0.as_ptr(), value.0.as_ptr(), null::<c_void>());
    }
}
