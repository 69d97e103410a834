//! One table, as the document describes it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::Deserialize;

#[cfg(test)]
use super::document::schema;
use super::error::ConfigError;
use super::field::FieldConfig;
use super::plain_writes::{IdPattern, OnDelete, PlainWrites};
use super::preload::Preload;
use super::write_mode::WriteMode;

/// One table, as the document describes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MappingConfig {
    /// The part of the key before the first `:`. Default: the table's name without its schema.
    #[serde(default)]
    pub name: Option<String>,
    /// `table` or `schema.table`.
    pub table: String,
    /// The columns that the id in the key stands for. Default: the table's primary key.
    #[serde(default, deserialize_with = "one_or_many")]
    #[cfg_attr(test, schemars(with = "schema::OneOrMany"))]
    pub key: Vec<String>,
    /// Hash field → column, or a value inside a `jsonb` column. Default: every column under its own name.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<BTreeMap<String, schema::Field>>"))]
    pub fields: Option<BTreeMap<String, FieldConfig>>,
    /// What happens to a field that is not mapped.
    #[serde(default)]
    pub unmapped: Unmapped,
    /// Seconds that the final key lives after a write. Default: for ever.
    #[serde(default)]
    pub ttl: Option<u64>,
    /// A read of a final key that is missing loads the row first.
    #[serde(default)]
    pub read_through: bool,
    /// With `read_through`: how long it is remembered that there is no such row, in milliseconds.
    #[serde(default = "default_negative_ttl")]
    pub negative_ttl_ms: u64,
    /// Rows that are loaded in the background at the start: true for all, or an SQL condition.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "schema::Preload"))]
    pub preload: Preload,
    /// What becomes of a write to a plain key, `users:1`.
    #[serde(default)]
    pub plain_writes: PlainWrites,
    /// With `"plain_writes": "through"`: what DEL and UNLINK of a plain key delete.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// A regular expression that the whole id matches. Default: whatever the key's columns can hold.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub id_pattern: Option<IdPattern>,
    /// When a client is answered: when PostgreSQL has committed its write (`through`), or when Redis has it
    /// (`behind`).
    #[serde(default)]
    pub write: WriteMode,
}

/// A day, in milliseconds.
pub(super) const NEGATIVE_TTL_MAX: u64 = 86_400_000;

fn default_negative_ttl() -> u64 {
    1000
}

/// What happens to a field that is not mapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Unmapped {
    /// The write is refused.
    #[default]
    Reject,
    /// The field is kept in Redis only.
    Keep,
}

impl MappingConfig {
    /// The name in the key: given, or the table's.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.schema_and_table().1)
    }

    /// `schema.table` in two parts; a table without a schema is found by the search path.
    pub fn schema_and_table(&self) -> (Option<&str>, &str) {
        match self.table.split_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, &self.table),
        }
    }

    /// Checks what can be known without the table. It is the document's `mappings[index]`.
    pub(super) fn validate(&self, index: usize) -> Result<(), ConfigError> {
        let error = |key: &str, problem: String| {
            Err(ConfigError::at(format!("mappings[{index}].{key}"), problem))
        };
        let name = self.name();
        if name.is_empty() || name.contains([':', '{', '}']) {
            let problem = format!("{name:?} must not be empty nor contain ':', '{{' or '}}'");
            return error("name", problem);
        }
        // No name of PostgreSQL holds a NUL; asked for one, it refuses the whole question.
        if self.table.contains('\0') {
            return error("table", format!("{:?} is no name of a table", self.table));
        }
        if self.ttl == Some(0) {
            let problem = "expected 1 second or more; leave it out to keep keys for ever";
            return error("ttl", problem.into());
        }
        if self.negative_ttl_ms > NEGATIVE_TTL_MAX {
            let problem = format!(
                "{} is out of range, expected 0 to {NEGATIVE_TTL_MAX}, a day",
                self.negative_ttl_ms
            );
            return error("negative_ttl_ms", problem);
        }
        let condition = self.preload.condition().unwrap_or("true");
        if condition.trim().is_empty() || condition.contains('\0') {
            let problem = "expected true, false or an SQL condition like \"state = 'active'\"";
            return error("preload", problem.into());
        }
        if self.on_delete == OnDelete::Delete && self.plain_writes != PlainWrites::Through {
            let problem = "\"delete\" needs \"plain_writes\": \"through\"";
            return error("on_delete", problem.into());
        }
        if self.fields.as_ref().is_some_and(BTreeMap::is_empty) {
            let problem = "expected at least one field; leave it out to map every column";
            return error("fields", problem.into());
        }
        Ok(())
    }
}

/// `"id"` or `["order_id", "line"]`. A visitor, since serde's untagged enums say nothing useful.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMany;
    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a column or a list of columns")
        }

        fn visit_str<E: de::Error>(self, column: &str) -> Result<Self::Value, E> {
            Ok(vec![column.to_string()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut columns = Vec::new();
            while let Some(column) = seq.next_element()? {
                columns.push(column);
            }
            match columns.is_empty() {
                true => Err(de::Error::invalid_length(0, &self)),
                false => Ok(columns),
            }
        }
    }
    deserializer.deserialize_any(OneOrMany)
}
