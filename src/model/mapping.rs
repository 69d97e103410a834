//! A mapping checked against the table: which field is which column, and what the planner must
//! know of the columns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::certain;
use super::fields::{Field, Resolver};
use super::json_path::JsonPath;
use super::map::Map;
use super::shape::Shape;
use super::table::{Kind, Table, TableColumn};
use crate::config::{ConfigError, IdPattern, MappingConfig, OnDelete, PlainWrites};
use crate::config::{Preload, Unmapped, WriteMode};
use crate::model::form::Form;

/// One mapped table. Column numbers are indexes of [`Mapping::columns`].
#[derive(Debug)]
pub struct Mapping {
    /// Distinguishes two readings of the catalog: statements are prepared for one of them.
    pub version: u64,
    /// The part of the key before the first `:`.
    pub name: String,
    /// Schema and name of the table, unquoted.
    pub table: (String, String),
    /// What the table is looked up by, quoted.
    pub relation: String,
    /// Changes when the table does.
    pub fingerprint: String,
    /// What gives its values their text; the catalog's reading fills it in.
    pub shape: Shape,
    /// The key's columns first, then the other mapped ones.
    pub columns: Vec<Column>,
    /// How many of `columns` are the key.
    pub key_len: usize,
    /// What happens to a field that is not mapped.
    pub unmapped: Unmapped,
    /// Seconds that the final key lives after a write.
    pub ttl: Option<u64>,
    /// A read of a final key that is missing loads the row first.
    pub read_through: bool,
    /// How long it is remembered that there is no such row.
    pub negative_ttl: Duration,
    /// Rows that are loaded in the background at the start.
    pub preload: Preload,
    /// What becomes of a write to a plain key.
    pub plain_writes: PlainWrites,
    /// What DEL and UNLINK of a plain key delete, where it is written through.
    pub on_delete: OnDelete,
    /// Which ids are its rows.
    pub id_pattern: Option<IdPattern>,
    /// Clients are answered when Redis has their writes; PostgreSQL gets them afterwards.
    pub is_behind: bool,
    /// The key has a unique index, so that `ON CONFLICT` can name it.
    pub has_arbiter: bool,
    /// A plain table, whose rows are its own: not those of a view or of partitions.
    pub is_table: bool,
    /// Every single write is seen by a trigger, rule or policy.
    pub watched: bool,
    /// What a statement returns is not yet what the table holds: a trigger comes after it.
    pub reread: bool,
    /// See [`certain::row`].
    pub is_certain: bool,
    /// See [`certain::sharing`].
    pub shares: bool,
    /// See [`certain::merging`].
    pub merges: bool,
    /// See [`certain::standing_alone`].
    pub stands_alone: bool,
    fields: Map<Vec<u8>, usize>,
    /// What the catalog says, and which of its columns `columns` are.
    catalog: (Table, Vec<usize>),
}

/// One mapped column.
#[derive(Debug)]
pub struct Column {
    /// The hash field, absent for a key column that no field is mapped to.
    pub field: Option<Vec<u8>>,
    /// What the catalog says; of a value inside a document, what the statements have to know of it.
    pub info: TableColumn,
    /// Where in the column's document the value is; `None`: it is the whole column.
    pub path: Option<JsonPath>,
    /// See [`certain::replacing`].
    pub replaces: bool,
    /// See [`certain::adding`].
    pub adds: bool,
    /// See [`certain::holding_alone`].
    pub holds_alone: bool,
}

/// All mappings, by their names.
#[derive(Debug, Default)]
pub struct Mappings {
    list: Vec<Arc<Mapping>>,
    by_name: Map<Vec<u8>, usize>,
}

impl Mappings {
    /// The mappings in the order of the document; their names are distinct.
    pub fn new(list: Vec<Arc<Mapping>>) -> Mappings {
        let names = list.iter().enumerate();
        let by_name = names.map(|(i, m)| (m.name.clone().into_bytes(), i)).collect();
        Mappings { list, by_name }
    }

    /// The mapping of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Mapping>> {
        self.by_name.get(name).map(|i| &self.list[*i])
    }

    /// All of them, in the order of the document.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Mapping>> {
        self.list.iter()
    }
}

