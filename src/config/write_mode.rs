//! When a client is answered.

use serde::Deserialize;

/// When the client of a write is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum WriteMode {
    /// When PostgreSQL has committed it.
    #[default]
    Through,
    /// When Redis has it; PostgreSQL gets it afterwards, in batches.
    Behind,
}
