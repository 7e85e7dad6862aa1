//! Decompression of what permessage-deflate sent without a context (RFC 7692).

use std::fmt;

use flate2::{Decompress, FlushDecompress};

/// The longest message that is inflated.
const INFLATED_MAX: usize = 1024 * 1024;

/// What the sender left out (section 7.2.2).
const TAIL: &[u8] = b"\x00\x00\xff\xff";

/// One decompressor and its buffer, for any number of messages.
pub(crate) struct Inflate {
    state: Decompress,
    out: Vec<u8>,
}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate").finish_non_exhaustive()
    }
}

impl Default for Inflate {
    fn default() -> Self {
        Self { state: Decompress::new(false), out: Vec::with_capacity(4096) }
    }
}

impl Inflate {
    /// The message in a compressed payload; nothing if it is broken or too long.
    pub(crate) fn message(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.state.reset(false);
        self.out.clear();
        for part in [payload, TAIL] {
            let mut used = 0;
            while used < part.len() {
                if self.out.len() > INFLATED_MAX {
                    return None;
                }
                self.out.reserve(4096);
                let before = self.state.total_in();
                self.state.decompress_vec(&part[used..], &mut self.out, FlushDecompress::Sync).ok()?;
                used += usize::try_from(self.state.total_in() - before).ok()?;
            }
        }
        Some(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        // Section 7.2.3.1, and 7.2.3.3 with a block that is not compressed.
        let mut inflate = Inflate::default();
        for payload in [&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"] {
            assert_eq!(inflate.message(payload), Some(&b"Hello"[..]));
        }
        assert_eq!(inflate.message(b"\xff\xff\xff"), None);
    }
}