impl Mapping {
    /// Checks `config` (the document's `mappings[index]`) against the table.
    pub fn resolve(
        index: usize,
        config: &MappingConfig,
        table: &Table,
    ) -> Result<Mapping, ConfigError> {
        let resolver = Resolver { path: format!("mappings[{index}]"), config, table };
        let key = resolver.key()?;
        let fields = resolver.fields()?;
        // The key first; a field may be mapped to a key column.
        let (of_key, others): (Vec<Field>, _) =
            fields.into_iter().partition(|field| key.contains(&field.column));
        let key_column = |&c: &usize| {
            let field = of_key.iter().find(|field| field.column == c);
            Column::whole(table, c, field.map(|field| field.name.clone()))
        };
        let mut picked: Vec<usize> = key.clone();
        picked.extend(others.iter().map(|field| field.column));
        let mut columns: Vec<Column> = key.iter().map(key_column).collect();
        columns.extend(others.into_iter().map(|field| match field.path {
            None => Column::whole(table, field.column, Some(field.name)),
            Some(path) => Column::inside(table, field.column, field.name, path),
        }));
        static VERSIONS: AtomicU64 = AtomicU64::new(0);
        Ok(Mapping {
            version: VERSIONS.fetch_add(1, Ordering::Relaxed),
            name: config.name().to_string(),
            table: (table.schema.clone(), table.name.clone()),
            relation: table.relation.clone(),
            fingerprint: table.fingerprint.clone(),
            shape: Shape::default(),
            key_len: key.len(),
            unmapped: config.unmapped,
            ttl: config.ttl,
            read_through: config.read_through,
            negative_ttl: Duration::from_millis(config.negative_ttl_ms),
            preload: config.preload.clone(),
            plain_writes: config.plain_writes,
            on_delete: config.on_delete,
            id_pattern: config.id_pattern.clone(),
            is_behind: config.write == WriteMode::Behind,
            has_arbiter: certain::has_arbiter(table, &key),
            is_table: table.kind == Kind::Table,
            watched: table.watched,
            reread: table.reread,
            is_certain: certain::row(table, &key),
            shares: certain::sharing(table),
            merges: certain::merging(table),
            stands_alone: certain::standing_alone(table, &key),
            fields: columns
                .iter()
                .enumerate()
                .filter_map(|(i, column)| Some((column.field.clone()?, i)))
                .collect(),
            columns,
            catalog: (table.clone(), picked),
        })
    }

    /// The statement runs in a transaction of its own: it must not be done twice, or what it has done
    /// to which row is to be known before the COMMIT.
    pub fn needs_transaction(&self, form: &Form) -> bool {
        form.is_once() || (!self.is_certain && !form.only_looks())
    }

    /// See [`certain::inserting_first`]. A document is changed where it is: nothing is proposed.
    pub fn inserts_first(&self, columns: &[usize]) -> bool {
        if columns.iter().any(|&c| self.columns[c].path.is_some()) {
            return false;
        }
        let (table, picked) = &self.catalog;
        let named: Vec<usize> = columns.iter().map(|&c| picked[c]).collect();
        certain::inserting_first(table, &picked[..self.key_len], &named)
    }

    /// The column of a hash field. `hint` is looked at first: clients name fields in an order.
    pub fn column_of(&self, field: &[u8], hint: usize) -> Option<usize> {
        match self.columns.get(hint) {
            Some(column) if column.field.as_deref() == Some(field) => Some(hint),
            _ => self.fields.get(field).copied(),
        }
    }

    /// Some field is a value inside a document.
    pub fn has_paths(&self) -> bool {
        self.columns.iter().any(|column| column.path.is_some())
    }

    /// How many of the columns are not the key's.
    pub fn value_len(&self) -> usize {
        self.columns.len() - self.key_len
    }

    /// The names of the key's columns.
    pub fn key_columns(&self) -> impl Iterator<Item = &str> {
        self.columns[..self.key_len].iter().map(|c| c.info.name.as_str())
    }

    /// The hash fields, for suggestions.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter_map(|c| std::str::from_utf8(c.field.as_deref()?).ok())
    }
}

impl Column {
    fn whole(table: &Table, column: usize, field: Option<Vec<u8>>) -> Column {
        Column {
            field,
            info: table.columns[column].clone(),
            path: None,
            replaces: certain::replacing(table, column),
            adds: certain::adding(table, column).is_some(),
            holds_alone: certain::holding_alone(table, column),
        }
    }

    fn inside(table: &Table, column: usize, field: Vec<u8>, path: JsonPath) -> Column {
        let info = path.info(&table.columns[column]);
        let holds_alone = certain::holding_alone(table, column);
        let field = Some(field);
        Column { field, info, path: Some(path), replaces: false, adds: false, holds_alone }
    }

    /// The same column, or value inside one, in another reading of the catalog.
    pub fn is_same(&self, other: &Column) -> bool {
        self.info.name == other.info.name && self.path == other.path
    }
}

#[cfg(test)]
#[allow(missing_docs)]
#[path = "mapping_tests.rs"]
pub mod tests;
