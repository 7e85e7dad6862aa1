//! The storage of bodies that are on their way, in blocks that all threads share.
//!
//! A single buffer that doubles would be copied each time, and leave behind holes that its next size does not fit into. Blocks that
//! went back to the C library would stay with the thread that had them: each thread keeps as much as it has ever used, and together
//! that is more than all of them ever used at a time. So a block goes back to where any thread finds it. This knows no limits; what
//! may be taken is the concern of `crowd`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Octets of one block.
pub(super) const BLOCK_BYTES: usize = 64 * 1024;

/// Blocks that are kept when no body is on its way, and beside half of those that are in use.
const IDLE_BLOCKS: usize = 32;

/// The blocks of one transport.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Blocks>);

#[derive(Debug, Default)]
struct Blocks {
    idle: Vec<Vec<u8>>,
    used: usize,
}

impl Pool {
    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        // The list is whole after every change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<u8> {
        let mut blocks = self.blocks();
        blocks.used += 1;
        let idle = blocks.idle.pop();
        drop(blocks);
        idle.unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES))
    }

    fn give_back(&self, mut block: Vec<u8>) {
        block.clear();
        let mut blocks = self.blocks();
        blocks.used -= 1;
        blocks.idle.push(block);
        let kept = blocks.used / 2 + IDLE_BLOCKS;
        let surplus = if blocks.idle.len() > kept { blocks.idle.split_off(kept) } else { Vec::new() };
        drop(blocks);
        drop(surplus);
    }
}

/// A body on its way. Its beginning grows like any buffer; what does not fit into that is kept in blocks.
#[derive(Debug)]
pub(super) struct Body {
    pool: Arc<Pool>,
    beginning: Vec<u8>,
    blocks: Vec<Vec<u8>>,
    length: usize,
}

impl Body {
    pub(super) const fn new(pool: Arc<Pool>) -> Self {
        Self { pool, beginning: Vec::new(), blocks: Vec::new(), length: 0 }
    }

    /// Octets that have come.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    pub(super) fn append(&mut self, mut octets: &[u8]) {
        self.length += octets.len();
        while !octets.is_empty() {
            let last = self.blocks.last_mut().unwrap_or(&mut self.beginning);
            if last.len() == BLOCK_BYTES {
                self.blocks.push(self.pool.take());
                continue;
            }
            let (fitting, rest) = octets.split_at(octets.len().min(BLOCK_BYTES - last.len()));
            if last.len() + fitting.len() > last.capacity() {
                // Doubling, and never to more than a block.
                let capacity = (2 * last.capacity()).clamp(last.len() + fitting.len(), BLOCK_BYTES);
                last.reserve_exact(capacity - last.len());
            }
            last.extend_from_slice(fitting);
            octets = rest;
        }
    }

    /// What it takes of the memory.
    pub(super) fn capacity(&self) -> u64 {
        (self.beginning.capacity() + self.blocks.len() * BLOCK_BYTES) as u64
    }

    /// The body in one piece. While a large one is put together, it is there twice: once for each thread at the most.
    pub(super) fn join(mut self) -> Vec<u8> {
        let beginning = std::mem::take(&mut self.beginning);
        if self.blocks.is_empty() {
            return beginning;
        }
        let mut whole = Vec::with_capacity(self.length);
        whole.extend_from_slice(&beginning);
        self.blocks.iter().for_each(|block| whole.extend_from_slice(block));
        whole
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.blocks.drain(..).for_each(|block| self.pool.give_back(block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_together_whatever_their_pieces() {
        let whole: Vec<u8> = (0..3 * BLOCK_BYTES + 5).map(|place| (place % 251) as u8).collect();
        let pool = Arc::new(Pool::default());
        for length in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, whole.len()] {
            for piece in [7, 1000, BLOCK_BYTES, BLOCK_BYTES + 1, whole.len()] {
                let mut body = Body::new(Arc::clone(&pool));
                whole[..length].chunks(piece).for_each(|octets| body.append(octets));
                let capacity = usize::try_from(body.capacity()).unwrap();
                assert!(
                    capacity >= length && capacity <= (2 * length).max(length + BLOCK_BYTES),
                    "{capacity} for {length}"
                );
                assert!(body.length() == length && body.join() == whole[..length], "{length} in pieces of {piece}");
            }
        }
        assert_eq!(pool.blocks().used, 0);
    }

    #[test]
    fn blocks_are_used_again_and_not_kept_for_ever() {
        let pool = Arc::new(Pool::default());
        let count = || {
            let blocks = pool.blocks();
            (blocks.used, blocks.idle.len())
        };
        let body = |blocks: usize| {
            let mut body = Body::new(Arc::clone(&pool));
            body.append(&vec![b'x'; (blocks + 1) * BLOCK_BYTES]);
            body
        };
        let (one, two) = (body(100), body(60));
        assert_eq!(count(), (160, 0));
        // Whichever thread asks next gets them.
        drop(two);
        assert_eq!(count(), (100, 60));
        let three = body(50);
        assert_eq!(count(), (150, 10));
        drop(one);
        assert_eq!(count(), (50, 50 / 2 + IDLE_BLOCKS));
        drop(three);
        assert_eq!(count(), (0, IDLE_BLOCKS));
    }
}
