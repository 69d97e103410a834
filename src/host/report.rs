//! INFO, WT.STATUS and WT.MAPPINGS.

use super::admit::not_ready;
use super::ffi::Info;
use super::state::{module, Module};
use super::sync;
use super::value::Value;
use super::verify::Verify;
use crate::mapping::{Column, Mapping};

/// What INFO and WT.STATUS show, once.
fn numbers(module: &Module) -> [(&'static std::ffi::CStr, u64); 16] {
    let stats = &module.shared.stats;
    let in_flight = module.state().jobs.len() as u64;
    [
        (c"in_sync", sync::is_in_sync(module).into()),
        (c"writes_acknowledged", stats.acknowledged.get()),
        (
            c"writes_refused",
            stats.refused.get() + stats.down.get() + stats.busy.get() + stats.bad_input.get(),
        ),
        (c"writes_refused_by_database", stats.refused.get()),
        (c"writes_timed_out", stats.timed_out.get()),
        (c"writes_refused_down", stats.down.get()),
        (c"writes_refused_busy", stats.busy.get()),
        (c"writes_refused_bad_input", stats.bad_input.get()),
        (c"in_flight", in_flight),
        (c"waiting", stats.waiting.get()),
        (c"sync_writes", stats.sync.get()),
        (c"batches", stats.batches.get()),
        (c"statements", stats.statements.get()),
        (c"rows", stats.rows.get()),
        (c"retries", stats.retries.get()),
        (c"pool_size", module.config.pool_size as u64),
    ]
}

fn texts(module: &Module) -> [(&'static std::ffi::CStr, String); 5] {
    let verify = module.state().verify.as_ref().map(Verify::progress);
    let database = if module.shared.health.is_up() { "up" } else { "down" };
    [
        (c"version", env!("CARGO_PKG_VERSION").to_string()),
        (c"database", database.to_string()),
        (c"last_error", module.shared.stats.last_error()),
        (c"sync", sync::progress(module)),
        (c"verify", verify.unwrap_or_else(|| "idle".into())),
    ]
}

/// The module's sections of INFO.
pub fn info(out: &mut Info) {
    let Some(module) = module() else { return };
    if out.section(c"stats") {
        texts(module).iter().for_each(|(name, text)| out.text(name, text));
        numbers(module).iter().for_each(|(name, number)| out.number(name, *number));
    }
}

/// WT.STATUS: the same as a map.
pub fn status() -> Value {
    let Some(module) = module() else {
        return not_ready();
    };
    let name = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    let texts = texts(module).into_iter().map(|(n, text)| (name(n), Value::text(text)));
    let numbers = numbers(module).into_iter().map(|(n, v)| (name(n), Value::Integer(v as i64)));
    Value::Map(texts.chain(numbers).collect())
}

/// WT.MAPPINGS: what the document and the catalog say of each mapping.
pub fn mappings() -> Value {
    let Some(module) = module() else {
        return not_ready();
    };
    match module.catalog.mappings() {
        Ok(mappings) => Value::List(mappings.iter().map(|m| mapping(m)).collect()),
        Err(why) => Value::error(format!(
            "WTDOWN {}",
            why.or_else(|| module.shared.health.refusal()).unwrap_or_default()
        )),
    }
}

fn mapping(mapping: &Mapping) -> Value {
    let (schema, table) = &mapping.table;
    let key: Vec<&str> =
        mapping.columns[..mapping.key_len].iter().map(|c| c.info.name.as_str()).collect();
    let ttl = mapping.ttl.map_or(Value::text("none"), |ttl| Value::Integer(ttl as i64));
    Value::Map(vec![
        ("name".into(), Value::text(&*mapping.name)),
        ("table".into(), Value::text(format!("{schema}.{table}"))),
        ("key".into(), Value::text(key.join(":"))),
        ("unmapped".into(), Value::text(format!("{:?}", mapping.unmapped).to_lowercase())),
        ("ttl".into(), ttl),
        ("columns".into(), Value::List(mapping.columns.iter().map(column).collect())),
    ])
}

fn column(column: &Column) -> Value {
    let field = column.field.clone().unwrap_or_default();
    let nullable = if column.info.not_null { "no" } else { "yes" };
    Value::Map(vec![
        ("field".into(), Value::Bytes(field)),
        ("column".into(), Value::text(&*column.info.name)),
        ("type".into(), Value::text(&*column.info.type_name)),
        ("nullable".into(), Value::text(nullable)),
    ])
}
