//! Maps by numbers that the process gives itself. No client chooses them, so they need no hash that keeps clients
//! from choosing those that meet.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by such a number: a count, the address of what lives.
pub type Numbered<T> = HashMap<u64, T, BuildHasherDefault<NumberHasher>>;

/// Hashes one number.
#[derive(Debug, Default, Clone, Copy)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(self.0 ^ u64::from(byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing. A map looks at the highest bits and at the lowest.
        let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = spread ^ (spread >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_addresses_are_spread() {
        for step in [1, 16, 4096] {
            let (mut lowest, mut highest) = ([0; 128], [0; 128]);
            for n in 0..12_800_u64 {
                let mut hasher = NumberHasher::default();
                hasher.write_u64(n * step);
                lowest[(hasher.finish() & 127) as usize] += 1;
                highest[(hasher.finish() >> 57) as usize] += 1;
            }
            let most = lowest.iter().chain(&highest).max().unwrap();
            assert!(*most < 300, "of 12,800 numbers {most} meet, 100 are fair");
        }
        let mut map = Numbered::default();
        (0..1000).for_each(|n| assert_eq!(map.insert(n, n), None));
        assert!((0..1000).all(|n| map.remove(&n) == Some(n)));
    }
}
