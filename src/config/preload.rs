//! Which rows of a table are loaded by themselves.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::Deserialize;

/// Which rows are loaded in the background at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Preload {
    /// None.
    #[default]
    Nothing,
    /// All rows.
    All,
    /// The rows for which this SQL condition is true.
    Where(String),
}

impl Preload {
    /// The condition, where there is one.
    pub fn condition(&self) -> Option<&str> {
        match self {
            Preload::Where(condition) => Some(condition),
            Preload::Nothing | Preload::All => None,
        }
    }
}

/// `true`, `false` or `"state = 'active'"`. A visitor, since serde's untagged enums say nothing useful.
impl<'de> Deserialize<'de> for Preload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Preload, D::Error> {
        struct OneOf;
        impl Visitor<'_> for OneOf {
            type Value = Preload;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("true, false or an SQL condition")
            }

            fn visit_bool<E: de::Error>(self, all: bool) -> Result<Preload, E> {
                Ok(if all { Preload::All } else { Preload::Nothing })
            }

            fn visit_str<E: de::Error>(self, condition: &str) -> Result<Preload, E> {
                Ok(Preload::Where(condition.to_string()))
            }
        }
        deserializer.deserialize_any(OneOf)
    }
}
