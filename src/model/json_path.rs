//! A value inside a `jsonb` column.

use super::input_syntax::InputSyntax;
use super::table::{DefaultValue, TableColumn};
use crate::config::JsonType;

/// Where a value is in its column's document, and how it is read and written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JsonPath {
    /// The keys, from the outermost one. Never empty.
    pub keys: Vec<String>,
    /// How it is read and written.
    pub json_type: JsonType,
}

impl JsonPath {
    /// What the statements have to know of the value, as of a column of its own: a number can be added to
    /// it, and the database decides whether there is one.
    pub fn info(&self, column: &TableColumn) -> TableColumn {
        let cast = match self.json_type {
            JsonType::Text => "text",
            JsonType::Json => "jsonb",
        };
        TableColumn {
            name: column.name.clone(),
            cast: cast.into(),
            base: "numeric".into(),
            numeric: true,
            type_name: cast.into(),
            input: InputSyntax::Unknown,
            default: DefaultValue::Null,
            ..TableColumn::default()
        }
    }
}
