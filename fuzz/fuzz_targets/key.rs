//! A key: taken apart, and put together again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use writethrough::model::key::{has_prefix, id_parts, parse, staged, Show};

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first() else { return };
    let (prefix, key) = rest.split_at(rest.len().min(*length as usize % 8));
    assert!(Show(key).to_string().is_ascii() || key.len() > 64);
    let Ok(taken) = parse(prefix, key) else { return };
    assert!(has_prefix(prefix, key));
    assert_eq!(staged(prefix, taken.target), key);
    assert_eq!([taken.name, b":", taken.id].concat(), taken.target);
    for columns in 1..5 {
        if let Some(parts) = id_parts(taken.id, columns) {
            assert_eq!((parts.len(), parts.join(&b':')), (columns, taken.id.to_vec()));
        }
    }
});
