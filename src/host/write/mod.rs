//! A write: admitted, staged, sent, completed, merged, answered.

pub mod acknowledge;
pub mod admit;
pub mod cache_only;
pub mod command;
pub mod completion;
pub mod deadlines;
pub mod deletion;
pub mod elsewhere;
pub mod kept_change;
pub mod merge;
pub mod migrate;
pub mod misspelt;
pub mod overtaken;
pub mod pending;
pub mod rights;
pub mod several;
pub mod staging;
pub mod timeout;
pub mod transfer;
