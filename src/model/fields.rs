//! The key and the hash fields that a document names, checked against the table.

use super::certain;
use super::json_path::JsonPath;
use super::table::{Kind, Table, TableColumn};
use crate::config::suggest;
use crate::config::{ConfigError, MappingConfig};

/// A hash field, checked against the table.
pub(super) struct Field {
    /// Its name.
    pub name: Vec<u8>,
    /// The table's column, by its place.
    pub column: usize,
    /// Where in the column's document it is.
    pub path: Option<JsonPath>,
}

/// What the document says of one mapping, and the table.
pub(super) struct Resolver<'a> {
    /// The place in the document.
    pub path: String,
    /// The mapping.
    pub config: &'a MappingConfig,
    /// The table.
    pub table: &'a Table,
}

impl Resolver<'_> {
    fn column(&self, path: String, name: &str) -> Result<usize, ConfigError> {
        self.table.columns.iter().position(|c| c.name == name).ok_or_else(|| {
            let near = suggest::among(name, self.table.columns.iter().map(|c| c.name.as_str()));
            let table = &self.config.table;
            ConfigError::at(path, format!("table {table:?} has no column {name:?}{near}"))
        })
    }

    /// The key's columns.
    pub fn key(&self) -> Result<Vec<usize>, ConfigError> {
        let path = format!("{}.key", self.path);
        let mut key = Vec::new();
        for name in &self.config.key {
            let column = self.column(path.clone(), name)?;
            if key.contains(&column) {
                return Err(ConfigError::at(path, format!("names column {name:?} twice")));
            }
            key.push(column);
        }
        if key.is_empty() {
            key.clone_from(&self.table.primary_key);
        }
        let table = &self.config.table;
        if key.is_empty() {
            return Err(ConfigError::at(
                path,
                format!("table {table:?} has no primary key; name the key's columns here"),
            ));
        }
        if self.table.kind != Kind::View && !certain::has_arbiter(self.table, &key) {
            return Err(ConfigError::at(
                path,
                format!(
                    "table {table:?} has no unique index on ({}); a staged key must name one row",
                    self.config.key.join(", ")
                ),
            ));
        }
        Ok(key)
    }

    /// Hash fields with their columns, in the order of the table's columns.
    pub fn fields(&self) -> Result<Vec<Field>, ConfigError> {
        let Some(fields) = &self.config.fields else {
            let all = self.table.columns.iter().enumerate();
            let whole = |(column, c): (usize, &TableColumn)| Field {
                name: c.name.clone().into_bytes(),
                column,
                path: None,
            };
            return Ok(all.map(whole).collect());
        };
        let mut found: Vec<Field> = Vec::with_capacity(fields.len());
        for (field, config) in fields {
            let path = format!("{}.fields.{field}", self.path);
            let name = &config.column;
            let column = self.column(path.clone(), name)?;
            let info = &self.table.columns[column];
            let is_inside = !config.path.is_empty();
            if is_inside && info.base != "jsonb" {
                let problem = format!("column {name:?} is of type {}, not jsonb", info.type_name);
                return Err(ConfigError::at(format!("{path}.path"), problem));
            }
            let keys = config.path.clone();
            let inside = is_inside.then_some(JsonPath { keys, json_type: config.json_type });
            let is_it = |other: &&Field| {
                let (a, b) = (other.path.as_ref(), inside.as_ref());
                other.column == column && a.map(|path| &path.keys) == b.map(|path| &path.keys)
            };
            if let Some(other) = found.iter().find(is_it) {
                let other = String::from_utf8_lossy(&other.name);
                let what = if is_inside { "this path of " } else { "" };
                let problem =
                    format!("{what}column {name:?} is the column of field {other:?} already");
                return Err(ConfigError::at(path, problem));
            }
            found.push(Field { name: field.clone().into_bytes(), column, path: inside });
        }
        found.sort_by_key(|field| field.column);
        Ok(found)
    }
}
