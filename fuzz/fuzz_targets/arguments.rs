//! The arguments of MODULE LOAD, one a line. No path is opened: CONFIG is left out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use writethrough::config::args;

fuzz_target!(|bytes: &[u8]| {
    let words: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if words.iter().any(|word| word.eq_ignore_ascii_case(b"CONFIG")) {
        return;
    }
    if let Err(error) = args::parse(&words) {
        assert!(!error.to_string().is_empty());
    }
});
