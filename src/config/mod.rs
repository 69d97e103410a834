//! The mapping document: what it may hold, its defaults, and errors that name the place.
//!
//! The load arguments (`POOL-SIZE 8`) are laid over the document before it is read, so that one
//! set of rules checks both.

pub mod args;
pub mod limits;
pub mod settings;
pub mod suggest;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use percent_encoding::{utf8_percent_encode, NON_ALPHANUMERIC};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::Deserialize;
use serde_json::Value;

use crate::config::limits::Limit;
use crate::config::settings::Settings;

/// What is wrong with the configuration, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", without_secrets(.path), without_secrets(.problem))]
pub struct ConfigError {
    /// The place, as `mappings[0].fields.dob`.
    pub path: String,
    /// What is wrong there and what was expected.
    pub problem: String,
}

impl ConfigError {
    /// An error at `path`.
    pub fn at(path: impl Into<String>, problem: impl Into<String>) -> Self {
        ConfigError { path: path.into(), problem: problem.into() }
    }
}

/// The text up to a connection string in it: one that stands in a wrong place (for a path, a name, a
/// number) is quoted like any other text there, and may hold the password.
fn without_secrets(text: &str) -> String {
    let is_shown = |after: &str| after.is_empty() || after.starts_with(char::is_whitespace);
    let lower = text.to_ascii_lowercase();
    let cut = ["://", "password="].into_iter().filter_map(|word| {
        let ends = lower.match_indices(word).map(|(at, _)| at + word.len());
        ends.filter(|end| !is_shown(&text[*end..])).min()
    });
    cut.min().map_or_else(|| text.to_string(), |end| format!("{}…", &text[..end]))
}

/// The whole document with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This document's JSON Schema, for editors. The module doesn't read it.
    #[serde(default, rename = "$schema")]
    pub schema: Option<String>,
    /// PostgreSQL URL; `${NAME}` is replaced from the environment. Default: `$WRITETHROUGH_URL`.
    #[serde(default)]
    pub url: Option<String>,
    /// A file that holds the URL (a Docker secret). Instead of `url`.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// What a staged key starts with, before `{`.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// The only database index in which staged keys are written through.
    #[serde(default)]
    pub db: i32,
    /// The tables.
    pub mappings: Vec<MappingConfig>,
    /// Note changed keys in a table of the module's own, `writethrough.journal`.
    #[serde(default)]
    pub journal: bool,
    /// Settings of the sessions on which the text of a value depends.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "schema::Session"))]
    pub session: Settings,
    /// Connections, and worker threads.
    #[serde(default = "default_pool_size")]
    pub pool_size: u64,
    /// Writes in one batch, and so rows in one statement, at most.
    #[serde(default = "default_batch_max")]
    pub batch_max: u64,
    /// Writes waiting for a worker at most; past it a write gets `WTBUSY`.
    #[serde(default = "default_queue_max")]
    pub queue_max: u64,
    /// How long a client waits, in milliseconds. Less than its own read time-out.
    #[serde(default = "default_timeout")]
    pub timeout_ms: u64,
    /// How long the server waits where a client can't be blocked, in milliseconds.
    #[serde(default = "default_sync_timeout")]
    pub sync_timeout_ms: u64,
    /// One attempt to connect, in milliseconds.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout_ms: u64,
}

fn default_prefix() -> String {
    "__".into()
}
fn default_pool_size() -> u64 {
    4
}
fn default_batch_max() -> u64 {
    512
}
fn default_queue_max() -> u64 {
    100_000
}
fn default_timeout() -> u64 {
    3000
}
fn default_sync_timeout() -> u64 {
    1000
}
fn default_connect_timeout() -> u64 {
    1000
}

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
    /// Hash field → column. Default: every column under its own name.
    #[serde(default)]
    pub fields: Option<BTreeMap<String, String>>,
    /// What happens to a field that is not mapped.
    #[serde(default)]
    pub unmapped: Unmapped,
    /// Seconds that the final key lives after a write. Default: for ever.
    #[serde(default)]
    pub ttl: Option<u64>,
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
}

