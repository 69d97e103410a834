//! The document's JSON Schema, `examples/writethrough.schema.json`: made from the types and their
//! doc comments, so that editors complete and check what the module accepts.
//!
//! Only tests carry it. `make schema` writes the file.

use schemars::generate::SchemaSettings;
use schemars::transform::{transform_subschemas, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::{json, Value};

use super::Config;
use crate::config::mapping::NEGATIVE_TTL_MAX;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/writethrough.schema.json");

/// How [`crate::config::mapping::one_or_many`] is written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub enum OneOrMany {
    One(String),
    Many(#[schemars(length(min = 1))] Vec<String>),
}

/// How [`crate::config::FieldConfig`] is written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub enum Field {
    Column(String),
    Inside(crate::config::field::Inside),
}

/// How [`crate::config::preload::Preload`] is written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub enum Preload {
    All(bool),
    Where(#[schemars(length(min = 1))] String),
}

/// How [`crate::config::settings::Settings`] is written.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, non_snake_case)]
pub struct Session {
    /// In which order a date like `01/02/2024` is read; all are written in ISO's. Default: the database's.
    DateStyle: Option<String>,
    /// How an interval is written. Default: `postgres`.
    IntervalStyle: Option<String>,
    /// The zone in which a `timestamptz` is written. Default: the database's, or `UTC`.
    TimeZone: Option<String>,
    /// How a `bytea` in an array or a composite value is written: `hex` or `escape`. Default: `hex`.
    bytea_output: Option<String>,
    /// Digits of `real` and `double precision`; 1: as many as it takes. Default: 1.
    extra_float_digits: Option<i64>,
    /// The locale in which `money` is written. Default: the database's, or `C`.
    lc_monetary: Option<String>,
}

/// What `validate` demands beyond the types.
fn rules() -> Vec<(&'static str, Value)> {
    let range = |low: u64, high: u64| json!({ "minimum": low, "maximum": high });
    vec![
        ("", json!({ "not": { "required": ["url", "url_file"] } })),
        ("/properties/db", range(0, i32::MAX as u64)),
        ("/properties/pool_size", range(1, 1000)),
        ("/properties/batch_max", range(1, 10_000)),
        ("/properties/queue_max", range(1, 100_000_000)),
        ("/properties/timeout_ms", range(1, 3_600_000)),
        ("/properties/sync_timeout_ms", range(1, 3_600_000)),
        ("/properties/connect_timeout_ms", range(1, 3_600_000)),
        ("/properties/negative_max", range(0, 100_000_000)),
        ("/properties/transaction_max", range(1, 10_000)),
        ("/properties/behind_max", range(1, 100_000_000)),
        ("/properties/behind_delay_ms", range(0, 60_000)),
        ("/properties/once_ttl", range(1, 31_536_000)),
        ("/properties/follow_interval_ms", range(10, 60_000)),
        ("/properties/slow_write_ms", range(0, 3_600_000)),
        (
            "/properties/session/properties/DateStyle",
            json!({ "enum": ["ISO, MDY", "ISO, DMY", "ISO, YMD"] }),
        ),
        (
            "/properties/session/properties/IntervalStyle",
            json!({ "enum": ["postgres", "iso_8601"] }),
        ),
        ("/properties/prefix", json!({ "minLength": 1 })),
        ("/properties/mappings", json!({ "minItems": 1 })),
        ("/properties/mappings/items/properties/name", json!({ "pattern": "^[^:{}]+$" })),
        ("/properties/mappings/items/properties/fields", json!({ "minProperties": 1 })),
        ("/properties/mappings/items/properties/ttl", json!({ "minimum": 1 })),
        ("/properties/mappings/items/properties/negative_ttl_ms", range(0, NEGATIVE_TTL_MAX)),
    ]
}

/// Leaves out what says nothing to a person who writes a document: that an option may be null,
/// and how Rust stores a number.
#[derive(Clone)]
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(object) = schema.as_object_mut() {
            object.remove("format");
            object
                .retain(|key, value| key != "default" || !(value.is_null() || value == &json!([])));
            let types = object.get_mut("type").and_then(Value::as_array_mut);
            if let Some(types) = types {
                types.retain(|name| name != "null");
                let only = types.remove(0);
                object.insert("type".into(), only);
            }
        }
        transform_subschemas(self, schema);
    }
}

