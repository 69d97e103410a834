//! `__items:q1`: the name of a staged key without its braces. Written to, it would be an ordinary key,
//! and nobody would be told.

use crate::host::module::Module;
use crate::model::failure::Failure;
use crate::model::key::{self, Show};

/// The final key that is meant: what comes after the prefix, where that is a mapping's. A name that is
/// a mapping's with the prefix is spelt as it should be.
pub fn target<'a>(module: &Module, key: &'a [u8]) -> Option<&'a [u8]> {
    let target = key.strip_prefix(module.config.prefix.as_bytes())?;
    (module.is_mapped(target) && !module.is_mapped(key)).then_some(target)
}

/// What its writer is told.
pub fn refusal(module: &Module, key: &[u8], target: &[u8]) -> Failure {
    let staged = key::staged(module.config.prefix.as_bytes(), target);
    Failure::Input(format!(
        "{} lacks the braces of a staged key; write to {}",
        Show(key),
        Show(&staged)
    ))
}