impl Config {
    /// Reads a document with the load arguments' scalar options laid over it.
    pub fn parse(document: &str, overrides: Vec<(String, Value)>) -> Result<Config, ConfigError> {
        let mut value: Value = serde_json::from_str(document)
            .map_err(|e| ConfigError::at("document", format!("no valid JSON: {e}")))?;
        let Value::Object(object) = &mut value else {
            return Err(ConfigError::at("document", "expected a JSON object"));
        };
        object.extend(overrides);
        let config: Config = serde_path_to_error::deserialize(value).map_err(|e| {
            let path = match e.path().to_string() {
                root if root == "." => "document".to_string(),
                path => path,
            };
            ConfigError::at(path, e.into_inner().to_string())
        })?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let range = |path: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(ConfigError::at(path, format!("{value} is out of range, expected {low} to {high}")))
        };
        for limit in Limit::ALL {
            let (low, high) = limit.range();
            range(limit.key(), limit.of(self), low, high)?;
        }
        range("db", u64::try_from(self.db).unwrap_or(u64::MAX), 0, i32::MAX as u64)?;
        check_prefix(&self.prefix)?;
        if self.url.is_some() && self.url_file.is_some() {
            return Err(ConfigError::at("url_file", "give `url` or `url_file`, not both"));
        }
        if self.mappings.is_empty() {
            return Err(ConfigError::at("mappings", "expected at least one mapping"));
        }
        self.validate_mappings()
    }

    fn validate_mappings(&self) -> Result<(), ConfigError> {
        for (i, mapping) in self.mappings.iter().enumerate() {
            let name = mapping.name();
            if name.is_empty() || name.contains([':', '{', '}']) {
                return Err(ConfigError::at(
                    format!("mappings[{i}].name"),
                    format!("{name:?} must not be empty nor contain ':', '{{' or '}}'"),
                ));
            }
            // No name of PostgreSQL holds a NUL; asked for one, it refuses the whole question.
            if mapping.table.contains('\0') {
                let problem = format!("{:?} is no name of a table", mapping.table);
                return Err(ConfigError::at(format!("mappings[{i}].table"), problem));
            }
            if let Some(j) = self.mappings[..i].iter().position(|m| m.name() == name) {
                return Err(ConfigError::at(
                    format!("mappings[{i}].name"),
                    format!("{name:?} is the name of mappings[{j}] already"),
                ));
            }
            if mapping.ttl == Some(0) {
                return Err(ConfigError::at(
                    format!("mappings[{i}].ttl"),
                    "expected 1 second or more; leave it out to keep keys for ever",
                ));
            }
            if mapping.fields.as_ref().is_some_and(BTreeMap::is_empty) {
                return Err(ConfigError::at(
                    format!("mappings[{i}].fields"),
                    "expected at least one field; leave it out to map every column",
                ));
            }
        }
        Ok(())
    }

    /// The PostgreSQL URL from `url`, `url_file` or `$WRITETHROUGH_URL`, with `${NAME}` replaced.
    pub fn resolve_url(&self, env: impl Fn(&str) -> Option<String>) -> Result<String, ConfigError> {
        if let Some(path) = &self.url_file {
            let text = std::fs::read_to_string(path)
                .map_err(|e| ConfigError::at("url_file", format!("{}: {e}", path.display())))?;
            if text.trim().is_empty() {
                return Err(ConfigError::at(
                    "url_file",
                    format!("{}: it is empty", path.display()),
                ));
            }
            return expand("url_file", text.trim(), env);
        }
        match &self.url {
            Some(url) => expand("url", url, env),
            None => env("WRITETHROUGH_URL").ok_or_else(|| {
                ConfigError::at(
                    "url",
                    "missing; give `url`, `url_file` or the environment variable WRITETHROUGH_URL",
                )
            }),
        }
    }
}

/// A staged key begins with something that other keys don't begin with.
pub fn check_prefix(prefix: &str) -> Result<(), ConfigError> {
    match prefix.is_empty() {
        true => Err(ConfigError::at("prefix", "must not be empty")),
        false => Ok(()),
    }
}

/// Replaces `${NAME}` by the environment's value. A name that is not set is an error, not "".
fn expand(
    path: &str,
    text: &str,
    env: impl Fn(&str) -> Option<String>,
) -> Result<String, ConfigError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else {
            return Err(ConfigError::at(path, "`${` without its `}`"));
        };
        let name = &rest[start + 2..start + length];
        let value = env(name).ok_or_else(|| {
            ConfigError::at(path, format!("the environment variable {name} is not set"))
        })?;
        out.push_str(&rest[..start]);
        rest = &rest[start + length + 1..];
        // A user or password may hold any character; a host or a whole URL is taken as it is.
        let is_url = out.contains("://");
        let in_userinfo = is_url && rest.contains('@');
        if in_userinfo || (is_url && out.contains('?')) {
            out.extend(utf8_percent_encode(&value, NON_ALPHANUMERIC));
        } else if !is_url && out.contains('=') {
            // A value of libpq's `host=… password=…`, within quotes or not.
            let is_special = |c: char| c.is_whitespace() || matches!(c, '\'' | '\\');
            let escape = |c: char| is_special(c).then_some('\\').into_iter().chain([c]);
            out.extend(value.chars().flat_map(escape));
        } else {
            out.push_str(&value);
        }
    }
    out.push_str(rest);
    Ok(out)
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

#[cfg(test)]
#[path = "config_schema.rs"]
mod schema;

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