fn schema() -> Value {
    let settings = SchemaSettings::draft07().with(|s| s.inline_subschemas = true);
    let generated =
        settings.with_transform(Plain).into_generator().into_root_schema_for::<Config>();
    let mut schema = generated.to_value();
    schema["title"] = json!("writethrough");
    schema["description"] = json!("The document of CONFIG and JSON: the options and the mappings.");
    for (place, rule) in rules() {
        let object = schema.pointer_mut(place).and_then(Value::as_object_mut);
        let object = object.unwrap_or_else(|| panic!("no {place} in the schema"));
        object.extend(rule.as_object().expect("an object").clone());
    }
    schema
}

#[test]
fn the_file_is_current() {
    let text = format!("{:#}\n", schema());
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        std::fs::write(FILE, &text).expect(FILE);
    }
    let file = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(file == text, "{FILE} isn't what src/config.rs says: run `make schema`");
}

/// True when the schema and the module both accept the document, false when both refuse it.
#[track_caller]
fn accepted(document: &Value) -> bool {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let parsed = Config::parse(&document.to_string(), vec![]);
    assert_eq!(validator.is_valid(document), parsed.is_ok(), "{document}: the module: {parsed:?}");
    parsed.is_ok()
}

fn document(name: &str, value: Value) -> Value {
    let mut document = json!({ "mappings": [{ "table": "users" }] });
    document[name] = value;
    document
}

#[test]
fn the_bounds_are_the_modules() {
    let schema = schema();
    let options = schema["properties"].as_object().expect("an object");
    let numbers = options.iter().filter(|(_, option)| option["type"] == "integer");
    let mut checked = 0;
    for (name, option) in numbers {
        let bound = |bound| option[bound].as_i64().unwrap_or_else(|| panic!("{name}: no {bound}"));
        let (low, high) = (bound("minimum"), bound("maximum"));
        assert!(accepted(&document(name, low.into())) && accepted(&document(name, high.into())));
        assert!(!accepted(&document(name, (low - 1).into())), "{name}");
        assert!(!accepted(&document(name, (high + 1).into())), "{name}");
        let default = option.get("default").unwrap_or_else(|| panic!("{name}: no default"));
        assert!(accepted(&document(name, default.clone())), "{name}");
        checked += 1;
    }
    assert!(checked >= 7, "{checked} numbers");
}

#[test]
fn the_schema_and_the_module_agree() {
    let mapping = |mapping| document("mappings", json!([mapping]));
    for good in [
        document("$schema", json!("writethrough.schema.json")),
        document("url_file", json!("/run/secrets/url")),
        document("session", json!({ "DateStyle": "ISO, DMY", "IntervalStyle": "iso_8601" })),
        document("session", json!({ "TimeZone": "UTC", "extra_float_digits": 0 })),
        mapping(json!({ "table": "users", "key": "id" })),
        mapping(json!({ "table": "shop.lines", "name": "line", "key": ["order_id", "line_no"] })),
        mapping(json!({ "table": "users", "fields": { "first": "first_name" }, "ttl": 1 })),
        mapping(json!({ "table": "users", "unmapped": "keep" })),
    ] {
        assert!(accepted(&good), "{good}");
    }
    for bad in [
        json!([]),
        json!({}),
        document("mappings", json!([])),
        document("prefix", json!("")),
        document("pool_size", json!("8")),
        document("pool_sizes", json!(8)),
        json!({ "url": "postgres://h/d", "url_file": "/f", "mappings": [{ "table": "users" }] }),
        document("session", json!({ "timezone": "UTC" })),
        document("session", json!({ "IntervalStyle": "sql_standard" })),
        document("session", json!({ "DateStyle": "German" })),
        document("session", json!("UTC")),
        mapping(json!({})),
        mapping(json!({ "table": "users", "key": [] })),
        mapping(json!({ "table": "users", "key": 1 })),
        mapping(json!({ "table": "users", "name": "a:b" })),
        mapping(json!({ "table": "users", "fields": {} })),
        mapping(json!({ "table": "users", "fields": { "first": 1 } })),
        mapping(json!({ "table": "users", "unmapped": "drop" })),
        mapping(json!({ "table": "users", "ttl": 0 })),
        mapping(json!({ "table": "users", "tabel": "users" })),
    ] {
        assert!(!accepted(&bad), "{bad}");
    }
}

#[test]
fn every_key_has_a_description() {
    let schema = schema();
    let places =
        ["/properties", "/properties/session/properties", "/properties/mappings/items/properties"];
    for place in places {
        let keys = schema.pointer(place).and_then(Value::as_object).expect(place);
        for (name, key) in keys {
            assert!(key["description"].as_str().is_some_and(|text| text.len() > 10), "{name}");
        }
    }
}
