//! What is checked before a write touches anything.

use std::sync::Arc;

use super::misspelt;
use super::plain::Written;
use crate::command;
use crate::config::limits::Limit;
use crate::config::suggest;
use crate::config::PlainWrites;
use crate::host::ffi::{Ctx, Value};
use crate::host::module::Module;
use crate::model::failure::Failure;
use crate::model::id::Id;
use crate::model::key::{self, Bare, RowKey, Show};
use crate::model::mapping::{Mapping, Mappings};
use crate::pg::catalog::PlainKey;

/// The mapping and the parts of a key that a command of ours writes to.
pub fn row<'a>(
    ctx: &Ctx,
    module: &Module,
    written: Written,
    key: &'a [u8],
) -> Result<(Arc<Mapping>, RowKey<'a>), Failure> {
    match written {
        Written::Plain(of) => plain(ctx, module, of, key),
        Written::Staged | Written::Elsewhere => staged(ctx, module, key),
    }
}

/// The mapping and the parts of a staged key, or why it can't be written now.
pub fn staged<'a>(
    ctx: &Ctx,
    module: &Module,
    key: &'a [u8],
) -> Result<(Arc<Mapping>, RowKey<'a>), Failure> {
    let prefix = &module.config.prefix;
    let staged = key::parse(prefix.as_bytes(), key).map_err(|key::NotStaged| {
        if let Some(target) = misspelt::target(module, key) {
            return misspelt::refusal(module, key, target);
        }
        let problem = format!("{} is no staged key, expected {prefix}{{<name>:<id>}}", Show(key));
        Failure::Input(problem)
    })?;
    let mapping = named(&*mappings(module)?, staged.name)?;
    command::check_id(&mapping, staged.id).map_err(Failure::Input)?;
    in_our_database(ctx, module)?;
    may_be_here(ctx, staged.target)?;
    ready_to_write(module, &mapping)?;
    Ok((mapping, staged))
}

/// The same of a plain key.
fn plain<'a>(
    ctx: &Ctx,
    module: &Module,
    plain: PlainKey,
    key: &'a [u8],
) -> Result<(Arc<Mapping>, RowKey<'a>), Failure> {
    let Some(row) = key::plain(key) else {
        return Err(Failure::Input(format!("{} is no row's key", Show(key))));
    };
    let name = String::from_utf8_lossy(row.name);
    if plain.writes == PlainWrites::Refuse {
        let staged = key::staged(module.config.prefix.as_bytes(), key);
        let problem = format!("{} is a row of {name:?}; write to {}", Bare(key), Bare(&staged));
        return Err(Failure::Input(problem));
    }
    if plain.id == Id::Ambiguous {
        return Err(Failure::Input(format!(
            "{} may be another program's key; say by id_pattern which ids are rows of {name:?}",
            Show(key)
        )));
    }
    let mapping = named(&*mappings(module)?, row.name)?;
    command::check_id(&mapping, row.id).map_err(Failure::Input)?;
    in_our_database(ctx, module)?;
    may_be_here(ctx, key)?;
    ready_to_write(module, &mapping)?;
    Ok((mapping, row))
}

/// In a cluster a key and its staged key are in one slot.
fn may_be_here(ctx: &Ctx, target: &[u8]) -> Result<(), Failure> {
    match ctx.flags().is_cluster() && target.iter().any(|b| matches!(b, b'{' | b'}')) {
        true => {
            Err(Failure::Input("an id with { or } is in another slot than its staged key".into()))
        }
        false => Ok(()),
    }
}

/// The mappings, when the catalog has been read.
pub fn mappings(module: &Module) -> Result<Arc<Mappings>, Failure> {
    module.catalog.mappings().map_err(|why| {
        let why = why.or_else(|| module.shared.health.refusal());
        Failure::Down(why.unwrap_or_else(|| "not ready yet".into()))
    })
}

/// The mapping of this name.
pub fn named(mappings: &Mappings, name: &[u8]) -> Result<Arc<Mapping>, Failure> {
    mappings.get(name).cloned().ok_or_else(|| {
        let names = mappings.iter().map(|m| m.name.as_str());
        let near = suggest::among(&String::from_utf8_lossy(name), names);
        Failure::Input(format!("no mapping is named {}{near}", Show(name)))
    })
}

/// The mapping of a final key that a client gives.
pub fn of_plain(module: &Module, mappings: &Mappings, key: &[u8]) -> Result<Arc<Mapping>, Failure> {
    let plain = key::parse(module.config.prefix.as_bytes(), key).ok().map(|staged| staged.target);
    if let Some(plain) = plain.or_else(|| misspelt::target(module, key)) {
        let (given, plain) = (Show(key), Show(plain));
        let problem = format!("{given} is no cached key; give the plain key, {plain}");
        return Err(Failure::Input(problem));
    }
    let colon = key.iter().position(|&b| b == b':').ok_or_else(|| {
        Failure::Input(format!("{} is no cached key, expected <name>:<id>", Show(key)))
    })?;
    let mapping = named(mappings, &key[..colon])?;
    command::check_id(&mapping, &key[colon + 1..]).map_err(Failure::Input)?;
    Ok(mapping)
}

/// Staged keys are written through in one database only.
pub fn in_our_database(ctx: &Ctx, module: &Module) -> Result<(), Failure> {
    let (db, expected) = (ctx.db(), module.config.db);
    if db == expected {
        return Ok(());
    }
    Err(Failure::Input(format!(
        "staged keys are written through in database {expected}, and this is database {db}"
    )))
}

/// What is written behind needs the database only where a row has to be read first.
fn ready_to_write(module: &Module, mapping: &Mapping) -> Result<(), Failure> {
    match mapping.is_behind {
        true => Ok(()),
        false => ready(module),
    }
}

/// It can be written together with others, all or nothing: what is written behind can't.
pub fn together(mapping: &Mapping) -> Result<(), Failure> {
    if !mapping.is_behind {
        return Ok(());
    }
    Err(Failure::Input(format!(
        "{:?} is written behind, so PostgreSQL decides after the answer, and WT.TRANSACTION and WT.ONCE can't \
         promise what they do; use WT.BATCH, or \"write\": \"through\" in the mapping",
        mapping.name
    )))
}

/// The database answers, and there is room for one more write.
pub fn ready(module: &Module) -> Result<(), Failure> {
    ready_for(module, 1)
}

/// The same for so many more.
pub fn ready_for(module: &Module, writes: usize) -> Result<(), Failure> {
    if let Some(reason) = module.shared.health.refusal() {
        return Err(Failure::Down(reason));
    }
    room_for(module, writes)
}

/// There is room for so many more writes.
pub fn room_for(module: &Module, writes: usize) -> Result<(), Failure> {
    let waiting = module.shared.stats.waiting.get() as usize;
    match waiting + writes > module.shared.limits.get(Limit::QueueMax) as usize {
        true => Err(Failure::Busy(waiting + writes - 1)),
        false => Ok(()),
    }
}

/// The answer of a write that was refused before it was staged.
pub fn refuse(module: &Module, failure: &Failure) -> Value {
    module.count(Some(failure), None);
    Value::from(failure)
}

/// The answer while OnLoad has not ended.
pub fn not_ready() -> Value {
    Value::from(&Failure::Down("the module is being loaded".into()))
}
