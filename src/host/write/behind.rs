//! What is written behind: a client is answered when Redis has its write, and PostgreSQL gets it afterwards.

mod attach;
mod change;
mod command;
mod drain;
mod failed;
mod flush;
mod held;
mod info;
mod queue;
mod reports;
mod rows;
mod stream;
mod unread;

use crate::config::{ConfigError, MappingConfig, WriteMode};
use crate::host::ffi;
pub use attach::waits;
pub use command::{at_once, delete, in_line, run, run_and_wait, Command};
pub use drain::{serve, soon};
pub use failed::retry;
pub use flush::flush;
pub use held::send;
pub use info::fields;
pub use queue::{emptied, is_newer, is_waiting, notice, overtaken, reset_all, start};

/// A queue is one stream, and a node of a cluster has some of the keys only.
pub fn check_cluster(mappings: &[MappingConfig]) -> Result<(), ConfigError> {
    let is_behind = |mapping: &MappingConfig| mapping.write == WriteMode::Behind;
    match mappings.iter().position(is_behind).filter(|_| ffi::server_flags().is_cluster()) {
        Some(at) => Err(ConfigError::at(
            format!("mappings[{at}].write"),
            "\"behind\" doesn't work in a cluster yet; write it through",
        )),
        None => Ok(()),
    }
}

/// A one-shot: the document was read again.
pub fn document_changed() {
    if let Some(module) = crate::host::module::module() {
        start(module);
    }
}
