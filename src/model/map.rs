//! Maps by names and keys.

use std::collections::HashMap;

/// A map by what clients may choose. Its hash has a seed of its own, as the standard library's has, and takes an eighth
/// of its instructions.
pub type Map<K, V> = HashMap<K, V, foldhash::quality::RandomState>;
