//! The server's own words for what a client did wrong, and what its refusals of our calls mean.

use std::ffi::CStr;

use crate::host::ffi::{no_rights, Value};
use crate::model::key::Show;

/// What Redis says of a key of another type.
pub const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

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

/// An error of a call, in the words that users know.
pub fn as_user_sees(error: &[u8]) -> Vec<u8> {
    if is_elsewhere(error) {
        // What Redis says of keys that are neither here nor there; clients of a cluster know it.
        return b"TRYAGAIN the slot of this key is moving to another node".to_vec();
    }
    no_rights(error).unwrap_or_else(|| error.to_vec())
}

/// True when the server refuses a call since the key's slot is another node's, or is moving.
pub fn is_elsewhere(error: &[u8]) -> bool {
    error.ends_with(b"Attempted to access a non local key in a cluster node")
}
