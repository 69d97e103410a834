//! WT.LOAD's arguments, and the client that waits for it.

use super::{end_where, left, start, End, LOADS};
use crate::host::ffi::{Args, Closed, Ctx, Value};
use crate::host::module::{module, Module};
use crate::host::write::admit::{self, not_ready, refuse};
use crate::host::write::pending::pending;
use crate::model::failure::Failure;

const USAGE: &str = "expected WT.LOAD name [LIMIT n] [BACKGROUND], or WT.LOAD name STOP";

/// `WT.LOAD name [LIMIT n] [BACKGROUND]`, `WT.LOAD name STOP`.
pub fn run(ctx: &Ctx, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    if let Err(closed @ Closed::Following) = ctx.writable() {
        return Some(closed.into());
    }
    match command(ctx, module, args) {
        Ok(value) => value,
        Err(failure) => Some(refuse(module, &failure)),
    }
}

fn command(ctx: &Ctx, module: &Module, args: Args) -> Result<Option<Value>, Failure> {
    let input = |problem: &str| Failure::Input(problem.to_string());
    let (mut limit, mut is_background, mut stops) = (usize::MAX, false, false);
    let mut options = args.from(2);
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"BACKGROUND") {
            is_background = true;
        } else if option.eq_ignore_ascii_case(b"LIMIT") {
            let n = options.next().and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
            limit = n.filter(|n| *n > 0).ok_or_else(|| input("LIMIT needs a number of rows"))?;
        } else if option.eq_ignore_ascii_case(b"STOP") && args.len() == 3 {
            stops = true;
        } else {
            return Err(input(USAGE));
        }
    }
    let name = args.get(1);
    if stops {
        let is_running = end_where(End::Stopped, |running, _| running.as_bytes() == name);
        if !is_running {
            admit::named(&*admit::mappings(module)?, name)?;
        }
        return Ok(Some(Value::Integer(is_running.into())));
    }
    admit::named(&*admit::mappings(module)?, name)?;
    admit::in_our_database(ctx, module)?;
    admit::ready(module)?;
    if is_background {
        start(module, name, limit)?;
        return Ok(Some(Value::OK));
    }
    let cannot_wait = "WT.LOAD can't wait in a transaction or a script; give BACKGROUND";
    if ctx.flags().cannot_block() {
        return Err(input(cannot_wait));
    }
    start(module, name, limit)?;
    let client = ctx.block();
    let mut loads = LOADS.get();
    match (client, loads.running.iter_mut().find(|(running, _)| running.as_bytes() == name)) {
        (Some(client), Some((_, load))) => {
            let number = pending().next_id();
            client.waits_for(number, left);
            load.client = Some((client, number));
            Ok(None)
        }
        _ => {
            loads.running.retain(|running, _| running.as_bytes() != name);
            Err(input(cannot_wait))
        }
    }
}
