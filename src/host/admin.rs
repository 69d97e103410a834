//! WT.REFRESH.

use super::admit::{self, not_ready, refuse};
use super::ffi::{Args, Closed, Ctx};
use super::flight;
use super::gather::Then;
use super::misspelt;
use super::state::{module, Module};
use super::value::Value;
use crate::command::{self, Reply, Write};
use crate::failure::Failure;
use crate::key::{self, Show};

/// `WT.REFRESH key [key …]`: the rows of final keys become what is cached; a key without a row is
/// evicted. The answer is the number of rows.
pub fn refresh(ctx: &Ctx, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    // A client that can be blocked waits for the end of a pause.
    let gate = ctx.writable();
    if let Err(closed @ Closed::Following) = gate {
        return Some(closed.into());
    }
    let mut reads = Vec::new();
    for key in args.from(1) {
        match target(ctx, module, key) {
            Ok(mapping) => {
                reads.push((mapping, key.to_vec(), Write::read(Reply::Found)));
            }
            Err(failure) => return Some(refuse(module, &failure)),
        }
    }
    flight::send_all(
        ctx,
        gate.as_ref().map_err(|closed| *closed),
        module,
        reads,
        |_| {},
        Then::NOTHING,
    )
}

fn target(
    ctx: &Ctx,
    module: &Module,
    key: &[u8],
) -> Result<std::sync::Arc<crate::mapping::Mapping>, Failure> {
    let prefix = module.config.prefix.as_bytes();
    let plain = key::parse(prefix, key).ok().map(|staged| staged.target);
    if let Some(plain) = plain.or_else(|| misspelt::target(module, key)) {
        let (given, plain) = (Show(key), Show(plain));
        let problem = format!("{given} is no cached key; give the plain key, {plain}");
        return Err(Failure::Input(problem));
    }
    let colon = key.iter().position(|&b| b == b':').ok_or_else(|| {
        Failure::Input(format!("{} is no cached key, expected <name>:<id>", Show(key)))
    })?;
    let mapping = admit::named(&*admit::mappings(module)?, &key[..colon])?;
    command::check_id(&mapping, &key[colon + 1..]).map_err(Failure::Input)?;
    admit::in_our_database(ctx, module)?;
    admit::ready(module)?;
    Ok(mapping)
}
