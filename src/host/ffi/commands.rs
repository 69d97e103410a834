//! The module's commands.

use std::ffi::{c_int, CStr};

use redis_module::raw;

use super::guard;
use super::Args;
use super::Ctx;
use super::OnLoad;
use super::Value;
use super::Writable;

/// A command of the module's.
pub trait Command {
    /// Its name.
    const NAME: &'static CStr;
    /// The version of the module in which it came, as `0.2.0`.
    const SINCE: &'static CStr;
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
    /// With the flag `getkeys-api`: where keys are that are read and written, among these arguments.
    const FIND_KEYS: Option<fn(Args) -> Vec<usize>> = None;

    /// Runs it.
    const RUN: Run;
}

/// What runs a command. `None`: the client is blocked and is answered later.
pub enum Run {
    /// It changes no key, or asks at the gate itself.
    Read(fn(&Ctx, Args) -> Option<Value>),
    /// It is flagged `write`: the server runs it only when it may write.
    Write(fn(&Writable, Args) -> Option<Value>),
}

/// True when the command's flags and what it runs say the same.
const fn is_flagged_right<C: Command>() -> bool {
    let (flags, word) = (C::FLAGS.to_bytes(), b"write");
    let (mut at, mut matched, mut is_flagged) = (0, 0, false);
    while at <= flags.len() {
        if at == flags.len() || flags[at] == b' ' {
            is_flagged |= matched == word.len();
            matched = 0;
        } else if matched < word.len() && flags[at] == word[matched] {
            matched += 1;
        } else {
            matched = usize::MAX;
        }
        at += 1;
    }
    is_flagged == matches!(C::RUN, Run::Write(_))
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
/// What the key holds is not read: whether it is there, its type, a length.
pub const KEY_LOOK: u32 = raw::REDISMODULE_CMD_KEY_RO;
/// The key is read.
pub const KEY_READ: u32 = raw::REDISMODULE_CMD_KEY_RO | raw::REDISMODULE_CMD_KEY_ACCESS;

impl OnLoad {
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
            let args = Args { raw };
            if let Some(find) = C::FIND_KEYS {
                // SAFETY: the context is valid; positions are those of arguments.
                unsafe {
                    if raw::RedisModule_IsKeysPositionRequest.unwrap()(ctx.raw) != 0 {
                        let found = guard("a look for keys", || find(args)).unwrap_or_default();
                        for at in found {
                            let report = raw::RedisModule_KeyAtPosWithFlags.unwrap();
                            report(ctx.raw, at as c_int, KEY_UPDATE as c_int);
                        }
                        return raw::REDISMODULE_OK as c_int;
                    }
                }
            }
            let run = || match C::RUN {
                Run::Read(run) => run(&ctx, args),
                Run::Write(run) => match ctx.writable_in_write() {
                    Ok(writable) => run(&writable, args),
                    Err(closed) => Some(closed.into()),
                },
            };
            let value = guard("a command", run).unwrap_or_else(|| {
                Some(Value::error("ERR writethrough: internal error, see the server's log"))
            });
            if let Some(value) = value {
                guard("a reply", || ctx.reply(&value));
            }
            raw::REDISMODULE_OK as c_int
        }
        const { assert!(is_flagged_right::<C>(), "what is flagged write runs Run::Write") };
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
    info.since = C::SINCE.as_ptr();
    info.arity = C::ARITY;
    info.key_specs = specs.as_mut_ptr();
    raw::RedisModule_SetCommandInfo.unwrap()(command, &info) == raw::REDISMODULE_OK as c_int
}
