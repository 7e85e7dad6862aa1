//! Tables by identifiers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table by identifiers that come from the house and not from strangers, who could choose such as meet in one place.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Identifiers count upwards: spreading them is all a hash has to do.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // The golden ratio's digits: neighbours end far apart, in the high bits and in the low ones.
        let product = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = product ^ (product >> 32);
    }
}
