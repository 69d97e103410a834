//! Where the server enters the module: OnLoad and OnUnload.
//!
//! Not by the crate's macro, which ends without a word where the module's name is taken, and warns at
//! each start of defrag callbacks that this module doesn't have.

use std::ffi::{c_int, CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use redis_module::raw;

use super::guard;
use super::string::bytes;
use super::Ctx;
use super::OnLoad;
use super::Str;
use crate::host::Server;

/// What the server asks of a module. One implementation: the host.
pub trait Entry {
    /// Its name in MODULE LIST.
    const NAME: &'static CStr;
    /// Its version there.
    const VERSION: c_int;
    /// OnLoad. False fails the load.
    fn load(ctx: &OnLoad, args: &[&[u8]]) -> bool;
    /// OnLoad once more: a module of this name is loaded. True where that one goes on and this load
    /// counts as done; false fails it, and at its start the server ends.
    fn load_again(args: &[&[u8]]) -> bool;
    /// OnUnload. False when it can't be unloaded.
    fn unload() -> bool;
}

/// The names of modules that do nothing: the server demands one for each load that is done.
static STAND_INS: Mutex<Vec<CString>> = Mutex::new(Vec::new());

/// They are being unloaded.
static UNLOADING: AtomicBool = AtomicBool::new(false);

fn stand_ins() -> std::sync::MutexGuard<'static, Vec<CString>> {
    STAND_INS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server loads the module.
///
/// # Safety
/// Called by the server, with its context and the arguments of the load.
#[no_mangle]
#[allow(non_snake_case)]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // Nothing is allocated before this: it finds the server's functions, its allocator among them.
    let apiver = raw::REDISMODULE_APIVER_1 as c_int;
    let named = raw::Export_RedisModule_Init(ctx, Server::NAME.as_ptr(), Server::VERSION, apiver);
    let argc = usize::try_from(argc).unwrap_or(0);
    let args: Vec<&[u8]> = (0..argc).map(|at| bytes(*argv.add(at))).collect();
    status(match named == raw::REDISMODULE_OK as c_int {
        true => guard("OnLoad", || Server::load(&OnLoad { raw: ctx }, &args)) == Some(true),
        false => {
            let goes_on = guard("OnLoad", || Server::load_again(&args)) == Some(true);
            if goes_on {
                stand_in(ctx);
            }
            goes_on
        }
    })
}

/// Makes the context one of a module that does nothing.
///
/// # Safety
/// `ctx` is that of an OnLoad whose module has no name yet.
unsafe fn stand_in(ctx: *mut raw::RedisModuleCtx) {
    let mut stand_ins = stand_ins();
    let name = format!("{}-again-{}", Server::NAME.to_string_lossy(), stand_ins.len() + 1);
    let name = CString::new(name).unwrap_or_default();
    let apiver = raw::REDISMODULE_APIVER_1 as c_int;
    raw::RedisModule_SetModuleAttribs.unwrap()(ctx, name.as_ptr(), Server::VERSION, apiver);
    stand_ins.push(name);
}

/// Unloads the modules that stand for further loads: MODULE LIST shows what there is, and CONFIG
/// REWRITE writes no line for them. Where commands may be run, and not in OnLoad.
pub fn unload_stand_ins(ctx: &Ctx) {
    let names = std::mem::take(&mut *stand_ins());
    UNLOADING.store(true, Ordering::Relaxed);
    for name in names {
        let words = [Str::new(b"UNLOAD"), Str::new(name.to_bytes())];
        ctx.read(c"MODULE", &words.each_ref());
    }
    UNLOADING.store(false, Ordering::Relaxed);
}

/// The server unloads the module.
///
/// # Safety
/// Called by the server.
#[no_mangle]
#[allow(non_snake_case)]
pub unsafe extern "C" fn RedisModule_OnUnload(_: *mut raw::RedisModuleCtx) -> c_int {
    status(UNLOADING.load(Ordering::Relaxed) || guard("OnUnload", Server::unload) == Some(true))
}

fn status(done: bool) -> c_int {
    match done {
        true => raw::REDISMODULE_OK as c_int,
        false => raw::REDISMODULE_ERR as c_int,
    }
}
