//! The server's own words for what a client did wrong.

use std::ffi::CStr;

use crate::host::ffi::Value;
use crate::model::key::Show;

/// What Redis says of a key of another type.
pub const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// What Redis says of an increment that is no whole number.
pub const NO_INTEGER: &str = "ERR value is not an integer or out of range";

/// What Redis says of a key that RESTORE would overwrite.
pub const BUSY_KEY: &str = "BUSYKEY Target key name already exists.";

/// What nobody reads: whose write it was has gone.
pub const CLIENT_GONE: &str = "ERR writethrough: the client has gone";

/// A command with too few or too many arguments.
pub fn wrong_arity(plain: &CStr) -> Value {
    let name = plain.to_string_lossy().to_lowercase();
    Value::error(format!("ERR wrong number of arguments for '{name}' command"))
}

/// What a user without the plain command's rights reads.
pub fn no_permission(plain: &CStr, key: &[u8]) -> Value {
    let name = plain.to_string_lossy().to_lowercase();
    Value::error(format!("NOPERM this user has no permissions to run '{name}' on {}", Show(key)))
}
