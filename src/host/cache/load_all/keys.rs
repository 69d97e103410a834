//! The keys of rows.

use crate::engine::Image;
use crate::model::mapping::Mapping;

/// The parts of the row's key.
pub fn key_of(mapping: &Mapping, row: &Image) -> Vec<Vec<u8>> {
    (0..mapping.key_len).map(|c| row.get(c).unwrap_or_default().to_vec()).collect()
}

/// The row's key; `None` where its id can't be written: a part is empty, or holds what parts the parts.
pub fn final_key(mapping: &Mapping, row: &Image) -> Option<Vec<u8>> {
    let mut key = mapping.name.clone().into_bytes();
    for c in 0..mapping.key_len {
        let part = row.get(c).filter(|part| !part.is_empty())?;
        if c + 1 < mapping.key_len && part.contains(&b':') {
            return None;
        }
        key.push(b':');
        key.extend_from_slice(part);
    }
    Some(key)
}
