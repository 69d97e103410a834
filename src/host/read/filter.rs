//! Which reads are sent to the module: those of a missing key of a mapping that reads through.
//!
//! A hit is left to the server, but for one that is queued in MULTI, as the key may have been evicted when
//! EXEC runs it, and for one of a server that is about to evict keys before it runs the command.

use std::ffi::CStr;

use crate::host::ffi::{may_evict, runs_plain, server_flags, Filtered};
use crate::host::module::{multi, Module};
use crate::host::write::touched;

/// Which arguments are keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    First,
    All,
}

/// A command: its name, ours, the least and the greatest number of arguments with the name.
type Read = (&'static [u8], &'static CStr, usize, usize, Keys);

const MANY: usize = usize::MAX;

const READS: [Read; 14] = [
    (b"hget", c"wt.hget", 3, 3, Keys::First),
    (b"hmget", c"wt.hmget", 3, MANY, Keys::First),
    (b"hgetall", c"wt.hgetall", 2, 2, Keys::First),
    (b"hexists", c"wt.hexists", 3, 3, Keys::First),
    (b"hlen", c"wt.hlen", 2, 2, Keys::First),
    (b"hkeys", c"wt.hkeys", 2, 2, Keys::First),
    (b"hvals", c"wt.hvals", 2, 2, Keys::First),
    (b"hstrlen", c"wt.hstrlen", 3, 3, Keys::First),
    (b"hrandfield", c"wt.hrandfield", 2, 4, Keys::First),
    (b"hscan", c"wt.hscan", 3, MANY, Keys::First),
    (b"exists", c"wt.exists", 2, MANY, Keys::All),
    (b"type", c"wt.type", 2, 2, Keys::First),
    // They end loads that are under way, also of whole tables, and what is known of rows that were missing.
    (b"del", c"wt.del", 2, MANY, Keys::All),
    (b"unlink", c"wt.unlink", 2, MANY, Keys::All),
];

/// The name that a command gets, if it is to be ours.
pub fn rename(module: &Module, command: &Filtered) -> Option<&'static CStr> {
    let reads_through = module.catalog.any_reads_through();
    if !(reads_through || touched::is_needed()) || runs_plain() {
        return None;
    }
    let (name, argc) = (command.get(0), command.len());
    let is_it = |(plain, ..): &&Read| name.eq_ignore_ascii_case(plain);
    let (plain, ours, least, most, keys) = READS.iter().find(is_it)?;
    if argc < *least || argc > *most || server_flags().is_following() || module.is_applying() {
        return None;
    }
    // A scan that goes on has begun on a key that was there.
    if *plain == b"hscan" && command.get(2) != b"0" {
        return None;
    }
    let removes = matches!(*plain, b"del" | b"unlink");
    let last = if *keys == Keys::All { argc } else { 2 };
    let is_ours = |at: usize| match removes {
        true => {
            let key = command.get(at);
            module.catalog.reads_through(key) || touched::is_needed_for(key)
        }
        false => {
            module.catalog.reads_through(command.get(at))
                && (command.is_missing(at) || multi::is_in(command) || may_evict())
        }
    };
    (1..last).any(is_ours).then_some(*ours)
}
