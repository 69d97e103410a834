//! Hashes that hold a field for each column and nothing else, so that what a write names need not be looked up to
//! know that it is there.
//!
//! A key is added when the module has made it such a hash, and taken out at any change that the server tells of.
//! What is not told of: a key may expire or be evicted, and a row that is loaded makes it anew, without the fields
//! of columns that are NULL. So such a hash holds nothing but columns' fields, and one with as many fields as there
//! are columns with one has them all.

use std::hash::{BuildHasher, RandomState};

use crate::host::ffi::{Key, Str};
use crate::host::module::MainThread;
use crate::model::mapping::Mapping;

/// Keys that are remembered at most, in 8 bytes each. One takes the place of another.
const PLACES: usize = 1 << 17;

/// A number for each key in its place; 0: none.
struct Known {
    marks: Box<[u64]>,
    /// Two numbers that clients don't know.
    seeds: (u64, u64),
}

static KNOWN: MainThread<Option<Known>> = MainThread::new();

impl Known {
    fn new() -> Known {
        let seed = || RandomState::new().hash_one(()) | 1;
        Known { marks: vec![0; PLACES].into(), seeds: (seed(), seed()) }
    }

    /// The place of a key, and its mark there.
    fn place(&self, key: &[u8]) -> (usize, u64) {
        let mut mark = self.seeds.0 ^ key.len() as u64;
        for chunk in key.chunks(8) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            mark = self.mix(mark ^ u64::from_le_bytes(bytes));
        }
        (mark as usize % PLACES, mark | 1)
    }

    fn mix(&self, number: u64) -> u64 {
        let product = u128::from(number) * u128::from(self.seeds.1);
        (product >> 64) as u64 ^ product as u64 ^ self.seeds.0
    }

    /// That of a row by this reading of the catalog: another one may have other fields.
    fn row(&self, mapping: &Mapping, key: &[u8]) -> (usize, u64) {
        let (place, mark) = self.place(key);
        (place, mark ^ (mapping.version << 1))
    }
}

/// The final key holds a field for each column that has one, and nothing else.
pub fn add(mapping: &Mapping, key: &[u8]) {
    let mut known = KNOWN.get();
    let known = known.get_or_insert_with(Known::new);
    let (place, mark) = known.row(mapping, key);
    known.marks[place] = mark;
}

/// A key has changed.
pub fn changed(key: &[u8]) {
    if let Some(known) = &mut *KNOWN.get() {
        let (place, _) = known.place(key);
        known.marks[place] = 0;
    }
}

/// Any key may be another one now.
pub fn all_changed() {
    *KNOWN.get() = None;
}

/// The hash is known to hold each column's field; `fields` are these.
pub fn is_full(mapping: &Mapping, name: &[u8], hash: &Key, fields: &[Option<Str>]) -> bool {
    let is_known = KNOWN.get().as_ref().is_some_and(|known| {
        let (place, mark) = known.row(mapping, name);
        known.marks[place] == mark
    });
    is_known && hash.len() == fields.iter().flatten().count()
}
