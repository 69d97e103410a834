//! What the module knows of a row: its table and mapping, keys, changes, values and failures.

pub mod action;
pub mod certain;
pub mod change;
pub mod disclosure;
pub mod entry_id;
pub mod failure;
mod fields;
pub mod form;
pub mod id;
pub mod input_syntax;
pub mod json_path;
pub mod key;
pub mod map;
pub mod mapping;
pub mod range;
pub mod shape;
pub mod slot;
pub mod table;
