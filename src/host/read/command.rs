//! The reads that the filter has renamed: what is missing is loaded, then the plain command answers.

use std::collections::HashSet;
use std::ffi::CString;
use std::sync::Arc;
use std::time::Instant;

use super::load::{self, Reading, SharedReading};
use crate::host::ffi::{Args, Closed, Ctx, Kind, Row, Str, Value};
use crate::host::module::negative::{self, Known};
use crate::host::module::{module, Module};
use crate::host::write::synchronous;
use crate::host::write::{admit, behind, completion, timeout};
use crate::model::failure::Failure;
use crate::model::id::{self, Id};
use crate::model::mapping::Mapping;

/// A row that is to be loaded.
type Missing = (Arc<Mapping>, Vec<u8>);

/// What is to be loaded, and what is there already.
type Found = (Vec<Missing>, Vec<Row>);

/// A read of one key, the first argument.
pub fn one(ctx: &Ctx, args: Args) -> Option<Value> {
    run(ctx, args, 1)
}

/// A read of many keys: all arguments.
pub fn many(ctx: &Ctx, args: Args) -> Option<Value> {
    run(ctx, args, usize::MAX)
}

fn run(ctx: &Ctx, args: Args, keys: usize) -> Option<Value> {
    let (missing, there) = match module() {
        Some(module) if may_load(ctx, module, args) => match look(ctx, module, args, keys) {
            Ok(found) => found,
            Err(failure) => {
                module.shared.stats.load_errors.add(1);
                return Some(Value::from(&failure));
            }
        },
        _ => Found::default(),
    };
    let (Some(module), false) = (module(), missing.is_empty()) else {
        ctx.reply_by_plain(args);
        return None;
    };
    // Entries of the row may be where its queue is: the row alone is too old.
    if missing.iter().any(|(mapping, key)| mapping.is_behind && behind::is_elsewhere(key)) {
        return Some(behind::elsewhere());
    }
    let client = ctx.block();
    let is_blocked = client.is_some();
    let reading = Reading::new(client, missing.len(), there);
    let targets: Vec<Vec<u8>> = missing.iter().map(|(_, key)| key.clone()).collect();
    for (mapping, key) in missing {
        load::join(module, &mapping, &key, reading.clone());
    }
    if is_blocked {
        return None;
    }
    match wait(ctx, module, &targets, &reading) {
        Ok(rows) => {
            ctx.reply_as_if(args, &rows);
            None
        }
        Err(error) => Some(error),
    }
}

/// Only in our database, on a master, and for a user who may run the plain command.
fn may_load(ctx: &Ctx, module: &Module, args: Args) -> bool {
    let name = String::from_utf8_lossy(args.get(0)).to_ascii_uppercase();
    let plain = CString::new(name.trim_start_matches("WT.")).unwrap_or_default();
    ctx.db() == module.config.db
        && !ctx.flags().is_following()
        && ctx.may_run(&plain, &args.strings(1))
}

/// The rows to be loaded; or why that can't be done. Of EXISTS also the keys that are there: one of them
/// may be evicted while the rows of others are loaded, and its row is there all the same.
fn look(ctx: &Ctx, module: &Module, args: Args, keys: usize) -> Result<Found, Failure> {
    let (mut found, mut there, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    let mut loads = 0;
    for name in args.from(1).take(keys).filter(|name| module.catalog.reads_through(name)) {
        let key = Str::new(name);
        if !seen.insert(name) {
            continue;
        }
        if ctx.open(&key).kind() != Kind::Empty {
            if keys > 1 {
                // EXISTS asks for no more than some field.
                there.push(Arc::new((key, vec![(Str::new(b"field"), Str::new(b""))])));
            }
            continue;
        }
        let colon = name.iter().position(|&b| b == b':').unwrap_or(name.len());
        let mapping = admit::named(&*admit::mappings(module)?, &name[..colon])?;
        if id::of(&mapping, &name[colon + 1..]) == Id::Never {
            continue;
        }
        match negative::take(name) {
            Known::NoRow => {
                module.shared.stats.negative_hits.add(1);
                continue;
            }
            // Before anything is loaded, who tracks the key hears that it may change.
            Known::Told => ctx.tell_of_change(&key),
            Known::Nothing => {}
        }
        loads += usize::from(!load::is_under_way(name));
        found.push((mapping, name.to_vec()));
    }
    if loads > 0 {
        admit::ready_for(module, loads)?;
    }
    Ok((found, there))
}

/// The server waits, for `sync_timeout_ms` at most.
fn wait(
    ctx: &Ctx,
    module: &Module,
    targets: &[Vec<u8>],
    reading: &SharedReading,
) -> Result<Vec<Row>, Value> {
    let targets: Vec<&[u8]> = targets.iter().map(Vec::as_slice).collect();
    let until = Instant::now() + module.shared.limits.sync_timeout();
    let done = || load::done(reading);
    let result = match ctx.writable() {
        Ok(ctx) => synchronous::serve_until(&ctx, module, &targets, until, done),
        Err(Closed::Paused) => synchronous::serve_loads_until(ctx, module, &targets, until, done),
        Err(closed @ Closed::Following) => Some(Err(closed.into())),
    };
    result.unwrap_or_else(|| {
        module.shared.stats.load_errors.add(1);
        if completion::has_any(&targets) {
            let text =
                "WTBUSY the row could not be read: a write of it waits for the end of a pause";
            return Err(Value::error(text));
        }
        Err(Value::from(&timeout::too_late(true, &synchronous::limit(module))))
    })
}
