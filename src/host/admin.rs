//! WT.REFRESH and WT.RELOAD.

use super::admit::{self, not_ready, refuse};
use super::ffi::{self, Args, Ctx};
use super::flight;
use super::gather::Then;
use super::state::{module, Module};
use super::value::Value;
use crate::command::{self, Reply, Write};
use crate::failure::Failure;
use crate::key::Show;
use crate::pg::catalog::CatalogError;

/// `WT.REFRESH key [key …]`: the rows of final keys become what is cached; a key without a row is
/// evicted. The answer is the number of rows.
pub fn refresh(ctx: &Ctx, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    if let Some(error) = must_not_write(ctx) {
        return Some(error);
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
    flight::send_all(ctx, module, reads, |_| {}, Then::NOTHING)
}

/// What the server itself says of commands that are flagged as writes, which these are not.
pub fn must_not_write(ctx: &Ctx) -> Option<Value> {
    if ffi::server_flags().is_following() {
        return Some(Value::error("READONLY You can't write against a read only replica."));
    }
    // A client that can be blocked waits for the end of the pause.
    let at_once = ctx.flags().cannot_block();
    (at_once && ffi::avoid_replica_traffic())
        .then(|| Value::error("ERR writethrough: the server must not write now, it is paused"))
}

fn target(
    ctx: &Ctx,
    module: &Module,
    key: &[u8],
) -> Result<std::sync::Arc<crate::mapping::Mapping>, Failure> {
    let colon = key.iter().position(|&b| b == b':').ok_or_else(|| {
        Failure::Input(format!("{} is no cached key, expected <name>:<id>", Show(key)))
    })?;
    let mapping = admit::named(&*admit::mappings(module)?, &key[..colon])?;
    command::check_id(&mapping, &key[colon + 1..]).map_err(Failure::Input)?;
    admit::in_our_database(ctx, module)?;
    admit::ready(module)?;
    Ok(mapping)
}

/// `WT.RELOAD`: reads the catalog again, all of it or, when the document does not fit it, nothing.
pub fn reload(ctx: &Ctx, _: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    let client = match ctx.flags().cannot_block() {
        true => None,
        false => ctx.block(),
    };
    let Some(client) = client else { return Some(read_catalog(module)) };
    let thread = std::thread::Builder::new().name("wt-reload".into());
    // When no thread can be started, the client is dropped and so answered with an error.
    let _ = thread.spawn(|| client.answer(read_catalog(module)));
    None
}

fn read_catalog(module: &Module) -> Value {
    let mut session = match module.manager.open() {
        Ok(session) => session,
        Err(error) => return Value::from(&Failure::Down(error.to_string())),
    };
    match module.catalog.read(&mut session.client) {
        Ok(_) => Value::OK,
        Err(CatalogError::Mapping(error)) => Value::from(&Failure::Input(error.to_string())),
        Err(error @ CatalogError::Database(_)) => Value::from(&Failure::Down(error.to_string())),
    }
}
