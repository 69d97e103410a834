//! The module's commands, by the names that the filter gives them.

use std::ffi::{c_int, CStr};

use super::ffi::{Args, Command, Ctx, KeySpec, KEY_MOVE, KEY_OVERWRITE, KEY_READ, KEY_UPDATE};
use super::value::Value;
use super::{report, transfer, write};

/// One key argument.
const fn key(at: c_int, flags: u32) -> KeySpec {
    KeySpec { first: at, last: 0, flags }
}

/// Declares a command.
macro_rules! command {
    ($command:ident, $name:expr, $summary:expr, $flags:expr, $categories:expr, $arity:expr,
     $keys:expr, $run:expr) => {
        pub(super) struct $command;

        impl Command for $command {
            const NAME: &'static CStr = $name;
            const SUMMARY: &'static CStr = $summary;
            const FLAGS: &'static CStr = $flags;
            const CATEGORIES: &'static CStr = $categories;
            const ARITY: c_int = $arity;
            const KEYS: &'static [KeySpec] = $keys;

            fn run(ctx: &Ctx, args: Args) -> Option<Value> {
                $run(ctx, args)
            }
        }
    };
}

command!(
    Hset,
    c"wt.hset",
    c"HSET on a staged key: sets columns of its row in PostgreSQL and waits for the commit",
    c"write deny-oom fast",
    c"write hash fast",
    -4,
    &[key(1, KEY_UPDATE)],
    |ctx, args| write::hset(ctx, args, c"HSET", None)
);
command!(
    Hmset,
    c"wt.hmset",
    c"HMSET on a staged key: sets columns of its row in PostgreSQL and waits for the commit",
    c"write deny-oom fast",
    c"write hash fast",
    -4,
    &[key(1, KEY_UPDATE)],
    |ctx, args| write::hset(ctx, args, c"HMSET", Some(Value::OK))
);
command!(
    Rename,
    c"wt.rename",
    c"RENAME onto a staged key: the whole hash becomes its row in PostgreSQL",
    c"write",
    c"keyspace write slow",
    3,
    &[key(1, KEY_MOVE), key(2, KEY_OVERWRITE)],
    |ctx, args| transfer::run(ctx, args, c"RENAME", 2, transfer::undo_rename)
);
command!(
    RenameNx,
    c"wt.renamenx",
    c"RENAMENX onto a staged key: the whole hash becomes its row in PostgreSQL",
    c"write fast",
    c"keyspace write fast",
    3,
    &[key(1, KEY_MOVE), key(2, KEY_OVERWRITE)],
    |ctx, args| transfer::run(ctx, args, c"RENAMENX", 2, transfer::undo_rename)
);
command!(
    Copy,
    c"wt.copy",
    c"COPY onto a staged key: the whole hash becomes its row in PostgreSQL",
    c"write deny-oom",
    c"keyspace write slow",
    -3,
    &[key(1, KEY_READ), key(2, KEY_OVERWRITE)],
    |ctx, args| transfer::run(ctx, args, c"COPY", 2, transfer::undo_copy)
);
command!(
    Restore,
    c"wt.restore",
    c"RESTORE of a staged key: the whole hash becomes its row in PostgreSQL",
    c"write deny-oom",
    c"keyspace write slow dangerous",
    -4,
    &[key(1, KEY_OVERWRITE)],
    |ctx, args| transfer::run(ctx, args, c"RESTORE", 1, transfer::undo_restore)
);
command!(
    Status,
    c"wt.status",
    c"What the module is doing: the database, its queues, its counters",
    c"admin readonly allow-loading allow-stale",
    c"admin dangerous read",
    1,
    &[],
    |_, _| Some(report::status())
);
command!(
    Mappings,
    c"wt.mappings",
    c"The mappings: tables, keys, fields, columns, types, nullability",
    c"admin readonly allow-loading allow-stale",
    c"admin dangerous read",
    1,
    &[],
    |_, _| Some(report::mappings())
);
