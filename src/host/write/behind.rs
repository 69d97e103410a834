//! What is written behind: a client is answered when Redis has its write, and PostgreSQL gets it afterwards.

mod attach;
mod change;
mod command;
mod drain;
mod failed;
mod flush;
mod gather;
mod held;
mod info;
mod known;
mod place;
mod queue;
mod queues;
mod reports;
mod rows;
mod share;
mod stream;
mod unread;

pub use attach::{elsewhere, is_elsewhere, waits};
pub use command::{at_once, delete, in_line, run, run_and_wait, Command};
pub use drain::{serve, soon};
pub use failed::retry;
pub use flush::flush;
pub use held::send;
pub use info::fields;
pub use known::{is_newer, is_waiting, overtaken};
pub use queues::{emptied, notice, reset_all, start};

/// A one-shot: the document was read again.
pub fn document_changed() {
    if let Some(module) = crate::host::module::module() {
        start(module);
    }
}
