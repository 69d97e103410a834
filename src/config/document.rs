//! The mapping document: what it may hold, and its defaults.
//!
//! The load arguments (`POOL-SIZE 8`) are laid over the document before it is read, so that one
//! set of rules checks both.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::error::ConfigError;
use super::limits::Limit;
use super::mapping::MappingConfig;
use super::settings::Settings;
use super::write_mode::WriteMode;

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
    /// What other programs write is followed: the module makes triggers on the tables, and keeps the journal.
    #[serde(default)]
    pub follow: bool,
    /// The writes of one MULTI/EXEC are one transaction in PostgreSQL. Redis 7.2 and later, and Valkey.
    #[serde(default)]
    pub atomic_multi: bool,
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
    /// Ids that are known to have no row, at most.
    #[serde(default = "default_negative_max")]
    pub negative_max: u64,
    /// Commands of one `WT.TRANSACTION`, at most.
    #[serde(default = "default_transaction_max")]
    pub transaction_max: u64,
    /// How long a token of `WT.ONCE` is kept, in seconds.
    #[serde(default = "default_once_ttl")]
    pub once_ttl: u64,
    /// With `follow`: how often the journal is read, in milliseconds.
    #[serde(default = "default_follow_interval")]
    pub follow_interval_ms: u64,
    /// A write that takes longer is logged, in milliseconds; 0: none is.
    #[serde(default = "default_slow_write")]
    pub slow_write_ms: u64,
    /// With `"write": "behind"`: entries of a mapping that wait to be written, at most; past it a write gets
    /// `WTBUSY`.
    #[serde(default = "default_behind_max")]
    pub behind_max: u64,
    /// With `"write": "behind"`: how long a batch that isn't full may wait for more, in milliseconds.
    #[serde(default)]
    pub behind_delay_ms: u64,
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
fn default_negative_max() -> u64 {
    100_000
}
fn default_transaction_max() -> u64 {
    1000
}
fn default_once_ttl() -> u64 {
    86_400
}
fn default_follow_interval() -> u64 {
    100
}
fn default_slow_write() -> u64 {
    1000
}

fn default_behind_max() -> u64 {
    1_000_000
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
        let mut config: Config = serde_path_to_error::deserialize(value).map_err(|e| {
            let path = match e.path().to_string() {
                root if root == "." => "document".to_string(),
                path => path,
            };
            ConfigError::at(path, e.into_inner().to_string())
        })?;
        config.validate()?;
        // What is followed is noted there.
        config.journal |= config.follow;
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
            range(limit.key(), self.limit(limit), low, high)?;
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
            mapping.validate(i)?;
            let name = mapping.name();
            if let Some(j) = self.mappings[..i].iter().position(|m| m.name() == name) {
                return Err(ConfigError::at(
                    format!("mappings[{i}].name"),
                    format!("{name:?} is the name of mappings[{j}] already"),
                ));
            }
            if self.atomic_multi && mapping.write == WriteMode::Behind {
                let problem = "\"behind\" can't go together with atomic_multi: what is written behind can't be \
                               part of a MULTI's transaction";
                return Err(ConfigError::at(format!("mappings[{i}].write"), problem));
            }
        }
        Ok(())
    }

    /// What the document says of a limit, or its default.
    pub const fn limit(&self, limit: Limit) -> u64 {
        match limit {
            Limit::PoolSize => self.pool_size,
            Limit::BatchMax => self.batch_max,
            Limit::QueueMax => self.queue_max,
            Limit::Timeout => self.timeout_ms,
            Limit::SyncTimeout => self.sync_timeout_ms,
            Limit::ConnectTimeout => self.connect_timeout_ms,
            Limit::NegativeMax => self.negative_max,
            Limit::TransactionMax => self.transaction_max,
            Limit::OnceTtl => self.once_ttl,
            Limit::FollowInterval => self.follow_interval_ms,
            Limit::SlowWrite => self.slow_write_ms,
            Limit::BehindMax => self.behind_max,
            Limit::BehindDelay => self.behind_delay_ms,
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

#[cfg(test)]
#[path = "config_schema.rs"]
pub(super) mod schema;

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
