//! The module's commands. The filter gives these names to the server's commands on staged keys.

use std::ffi::{c_int, CStr};

use super::cache::{load_all, verify};
use super::ffi::Run::{self, Read, Write};
use super::ffi::{
    Args, Command, KeySpec, OnLoad, KEY_LOOK, KEY_MOVE, KEY_OVERWRITE, KEY_READ, KEY_UPDATE,
};
use super::operator::{help, refresh, reload, report, triggers};
use super::read;
use super::write::{
    atomic_multi, batch, behind, command, deletion, migrate, once, parse, refusal, transaction,
    transfer,
};
use crate::command::nested;

/// Where the keys of commands within a command are.
fn nested_keys(args: Args) -> Vec<usize> {
    let commands = nested::ranges(args.len(), 1, |at| args.get(at)).unwrap_or_default();
    nested::keys(&commands)
}

/// One key argument.
const fn key(at: c_int, flags: u32) -> KeySpec {
    KeySpec { first: at, last: 0, flags }
}

/// Every argument is a key.
const fn keys(flags: u32) -> KeySpec {
    KeySpec { first: 1, last: -1, flags }
}

const SET: (&CStr, &CStr) = (c"write deny-oom fast", c"write hash fast");
const READ_FAST: (&CStr, &CStr) = (c"readonly fast", c"read hash fast");
const READ_SLOW: (&CStr, &CStr) = (c"readonly", c"read hash slow");
const LOOK: (&CStr, &CStr) = (c"readonly fast", c"keyspace read fast");
/// Neither `readonly` nor `write`, which from 7.2 on mean @read and @write: these are for those who
/// have @admin.
const ADMIN: (&CStr, &CStr) = (c"admin", c"admin dangerous");

/// The server redacts the passwords of its own MIGRATE, and can't be told to redact those of ours: it
/// is shown nowhere. What it calls is in MONITOR, without the passwords.
const MIGRATE: (&CStr, &CStr) = (c"write no-monitor no-slowlog", c"keyspace write slow dangerous");

/// Commands within a command: `getkeys-api` asks where their keys are.
const NESTED: (&CStr, &CStr) = (c"write deny-oom getkeys-api", c"write hash slow");

/// A write that a MULTI collects where `atomic_multi` is on: `run(ctx, args, …)`.
macro_rules! in_multi {
    ($run:expr $(, $more:expr)*) => {
        Write(|ctx, args| atomic_multi::run(ctx, args, |ctx, args| $run(ctx, args $(, $more)*)))
    };
}

/// The versions in which commands came.
const V0_1: &CStr = c"0.1.0";
const V0_2: &CStr = c"0.2.0";

/// Declares a command: its name; the version in which it came; its flags and ACL categories; its arity; its keys, or
/// what finds them; what it does.
macro_rules! commands {
    ($($command:ident $name:literal, $since:expr, $kind:expr, $arity:expr, $keys:expr $(, finds $find:expr)?, $summary:literal, $run:expr;)*) => {
        $(
            struct $command;

            impl Command for $command {
                const NAME: &'static CStr = $name;
                const SINCE: &'static CStr = $since;
                const SUMMARY: &'static CStr = $summary;
                const FLAGS: &'static CStr = $kind.0;
                const CATEGORIES: &'static CStr = $kind.1;
                const ARITY: c_int = $arity;
                const KEYS: &'static [KeySpec] = $keys;
                $(const FIND_KEYS: Option<fn(Args) -> Vec<usize>> = Some($find);)?
                const RUN: Run = $run;
            }
        )*

        /// Registers them all. False when the server will not have one.
        pub fn register(ctx: &OnLoad) -> bool {
            $(ctx.register::<$command>())&&*
        }
    };
}

