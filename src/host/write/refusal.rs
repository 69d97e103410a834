//! Commands that would change a row's key in a way that has no row.

use std::ffi::CString;

use super::admit::{self, not_ready, refuse};
use super::filter;
use super::plain::{self, Written};
use super::server_errors::wrong_arity;
use crate::host::ffi::{Args, Value, Writable};
use crate::host::module::module;
use crate::model::failure::Failure;

/// `args`: the command, behind the name that it was given.
pub fn run(ctx: &Writable, args: Args) -> Option<Value> {
    let Some(module) = module() else { return Some(not_ready()) };
    let words: Vec<&[u8]> = args.from(1).collect();
    let Some(&name) = words.first() else { return Some(wrong_arity(c"wt.refuse")) };
    let key = filter::deciding(module, &words);
    let written = key.map_or(Written::Staged, |key| plain::written(ctx, module, key));
    let name = String::from_utf8_lossy(name).to_uppercase();
    let takes = match (written, key) {
        (Written::Elsewhere, _) => {
            let plain = CString::new(name).unwrap_or_default();
            return plain::run_elsewhere(ctx, &plain, args.behind_name());
        }
        (Written::Plain(_), Some(key)) => match admit::row(ctx, module, written, key) {
            // What is said of the key comes first: that it is no row's, perhaps.
            Err(failure @ Failure::Input(_)) => return Some(refuse(module, &failure)),
            _ => "a row's key takes",
        },
        _ => "a staged key takes",
    };
    let failure = Failure::Input(format!(
        "{name} can't be written through; {takes} HSET, HMSET, HSETNX, HINCRBY, HINCRBYFLOAT, HDEL, DEL \
         and UNLINK"
    ));
    Some(refuse(module, &failure))
}
