//! What the operator says: the mapping document, the load arguments, the options; and errors that name
//! the place.

pub mod args;
mod document;
mod error;
pub mod limits;
mod mapping;
mod preload;
pub mod settings;
pub mod suggest;
mod url;

pub use document::{check_prefix, Config};
pub use error::ConfigError;
pub use mapping::{MappingConfig, Unmapped};
pub use preload::Preload;
