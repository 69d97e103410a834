//! The loaded module: its one instance, its inbox, and what it tells of itself.

pub mod error_log;
mod inbox;
mod instance;
pub mod latency;
mod main_thread;
pub mod multi;
pub mod negative;
pub mod setting;
mod stale_keys;

pub use inbox::Inbox;
pub use instance::{module, Module};
pub use main_thread::MainThread;
pub use stale_keys::StaleKeys;
