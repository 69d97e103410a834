//! The planner against the model of the unit tests: random writes, four bytes each.
#![no_main]

use libfuzzer_sys::fuzz_target;
// What the model names `crate::…`.
use writethrough::{batch, change, literal, mapping, range, table};

#[path = "../../src/batch_model.rs"]
mod model;

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(256)];
    if let Err(problem) = model::check(model::decode(bytes)) {
        panic!("{problem}");
    }
});
