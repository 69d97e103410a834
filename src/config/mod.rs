//! What the operator says: the mapping document, the load arguments, the options; and errors that name
//! the place.

pub mod args;
mod document;
mod error;
mod field;
pub mod limits;
mod mapping;
mod plain_writes;
mod preload;
pub mod settings;
pub mod suggest;
mod url;
mod write_mode;

pub use document::{check_prefix, Config};
pub use error::ConfigError;
pub use field::{FieldConfig, JsonType};
pub use mapping::{MappingConfig, Unmapped};
pub use plain_writes::{IdPattern, OnDelete, PlainWrites};
pub use preload::Preload;
pub use write_mode::WriteMode;