commands! {
    Hset c"wt.hset", V0_1, SET, -4, &[key(1, KEY_UPDATE)],
        c"HSET on a staged key: sets columns of its row in PostgreSQL",
        in_multi!(command::hset, c"HSET");
    Hmset c"wt.hmset", V0_1, SET, -4, &[key(1, KEY_UPDATE)],
        c"HMSET on a staged key: sets columns of its row in PostgreSQL",
        in_multi!(command::hset, c"HMSET");
    HsetNx c"wt.hsetnx", V0_2, SET, 4, &[key(1, KEY_UPDATE)],
        c"HSETNX on a staged key: sets the column where it is NULL or the row is missing",
        in_multi!(command::run, c"HSETNX", parse::hsetnx);
    HincrBy c"wt.hincrby", V0_2, SET, 4, &[key(1, KEY_UPDATE)],
        c"HINCRBY on a staged key: adds to the column in PostgreSQL",
        in_multi!(command::run, c"HINCRBY", parse::hincrby);
    HincrByFloat c"wt.hincrbyfloat", V0_2, SET, 4, &[key(1, KEY_UPDATE)],
        c"HINCRBYFLOAT on a staged key: adds to the column in PostgreSQL",
        in_multi!(command::run, c"HINCRBYFLOAT", parse::hincrbyfloat);
    Hdel c"wt.hdel", V0_2, (c"write fast", c"write hash fast"), -3, &[key(1, KEY_UPDATE)],
        c"HDEL on a staged key: sets columns of its row in PostgreSQL to NULL",
        in_multi!(command::run, c"HDEL", parse::hdel);
    Del c"wt.del", V0_2, (c"write", c"keyspace write slow"), -2, &[keys(KEY_UPDATE)],
        c"DEL with staged keys: deletes their rows in PostgreSQL and the cached keys",
        in_multi!(deletion::run, c"DEL");
    Unlink c"wt.unlink", V0_2, (c"write fast", c"keyspace write fast"), -2, &[keys(KEY_UPDATE)],
        c"UNLINK with staged keys: deletes their rows in PostgreSQL and the cached keys",
        in_multi!(deletion::run, c"UNLINK");
    Rename c"wt.rename", V0_1, (c"write", c"keyspace write slow"), 3,
        &[key(1, KEY_MOVE), key(2, KEY_OVERWRITE)],
        c"RENAME onto a staged key: the whole hash becomes its row in PostgreSQL",
        in_multi!(transfer::run, c"RENAME", 2, transfer::undo_rename);
    RenameNx c"wt.renamenx", V0_1, (c"write fast", c"keyspace write fast"), 3,
        &[key(1, KEY_MOVE), key(2, KEY_OVERWRITE)],
        c"RENAMENX onto a staged key: the whole hash becomes its row in PostgreSQL",
        in_multi!(transfer::run, c"RENAMENX", 2, transfer::undo_rename);
    Copy c"wt.copy", V0_1, (c"write deny-oom", c"keyspace write slow"), -3,
        &[key(1, KEY_READ), key(2, KEY_OVERWRITE)],
        c"COPY onto a staged key: the whole hash becomes its row in PostgreSQL",
        in_multi!(transfer::run, c"COPY", 2, transfer::undo_copy);
    Restore c"wt.restore", V0_1, (c"write deny-oom", c"keyspace write slow dangerous"), -4,
        &[key(1, KEY_OVERWRITE)],
        c"RESTORE of a staged key: the whole hash becomes its row in PostgreSQL",
        in_multi!(transfer::run, c"RESTORE", 1, transfer::undo_restore);
    Migrate c"wt.migrate", V0_2, MIGRATE, -6, &[],
        c"MIGRATE, once the writes on their way to its keys are settled",
        in_multi!(migrate::run);
    Hget c"wt.hget", V0_2, READ_FAST, 3, &[key(1, KEY_READ)],
        c"HGET of a row that may not be cached", Read(read::command::one);
    Hmget c"wt.hmget", V0_2, READ_FAST, -3, &[key(1, KEY_READ)],
        c"HMGET of a row that may not be cached", Read(read::command::one);
    Hgetall c"wt.hgetall", V0_2, READ_SLOW, 2, &[key(1, KEY_READ)],
        c"HGETALL of a row that may not be cached", Read(read::command::one);
    Hexists c"wt.hexists", V0_2, READ_FAST, 3, &[key(1, KEY_LOOK)],
        c"HEXISTS of a row that may not be cached", Read(read::command::one);
    Hlen c"wt.hlen", V0_2, READ_FAST, 2, &[key(1, KEY_LOOK)],
        c"HLEN of a row that may not be cached", Read(read::command::one);
    Hkeys c"wt.hkeys", V0_2, READ_SLOW, 2, &[key(1, KEY_READ)],
        c"HKEYS of a row that may not be cached", Read(read::command::one);
    Hvals c"wt.hvals", V0_2, READ_SLOW, 2, &[key(1, KEY_READ)],
        c"HVALS of a row that may not be cached", Read(read::command::one);
    Hstrlen c"wt.hstrlen", V0_2, READ_FAST, 3, &[key(1, KEY_LOOK)],
        c"HSTRLEN of a row that may not be cached", Read(read::command::one);
    HrandField c"wt.hrandfield", V0_2, READ_SLOW, -2, &[key(1, KEY_READ)],
        c"HRANDFIELD of a row that may not be cached", Read(read::command::one);
    Hscan c"wt.hscan", V0_2, READ_SLOW, -3, &[key(1, KEY_READ)],
        c"HSCAN of a row that may not be cached", Read(read::command::one);
    Exists c"wt.exists", V0_2, LOOK, -2, &[keys(KEY_LOOK)],
        c"EXISTS of rows that may not be cached", Read(read::command::many);
    Type c"wt.type", V0_2, LOOK, 2, &[key(1, KEY_LOOK)],
        c"TYPE of a row that may not be cached", Read(read::command::one);
    Refuse c"wt.refuse", V0_2, (c"write fast", c"fast"), -2, &[],
        c"What a command that can't be written through becomes on a row's key: an error",
        in_multi!(refusal::run);
    Status c"wt.status", V0_1, ADMIN, 1, &[],
        c"What the module is doing: the database, its queues, its counters",
        Read(|_, _| Some(report::status()));
    Mappings c"wt.mappings", V0_1, ADMIN, 1, &[],
        c"The mappings: tables, keys, fields, columns, types, nullability",
        Read(|_, _| Some(report::mappings()));
    Refresh c"wt.refresh", V0_2, ADMIN, -2, &[keys(KEY_UPDATE)],
        c"Loads rows from PostgreSQL into their cached keys, and evicts keys without a row",
        Read(refresh::refresh);
    Verify c"wt.verify", V0_2, ADMIN, -2, &[],
        c"Compares the cached keys of a mapping with the table, and repairs them",
        Read(verify::run);
    Load c"wt.load", V0_2, ADMIN, -2, &[],
        c"Loads the rows of a mapping into their keys, in the foreground or the background",
        Read(load_all::run);
    Flush c"wt.flush", V0_2, ADMIN, 2, &[],
        c"Waits until what a mapping's queue holds is written", Read(behind::flush);
    Retry c"wt.retry", V0_2, ADMIN, 2, &[],
        c"Puts the refused entries of a mapping's queue back", Read(behind::retry);
    Triggers c"wt.triggers", V0_2, ADMIN, -1, &[],
        c"The triggers by which other programs' writes are followed: what is there, what is missing",
        Read(triggers::run);
    Reload c"wt.reload", V0_2, ADMIN, 1, &[],
        c"Reads the document and the tables' definitions again, all of it or nothing",
        Read(reload::run);
    Help c"wt.help", V0_2, (c"fast", c"fast"), 1, &[],
        c"What there is to type, and what it does", Read(|_, _| Some(help::help()));
    Batch c"wt.batch", V0_2, NESTED, -4, &[], finds nested_keys,
        c"Writes of many rows in one command, each for itself", Write(batch::run);
    Transaction c"wt.transaction", V0_2, NESTED, -4, &[], finds nested_keys,
        c"Writes of several rows that are one transaction in PostgreSQL", Write(transaction::run);
    Once c"wt.once", V0_2, NESTED, -4, &[], finds once::keys,
        c"A write, or a WT.TRANSACTION, that is done once, however often it is sent", Write(once::run);
}
