//! The Redis side: where the server calls the module.

mod cache;
mod commands;
mod ffi;
mod lifecycle;
mod module;
mod operator;
mod read;
mod version;
mod write;

use std::ffi::{c_int, CStr};

use cache::{leftovers, sessions};
use ffi::{Event, Filtered, Info, KeyChange, OnLoad};
use module::{module, multi};
use operator::{loaded_twice, report};
use write::filter::Sent;
use write::{
    atomic_multi, behind, external_change, full_rows, importing_slots, plain, replacement, stage,
    touched,
};

use crate::command::rewrite;
use crate::model::key;

/// Events of keys that leave, which are no writes. A `del` that we did not cause is an eviction.
const LEAVES: [&[u8]; 7] =
    [b"del", b"expired", b"evicted", b"rename_from", b"move_from", b"expire", b"persist"];

/// The module's answers to the server's calls.
struct Server;

impl ffi::Host for Server {
    /// Gives a read or a write of ours a context that can be blocked: the module's own command.
    fn filter(command: &mut Filtered) {
        let Some(module) = module() else { return };
        let is_plain = module.catalog.any_plain_writes();
        if is_plain || module.catalog.any_reads_through() || module.config.atomic_multi {
            multi::notice(command);
        }
        if is_plain {
            replacement::notice(module, command);
        }
        if let Some(name) = read::filter::rename(module, command) {
            return command.rename(name);
        }
        let sent = write::filter::send(module, command);
        atomic_multi::notice(module, command, sent.is_some());
        match sent {
            Some(Sent::To(name)) => command.rename(name),
            Some(Sent::Within(name)) => command.prepend(name),
            // The server may refuse for a reason that reads as if one could wait.
            None if is_unload(command) => lifecycle::warn_of_unload(),
            None => {}
        }
    }

    /// The one place where a staged change is noticed.
    fn keyspace(change: &KeyChange) {
        let Some(module) = module() else { return };
        let (event, name) = (change.event, change.key);
        touched::note(name);
        full_rows::changed(name);
        let is_staged = key::has_prefix(module.config.prefix.as_bytes(), name);
        if !is_staged {
            behind::notice(module, change);
            if event == b"restore" {
                importing_slots::arrived(name);
            }
            if sessions::is_key(name) {
                sessions::look();
            }
        }
        if is_staged && stage::notice(name) || module.is_applying() || LEAVES.contains(&event) {
            return;
        }
        let flags = ffi::server_flags();
        // A client's RESTORE is a command of ours; that of a slot that moves is not.
        let moves = event == b"restore" && flags.is_cluster();
        match is_staged {
            _ if flags.is_following() => {}
            true if moves => leftovers::migrated(module, name),
            true => external_change::changed(change),
            false if moves => {}
            false => plain::changed(module, change),
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
    const VERSION: c_int = version::VERSION;

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

/// `MODULE UNLOAD writethrough`.
fn is_unload(command: &Filtered) -> bool {
    command.len() == 3 && rewrite::is_unload(command.get(0), command.get(1), command.get(2))
}

/// The server's allocator, so that INFO memory counts us. Unit tests run without a server.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: redis_module::alloc::RedisAlloc = redis_module::alloc::RedisAlloc;
