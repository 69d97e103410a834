//! The server's log.

use std::ffi::CString;
use std::sync::atomic::Ordering;

use redis_module::raw;

use super::context::DETACHED;

/// Levels of the server's log.
#[derive(Debug, Clone, Copy)]
pub enum Level {
    /// What an operator wants to know.
    Notice,
    /// What an operator must know.
    Warning,
}

/// Writes one line to the server's log. Any thread may call it.
pub fn log(level: Level, text: &str) {
    let level = match level {
        Level::Notice => c"notice",
        Level::Warning => c"warning",
    };
    // One line, whatever a database or a document puts into it.
    let text = text.replace(|c: char| c.is_control(), " ");
    let text = CString::new(text).unwrap_or_default();
    // SAFETY: the text is an argument of "%s", never the format. RM_Log takes a NULL context, and
    // only reads the module's name from one that is not.
    unsafe {
        let ctx = DETACHED.load(Ordering::Acquire);
        raw::RedisModule_Log.unwrap()(ctx, level.as_ptr(), c"%s".as_ptr(), text.as_ptr());
    }
}
