//! The server's latency monitor.

use std::ffi::CStr;
use std::time::Duration;

use redis_module::raw;

/// Adds to what LATENCY shows of an event. Only on the main thread, and only where the server's
/// threshold is not 0: this call doesn't know that 0 means off.
pub fn latency(event: &CStr, took: Duration) {
    let took = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    // SAFETY: the server copies the name.
    unsafe { raw::RedisModule_LatencyAddSample.unwrap()(event.as_ptr(), took) };
}
