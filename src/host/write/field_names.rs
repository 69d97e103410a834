//! The hash fields of mappings as the server's strings, made once for each reading of the catalog.

use std::sync::Arc;

use crate::engine::{Image, Numbered};
use crate::host::ffi::Str;
use crate::host::module::MainThread;
use crate::model::mapping::Mapping;

/// Readings of a mapping whose fields are kept as strings.
const MAX: usize = 1024;

/// By the mapping's version. `None` for a column without a field.
type Names = Numbered<Arc<Vec<Option<Str>>>>;

static NAMES: MainThread<Names> = MainThread::new();

/// The mapping's, a column each.
pub fn of(mapping: &Mapping) -> Arc<Vec<Option<Str>>> {
    let make = || {
        let columns = mapping.columns.iter();
        Arc::new(columns.map(|c| c.field.as_deref().map(Str::new)).collect())
    };
    let mut names = NAMES.get();
    // Each reading of the catalog has versions of its own; those in use are soon made again.
    if names.len() >= MAX {
        names.clear();
    }
    names.entry(mapping.version).or_insert_with(make).clone()
}

/// The hash that a row is: the fields whose columns are not NULL, and their values.
pub fn pairs(mapping: &Mapping, row: &Image) -> Vec<(Str, Str)> {
    let names = of(mapping);
    let columns = names.iter().enumerate();
    columns
        .filter_map(|(at, name)| Some((name.as_ref()?.share(), Str::new(row.get(at)?))))
        .collect()
}
