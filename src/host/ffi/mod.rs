//! The border to the server: the only `unsafe` of the crate, a concept a file.
//!
//! Everything here runs on the main thread, or on a thread that holds the server's lock, but for
//! [`wake`] and [`log`]. No panic crosses: each callback runs under [`guard`].
#![allow(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod blocked;
mod call;
mod commands;
mod context;
mod entry;
mod events;
mod filter;
mod flags;
mod gate;
mod info;
mod key;
mod latency;
mod load;
mod log;
mod options;
mod quiet;
mod reply;
mod string;
mod timers;
mod value;

pub use blocked::Blocked;
pub use call::{is_elsewhere, Reply, TRY_AGAIN};
pub use commands::{
    Command, KeySpec, Run, KEY_LOOK, KEY_MOVE, KEY_OVERWRITE, KEY_READ, KEY_UPDATE,
};
pub use context::{forget_context, Ctx};
pub use entry::{unload_stand_ins, Entry};
pub use events::{Event, Host, KeyChange};
pub use filter::{tells_whose_command, Filtered};
pub use flags::server_flags;
pub use gate::{Closed, Writable, ASK_AGAIN};
pub use info::Info;
pub use key::{Key, Kind};
pub use latency::latency;
pub use load::OnLoad;
pub use log::{log, Level};
pub use options::Options;
pub use quiet::{look_from_now_on, may_evict, runs_plain, Row};
pub use string::{Args, Str};
pub use timers::{stoppable_timer, timer, wake, Timer};
pub use value::Value;

use std::panic::{catch_unwind, AssertUnwindSafe};

/// Runs a callback; a panic is logged and becomes `None`.
fn guard<T>(what: &str, callback: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(callback)).ok();
    if result.is_none() {
        log(Level::Warning, &format!("{what} panicked; please report this with the lines above"));
    }
    result
}
