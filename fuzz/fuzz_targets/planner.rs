//! The planner against the model of the unit tests: random writes, four bytes each.
#![no_main]

use libfuzzer_sys::fuzz_target;
// What the model names `crate::…`.
use writethrough::{model, plan};

#[path = "../../src/plan/batch_model.rs"]
mod simple;

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(256)];
    if let Err(problem) = simple::check(simple::decode(bytes)) {
        panic!("{problem}");
    }
});
