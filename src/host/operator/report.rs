//! INFO, WT.STATUS and WT.MAPPINGS.

use std::time::Instant;

use crate::config::limits::Limit;
use crate::engine::percentiles::{Percentiles, Summary};
use crate::host::cache::{follow, in_sync, load_all, verify};
use crate::host::ffi::{self, Info, Value};
use crate::host::module::{module, negative, Module};
use crate::host::write::admit::not_ready;
use crate::host::write::behind;
use crate::host::write::pending::pending;
use crate::model::failure::Class;
use crate::model::mapping::{Column, Mapping};

/// A field's value.
enum Shown {
    Number(u64),
    Text(String),
}

/// A section of INFO: its name, and its fields.
type Section = (&'static str, Vec<(String, Shown)>);

fn text(name: &str, text: impl Into<String>) -> (String, Shown) {
    (name.into(), Shown::Text(text.into()))
}

fn number(name: &str, number: u64) -> (String, Shown) {
    (name.into(), Shown::Number(number))
}

/// `<name>_p50_<unit>` and so on.
fn summary(name: &str, percentiles: &Percentiles, now: Instant) -> [(String, Shown); 3] {
    let Summary { p50, p99, max } = percentiles.summary(now);
    [("p50", p50), ("p99", p99), ("max", max)]
        .map(|(which, value)| number(&format!("{name}_{which}"), value))
}

/// What INFO and WT.STATUS show, in the order in which one wants to know it.
fn sections(module: &Module) -> [Section; 10] {
    let now = Instant::now();
    [
        ("state", state(module)),
        ("latency", latency(module, now)),
        ("pool", pool(module)),
        ("writes", writes(module)),
        ("behind", written_behind(module)),
        ("reads", reads(module)),
        ("load", load()),
        ("follow", follows(module)),
        ("statements", statements(module, now)),
        ("errors", errors(module)),
    ]
}

fn state(module: &Module) -> Vec<(String, Shown)> {
    let stats = &module.shared.stats;
    let (verify, in_flight) = (verify::progress(), pending().jobs.len() as u64);
    let away = module.shared.health.away();
    let seconds = away.as_ref().and_then(|(time, _)| *time).unwrap_or_default().as_secs();
    vec![
        text("version", env!("CARGO_PKG_VERSION")),
        text("database", if away.is_none() { "up" } else { "down" }),
        number("database_down_seconds", seconds),
        text("last_error", stats.last_error()),
        number("in_flight", in_flight),
        number("waiting", stats.waiting.get()),
        number("queue_max", module.shared.limits.get(Limit::QueueMax)),
        number("in_sync", in_sync::is_in_sync(module).into()),
        text("sync", in_sync::progress(module)),
        text("verify", verify.unwrap_or_else(|| "idle".into())),
    ]
}

fn latency(module: &Module, now: Instant) -> Vec<(String, Shown)> {
    let stats = &module.shared.stats;
    let mut fields = Vec::new();
    for (name, timing) in
        [("commit_usec", &stats.commit), ("write_usec", &stats.write), ("load_usec", &stats.load)]
    {
        fields.extend(summary(name, &timing.percentiles, now));
        fields.push(number(&format!("{name}_total"), timing.total.get()));
    }
    fields
}

fn pool(module: &Module) -> Vec<(String, Shown)> {
    let (connections, idle) = module.connections.count();
    vec![
        number("pool_size", module.shared.limits.get(Limit::PoolSize)),
        number("pool_connections", connections.into()),
        number("pool_idle", idle.into()),
        number("connections_lost", module.shared.stats.lost.get()),
        number("connections_failed", module.shared.stats.unconnected.get()),
    ]
}

fn reads(module: &Module) -> Vec<(String, Shown)> {
    let stats = &module.shared.stats;
    vec![
        number("loads", stats.loads.get()),
        number("load_misses", stats.load_misses.get()),
        number("load_shared", stats.load_shared.get()),
        number("load_errors", stats.load_errors.get()),
        number("negative_hits", stats.negative_hits.get()),
        number("negative_entries", negative::count() as u64),
    ]
}

fn follows(module: &Module) -> Vec<(String, Shown)> {
    let (entries, rows, behind) = follow::numbers();
    // Another server's keys come from there.
    let looks = module.config.journal && !ffi::server_flags().is_following();
    let behind = if looks { behind } else { 0 };
    vec![
        number("follow_entries", entries),
        number("follow_rows", rows),
        number("follow_waiting", in_sync::waiting() as u64),
        number("follow_lag_ms", behind),
        number("follow_gaps", module.journal_reader.gaps()),
    ]
}

fn load() -> Vec<(String, Shown)> {
    let fields = load_all::fields().into_iter();
    let show = |(name, field)| match field {
        load_all::Field::Number(n) => number(name, n),
        load_all::Field::Text(shown) => text(name, shown),
    };
    fields.map(show).collect()
}

fn writes(module: &Module) -> Vec<(String, Shown)> {
    let stats = &module.shared.stats;
    let refused: u64 = Class::ALL.into_iter().map(|class| stats.refused(class)).sum();
    vec![
        number("writes_acknowledged", stats.acknowledged.get()),
        number(
            "writes_refused",
            refused + stats.down.get() + stats.busy.get() + stats.bad_input.get(),
        ),
        number("writes_refused_by_database", refused),
        number("writes_refused_down", stats.down.get()),
        number("writes_refused_read_only", stats.read_only.get()),
        number("writes_refused_busy", stats.busy.get()),
        number("writes_refused_bad_input", stats.bad_input.get()),
        number("writes_timed_out", stats.timed_out.get()),
        number("writes_abandoned", stats.abandoned.get()),
        number("sync_writes", stats.sync.get()),
        number("transactions", stats.transactions.get()),
        number("transactions_unmet", stats.unmet.get()),
    ]
}

fn written_behind(module: &Module) -> Vec<(String, Shown)> {
    let stats = &module.shared.stats;
    let mut fields: Vec<_> = behind::fields().map(|(name, value)| number(name, value)).into();
    fields.extend([
        number("behind_max", module.shared.limits.get(Limit::BehindMax)),
        number("behind_written", stats.behind_written.get()),
        number("behind_refused", stats.behind_refused.get()),
        number("behind_lost", stats.behind_lost.get()),
        number("behind_found_older", stats.behind_found_older.get()),
        number("behind_database_older", stats.behind_database_older.get()),
    ]);
    fields
}

fn statements(module: &Module, now: Instant) -> Vec<(String, Shown)> {
    let stats = &module.shared.stats;
    let mut fields = vec![
        number("batches", stats.batches.get()),
        number("statements", stats.statements.get()),
        number("rows", stats.rows.get()),
    ];
    fields.extend(summary("statement_rows", &stats.statement_rows, now));
    fields.extend([
        number("retries", stats.retries.get()),
        number("conflicts", stats.conflicts.get()),
        number("locked", stats.locked.get()),
        number("canceled", stats.canceled.get()),
    ]);
    fields
}

fn errors(module: &Module) -> Vec<(String, Shown)> {
    let stats = &module.shared.stats;
    let field = |class: Class| {
        number(&format!("refused_class_{}", class.code().to_lowercase()), stats.refused(class))
    };
    Class::ALL.map(field).into()
}

/// The module's sections of INFO.
pub fn info(out: &mut Info) {
    let Some(module) = module() else { return };
    for (name, fields) in sections(module) {
        if !out.section(name) {
            continue;
        }
        for (name, value) in fields {
            match value {
                Shown::Number(number) => out.number(&name, number),
                Shown::Text(text) => out.text(&name, &text),
            }
        }
    }
}

/// WT.STATUS: the same as a map.
pub fn status() -> Value {
    let Some(module) = module() else {
        return not_ready();
    };
    let fields = sections(module).into_iter().flat_map(|(_, fields)| fields);
    let value = |(name, value)| match value {
        Shown::Number(number) => (name, Value::Integer(number as i64)),
        Shown::Text(text) => (name, Value::text(text)),
    };
    Value::Map(fields.map(value).collect())
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
    let key: Vec<&str> = mapping.key_columns().collect();
    let ttl = mapping.ttl.map_or(Value::text("none"), |ttl| Value::Integer(ttl as i64));
    let word = |word: &dyn std::fmt::Debug| Value::text(format!("{word:?}").to_lowercase());
    let pattern = mapping.id_pattern.as_ref().map_or("any", |pattern| pattern.text());
    Value::Map(vec![
        ("name".into(), Value::text(&*mapping.name)),
        ("table".into(), Value::text(format!("{schema}.{table}"))),
        ("key".into(), Value::text(key.join(":"))),
        ("unmapped".into(), word(&mapping.unmapped)),
        ("ttl".into(), ttl),
        ("columns".into(), Value::List(mapping.columns.iter().map(column).collect())),
        ("plain_writes".into(), word(&mapping.plain_writes)),
        ("on_delete".into(), word(&mapping.on_delete)),
        ("id_pattern".into(), Value::text(pattern)),
        ("write".into(), Value::text(if mapping.is_behind { "behind" } else { "through" })),
    ])
}

fn column(column: &Column) -> Value {
    let field = column.field.clone().unwrap_or_default();
    let nullable = if column.info.not_null { "no" } else { "yes" };
    let mut shown = vec![
        ("field".into(), Value::Bytes(field)),
        ("column".into(), Value::text(&*column.info.name)),
        ("type".into(), Value::text(&*column.info.type_name)),
        ("nullable".into(), Value::text(nullable)),
    ];
    if let Some(path) = &column.path {
        let keys = path.keys.iter().map(|key| Value::text(&**key)).collect();
        shown.push(("path".into(), Value::List(keys)));
    }
    Value::Map(shown)
}
