//! WT.RELOAD: the document and the tables' definitions, read again: all of it or, when something is
//! wrong, nothing.

use std::sync::PoisonError;

use super::options;
use crate::config::args;
use crate::config::limits::Limit;
use crate::config::{Config, MappingConfig};
use crate::host::cache::preload;
use crate::host::ffi::{self, log, Args, Ctx, Level, Value};
use crate::host::module::{module, Module};
use crate::host::write::admit::not_ready;
use crate::host::write::behind;
use crate::model::failure::Failure;
use crate::pg::catalog::CatalogError;

/// `WT.RELOAD`.
pub fn run(ctx: &Ctx, _: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    let Some(client) = ctx.block() else { return Some(answer(module)) };
    let thread = std::thread::Builder::new().name("wt-reload".into());
    // When no thread can be started, the client is dropped and so answered with an error.
    let _ = thread.spawn(|| client.answer(answer(module)));
    None
}

fn answer(module: &Module) -> Value {
    match reload(module) {
        Ok(()) => Value::OK,
        Err(failure) => Value::from(&failure),
    }
}

fn reload(module: &Module) -> Result<(), Failure> {
    // One at a time, and the arguments of MODULE LOAD say where the document is.
    let mut document = module.document.lock().unwrap_or_else(PoisonError::into_inner);
    let new = args::parse(&module.args).map_err(|error| Failure::Input(error.to_string()))?;
    must_not_differ(&document, &new)?;
    let mut session = module.manager.open().map_err(|error| Failure::Down(error.to_string()))?;
    let read = module.catalog.replace(&mut session.client, new.mappings.clone());
    read.map_err(|error| match error {
        CatalogError::Mapping(error) => Failure::Input(error.to_string()),
        CatalogError::Database(_) => Failure::Down(error.to_string()),
    })?;
    let mut news = differences(&document.mappings, &new.mappings);
    // What the document says as before stays as CONFIG SET has left it.
    for limit in Limit::ALL.into_iter().filter(|limit| document.limit(*limit) != new.limit(*limit))
    {
        options::set(module, limit, new.limit(limit)).map_err(Failure::Input)?;
        news.push(format!("{} = {}", limit.option(), new.limit(limit)));
    }
    if module.catalog.any_reads_through() {
        ffi::wake(ffi::look_from_now_on);
    }
    ffi::wake(preload::ask_soon);
    ffi::wake(behind::document_changed);
    *document = new;
    let news = if news.is_empty() { "nothing new".into() } else { news.join("; ") };
    log(
        Level::Notice,
        &format!("the document and the tables' definitions were read again: {news}"),
    );
    Ok(())
}

/// What can't change while the server runs.
fn must_not_differ(old: &Config, new: &Config) -> Result<(), Failure> {
    let differs = [
        ("url", old.url != new.url),
        ("url_file", old.url_file != new.url_file),
        ("prefix", old.prefix != new.prefix),
        ("db", old.db != new.db),
        ("journal", old.journal != new.journal),
        ("follow", old.follow != new.follow),
        ("atomic_multi", old.atomic_multi != new.atomic_multi),
        ("session", old.session != new.session),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        None => Ok(()),
        Some((key, _)) => Err(Failure::Input(format!(
            "{key}: it has changed in the document, which needs a restart of the server; \
             nothing was taken over"
        ))),
    }
}

/// Which mappings have come, gone and changed, by their names.
fn differences(old: &[MappingConfig], new: &[MappingConfig]) -> Vec<String> {
    let named = |list: &[MappingConfig], name: &str| {
        list.iter().find(|mapping| mapping.name() == name).cloned()
    };
    let names = |list: &[MappingConfig], keep: &dyn Fn(&MappingConfig) -> bool| {
        let names = list.iter().filter(|mapping| keep(mapping)).map(|mapping| mapping.name());
        names.map(str::to_string).collect::<Vec<_>>().join(", ")
    };
    let is_changed =
        |mapping: &MappingConfig| named(old, mapping.name()).is_some_and(|old| old != *mapping);
    let lists = [
        ("added", names(new, &|mapping| named(old, mapping.name()).is_none())),
        ("changed", names(new, &is_changed)),
        ("removed", names(old, &|mapping| named(new, mapping.name()).is_none())),
    ];
    let lists = lists.into_iter().filter(|(_, names)| !names.is_empty());
    lists.map(|(what, names)| format!("{what} {names}")).collect()
}
