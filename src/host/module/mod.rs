//! The loaded module: its parts, its inbox, its error log.

pub mod error_log;
pub mod inbox;
pub mod latency;
pub mod state;
