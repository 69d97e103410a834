//! WT.REFRESH.

use super::refresh_many;
use crate::command::{Reply, Write};
use crate::host::ffi::{Args, Closed, Ctx, Value};
use crate::host::module::{module, Module};
use crate::host::write::admit::{self, not_ready, refuse};
use crate::host::write::several::{self, Then};
use crate::model::failure::Failure;

/// `WT.REFRESH key [key …]`: the rows of final keys become what is cached; a key without a row is
/// evicted. The answer is the number of rows.
pub fn refresh(ctx: &Ctx, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    // A client that can be blocked waits for the end of a pause.
    let gate = ctx.writable();
    if let Err(closed @ Closed::Following) = gate {
        return Some(closed.into());
    }
    if let Err(failure) = check(ctx, module, args) {
        return Some(refuse(module, &failure));
    }
    if let Some(client) = ctx.block() {
        refresh_many::start(module, client, args.from(1).map(Box::from).collect());
        return None;
    }
    match gate {
        Ok(ctx) => {
            let reads = reads(module, args);
            Some(match reads {
                Ok(reads) => several::wait(&ctx, module, reads, |_| {}, &Then::NOTHING),
                Err(failure) => refuse(module, &failure),
            })
        }
        Err(closed) => Some(closed.into()),
    }
}

/// All keys are right, and rows can be read.
fn check(ctx: &Ctx, module: &Module, args: Args) -> Result<(), Failure> {
    let mappings = admit::mappings(module)?;
    args.from(1).try_for_each(|key| admit::of_plain(module, &mappings, key).map(drop))?;
    admit::in_our_database(ctx, module)?;
    admit::ready(module)
}

fn reads(module: &Module, args: Args) -> Result<Vec<several::Addressed>, Failure> {
    let mappings = admit::mappings(module)?;
    let read = |key: &[u8]| {
        let mapping = admit::of_plain(module, &mappings, key)?;
        Ok((mapping, key.to_vec(), Write::read(Reply::Found)))
    };
    args.from(1).map(read).collect()
}
