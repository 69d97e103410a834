//! The Redis side: where the server calls the module.

mod cache;
mod commands;
mod ffi;
mod lifecycle;
mod module;
mod operator;
mod read;
mod write;

use std::ffi::{c_int, CStr};

use cache::{leftovers, sessions};
use ffi::{Event, Filtered, Info, KeyChange, OnLoad};
use module::module;
use operator::{loaded_twice, report};
use write::{external_change, importing_slots, misspelt, stage, touched};

use crate::command::rewrite::{self, Rewrite};
use crate::model::key;

/// The module's answers to the server's calls.
struct Server;

impl ffi::Host for Server {
    /// Gives a write to a staged key a context that can be blocked: the module's own command.
    fn filter(command: &mut Filtered) {
        let argc = command.len();
        let ours = module().and_then(|module| read::filter::rename(module, command));
        if let Some(name) = ours {
            return command.rename(name);
        }
        if argc < 2 {
            return;
        }
        let Some((rewrite, keys)) = rewrite::rule(command.get(0), argc) else {
            if argc == 3 && rewrite::is_unload(command.get(0), command.get(1), command.get(2)) {
                // The server may refuse for a reason that reads as if one could wait.
                lifecycle::warn_of_unload();
            }
            return;
        };
        let Some(module) = module() else { return };
        let prefix = module.config.prefix.as_bytes();
        let is_staged = |key: &[u8]| key::has_prefix(prefix, key);
        let is_mapped = |key: &[u8]| module.is_mapped(key);
        let is_misspelt = |key: &[u8]| misspelt::target(module, key).is_some();
        if !keys.any(argc, |at| command.get(at), is_staged, is_mapped, is_misspelt)
            || module.is_applying()
            || ffi::server_flags().is_following()
        {
            return;
        }
        match rewrite {
            Rewrite::To(name) => command.rename(name),
            Rewrite::Refuse => command.prepend(c"wt.refuse"),
        }
    }

    /// The one place where a staged change is noticed.
    fn keyspace(change: &KeyChange) {
        let Some(module) = module() else { return };
        let (event, name) = (change.event, change.key);
        touched::note(name);
        if !key::has_prefix(module.config.prefix.as_bytes(), name) {
            if event == b"restore" {
                importing_slots::arrived(name);
            }
            if sessions::is_key(name) {
                sessions::look();
            }
            return;
        }
        if stage::notice(name) || module.is_applying() {
            return;
        }
        // Keys that leave are no writes. A `del` that we did not cause is an eviction.
        let leaves = [
            &b"del"[..],
            b"expired",
            b"evicted",
            b"rename_from",
            b"move_from",
            b"expire",
            b"persist",
        ];
        let flags = ffi::server_flags();
        if leaves.contains(&event) || flags.is_following() {
            return;
        }
        // A client's RESTORE is a command of ours; MIGRATE's is not.
        match event == b"restore" && flags.is_cluster() {
            true => leftovers::migrated(module, name),
            false => external_change::changed(change),
        }
    }

    fn event(event: Event) {
        lifecycle::event(event);
    }

    fn info(out: &mut Info) {
        report::info(out);
    }
}

impl ffi::Entry for Server {
    const NAME: &'static CStr = c"writethrough";
    const VERSION: c_int = lifecycle::VERSION;

    fn load(ctx: &OnLoad, args: &[&[u8]]) -> bool {
        lifecycle::load(ctx, args)
    }

    fn load_again(args: &[&[u8]]) -> bool {
        loaded_twice::may_go_on(args)
    }

    /// MODULE UNLOAD: threads, a filter and queued commands can't be taken back, but for a load that
    /// has only just been made.
    fn unload() -> bool {
        lifecycle::take_back()
    }
}

/// The server's allocator, so that INFO memory counts us. Unit tests run without a server.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: redis_module::alloc::RedisAlloc = redis_module::alloc::RedisAlloc;
