//! What a hash field stands for: a column, or a value inside a `jsonb` column.

use std::fmt;

use serde::de::{self, value::MapAccessDeserializer, Deserializer, MapAccess, Visitor};
use serde::Deserialize;

/// What a hash field stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldConfig {
    /// The column.
    pub column: String,
    /// Where in the column's document; empty: the whole column.
    pub path: Vec<String>,
    /// How a value in the document is read and written.
    pub json_type: JsonType,
}

/// How a value inside a document is read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum JsonType {
    /// As a text: a field is written as a JSON string.
    #[default]
    Text,
    /// As JSON: `5`, `"five"`, `[1, 2]`.
    Json,
}

/// The longer form.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Inside {
    /// A `jsonb` column.
    column: String,
    /// The keys that lead to the value, from the outermost one.
    path: Vec<String>,
    /// How the value is read and written.
    #[serde(default, rename = "type")]
    json_type: JsonType,
}

/// A visitor, since serde's untagged enums say nothing useful.
impl<'de> Deserialize<'de> for FieldConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FieldConfig, D::Error> {
        struct OneOf;
        impl<'de> Visitor<'de> for OneOf {
            type Value = FieldConfig;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a column, or {\"column\": …, \"path\": […]}")
            }

            fn visit_str<E: de::Error>(self, column: &str) -> Result<FieldConfig, E> {
                let (path, json_type) = (Vec::new(), JsonType::Text);
                Ok(FieldConfig { column: column.to_string(), path, json_type })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldConfig, A::Error> {
                let inside = Inside::deserialize(MapAccessDeserializer::new(map))?;
                let Inside { column, path, json_type } = inside;
                if path.is_empty() || path.iter().any(|key| key.contains('\0')) {
                    let problem = "path: expected at least one key, as in [\"city\"]";
                    return Err(de::Error::custom(problem));
                }
                Ok(FieldConfig { column, path, json_type })
            }
        }
        deserializer.deserialize_any(OneOf)
    }
}
