//! Retry buffers: first requests that no DC has answered yet, kept so that they can be sent again to another address.
//!
//! They are in blocks of the relay's pool. Most first requests have a few hundred bytes, so a block is slotted into 16 slots; a longer one
//! gets a block of its own.
//!
//! Promise: retry buffers use at most a quarter of the pool. A session that gets no buffer has no retry.

use crate::pool::{Block, BufferPool};
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// Slots in a block: 1 KiB each in the default 16 KiB.
const SLOTS: usize = 16;
/// Divisor of the pool's blocks that gives the limit: a quarter.
const POOL_DIVISOR: usize = 4;

/// All retry buffers.
pub struct RetryBuffers {
    pool: BufferPool,
    /// The limit of blocks.
    limit: usize,
    blocks_in_use: RefCell<Blocks>,
}

#[derive(Default)]
struct Blocks {
    /// Blocks that are slotted into slots, at fixed indices.
    slotted: Vec<Option<SlottedBlock>>,
    /// The number of blocks in use, slotted and whole.
    blocks: usize,
}

struct SlottedBlock {
    block: Block,
    /// One bit for each slot, set while it is in use.
    used: u16,
}

/// One client's first request.
pub struct RetryBuffer {
    buffers: Rc<RetryBuffers>,
    place: Place,
    len: usize,
}

enum Place {
    Nowhere,
    Slot { block_index: usize, slot: usize },
    Block(Block),
}

impl RetryBuffers {
    /// Retry buffers in blocks of `pool`.
    #[must_use]
    pub fn new(pool: &BufferPool) -> Rc<RetryBuffers> {
        Rc::new(RetryBuffers {
            // A pool of up to three blocks gives none: a request may wait long for its answer, and others need the blocks.
            limit: pool.levels().count / POOL_DIVISOR,
            pool: pool.clone(),
            blocks_in_use: RefCell::default(),
        })
    }

    /// The number of blocks in use.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks_in_use.borrow().blocks
    }

    /// An empty buffer. It takes no memory of the pool before its first byte.
    #[must_use]
    pub fn empty(self: &Rc<Self>) -> RetryBuffer {
        RetryBuffer {
            buffers: self.clone(),
            place: Place::Nowhere,
            len: 0,
        }
    }

    fn block(&self, blocks_in_use: &mut Blocks) -> Option<Block> {
        let block = (blocks_in_use.blocks < self.limit).then(|| self.pool.try_take())??;
        blocks_in_use.blocks += 1;
        Some(block)
    }

    fn slot(&self) -> Option<Place> {
        let mut blocks_in_use = self.blocks_in_use.borrow_mut();
        let free = |block_index: &Option<SlottedBlock>| {
            block_index
                .as_ref()
                .is_some_and(|block_index| block_index.used != u16::MAX)
        };
        let block_index = match blocks_in_use.slotted.iter().position(free) {
            Some(block_index) => block_index,
            None => {
                let block = self.block(&mut blocks_in_use)?;
                let at = blocks_in_use.slotted.iter().position(Option::is_none);
                let at = at.unwrap_or_else(|| {
                    blocks_in_use.slotted.push(None);
                    blocks_in_use.slotted.len() - 1
                });
                blocks_in_use.slotted[at] = Some(SlottedBlock { block, used: 0 });
                at
            }
        };
        let used = &mut blocks_in_use.slotted[block_index].as_mut()?.used;
        let slot = used.trailing_ones() as usize;
        *used |= 1 << slot;
        Some(Place::Slot { block_index, slot })
    }

    fn free_slot(&self, block_index: usize, slot: usize) {
        let mut blocks_in_use = self.blocks_in_use.borrow_mut();
        let Some(emptied) = &mut blocks_in_use.slotted[block_index] else {
            return;
        };
        emptied.used &= !(1 << slot);
        if emptied.used == 0 {
            blocks_in_use.slotted[block_index] = None;
            blocks_in_use.blocks -= 1;
            if blocks_in_use.slotted.iter().all(Option::is_none) {
                blocks_in_use.slotted = Vec::new();
            }
        }
    }

    fn slot_len(&self) -> usize {
        self.pool.levels().size / SLOTS
    }
}

impl RetryBuffer {
    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether a further byte needs a larger place.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match &self.place {
            Place::Nowhere => true,
            Place::Slot { .. } => self.len == self.buffers.slot_len(),
            Place::Block(block) => self.len == block.len(),
        }
    }

    /// Takes a larger place if this one is full; `false` when there is none.
    pub fn make_room(&mut self) -> bool {
        match &self.place {
            Place::Nowhere => match self.buffers.slot() {
                Some(slot) => self.place = slot,
                None => return false,
            },
            Place::Slot { block_index, slot } if self.len == self.buffers.slot_len() => {
                let (block_index, slot) = (*block_index, *slot);
                let Some(mut block) = self.buffers.block(&mut self.buffers.blocks_in_use.borrow_mut()) else {
                    return false;
                };
                let copied = self.read(0..self.len, &mut block);
                debug_assert_eq!(copied, self.len, "a slot fits into a block");
                self.place = Place::Block(block);
                self.buffers.free_slot(block_index, slot);
            }
            Place::Slot { .. } => {}
            Place::Block(block) => return self.len < block.len(),
        }
        true
    }

    /// Calls `receive` with the free room, and keeps the range of it that it returns.
    pub fn add<E>(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> Result<Range<usize>, E>,
    ) -> Result<Range<usize>, E> {
        let len = self.len;
        let kept = self.with(|bytes| {
            let room = bytes.get_mut(len..).unwrap_or_default();
            let kept = receive(room)?;
            room.copy_within(kept.clone(), 0);
            Ok(len..len + kept.len())
        })?;
        self.len = kept.end;
        Ok(kept)
    }

    /// Copies the bytes of `range` to the start of `to`, as many as fit. Returns their number.
    pub fn read(&mut self, range: Range<usize>, to: &mut [u8]) -> usize {
        self.with(|bytes| {
            let from = bytes.get(range).unwrap_or_default();
            let len = from.len().min(to.len());
            to[..len].copy_from_slice(&from[..len]);
            len
        })
    }

    fn with<T>(&mut self, use_them: impl FnOnce(&mut [u8]) -> T) -> T {
        match &mut self.place {
            Place::Nowhere => use_them(&mut []),
            Place::Block(block) => use_them(block),
            Place::Slot { block_index, slot } => {
                let slot_len = self.buffers.slot_len();
                let mut blocks_in_use = self.buffers.blocks_in_use.borrow_mut();
                match &mut blocks_in_use.slotted[*block_index] {
                    Some(block_index) => use_them(&mut block_index.block[*slot * slot_len..][..slot_len]),
                    None => use_them(&mut []),
                }
            }
        }
    }
}

impl Drop for RetryBuffer {
    fn drop(&mut self) {
        match self.place {
            Place::Nowhere => {}
            Place::Slot { block_index, slot } => self.buffers.free_slot(block_index, slot),
            Place::Block(_) => self.buffers.blocks_in_use.borrow_mut().blocks -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(buffer: &mut RetryBuffer, bytes: &[u8]) {
        for byte in bytes {
            assert!(buffer.make_room());
            let kept: Result<_, ()> = buffer.add(|room| {
                room[0] = *byte;
                Ok(0..1)
            });
            assert!(kept.is_ok());
        }
    }

    fn said(buffer: &mut RetryBuffer) -> Vec<u8> {
        let mut bytes = vec![0; buffer.len()];
        assert_eq!(buffer.read(0..buffer.len(), &mut bytes), buffer.len());
        bytes
    }

    #[test]
    fn short_requests_share_a_block() {
        let pool = BufferPool::new(8, 64);
        let buffers = RetryBuffers::new(&pool);
        let mut all: Vec<RetryBuffer> = (0..SLOTS).map(|_| buffers.empty()).collect();
        assert_eq!(pool.levels().in_use, 0, "nothing was received yet");
        for (at, buffer) in all.iter_mut().enumerate() {
            say(buffer, &[at as u8; 4]);
        }
        assert_eq!((pool.levels().in_use, buffers.blocks()), (1, 1));
        for (at, buffer) in all.iter_mut().enumerate() {
            assert_eq!(said(buffer), [at as u8; 4]);
        }
        drop(all);
        assert_eq!((pool.levels().in_use, buffers.blocks()), (0, 0));
    }

    #[test]
    fn long_request_moves_into_its_own_block_and_ends_with_it() {
        let pool = BufferPool::new(8, 64);
        let buffers = RetryBuffers::new(&pool);
        let mut buffer = buffers.empty();
        let bytes: Vec<u8> = (0..64).collect();
        say(&mut buffer, &bytes);
        assert_eq!(said(&mut buffer), bytes);
        assert!(!buffer.make_room(), "a block is all");
        assert_eq!((pool.levels().in_use, buffers.blocks()), (1, 1));
        let mut piece = [0; 4];
        assert_eq!(buffer.read(10..64, &mut piece), 4);
        assert_eq!(piece, [10, 11, 12, 13]);
        drop(buffer);
        assert_eq!((pool.levels().in_use, buffers.blocks()), (0, 0));
    }

    #[test]
    fn a_quarter_of_the_pool_is_the_limit() {
        let pool = BufferPool::new(16, 64);
        let buffers = RetryBuffers::new(&pool);
        let mut all: Vec<RetryBuffer> = (0..100).map(|_| buffers.empty()).collect();
        let mut refused = 0;
        for buffer in &mut all {
            for _ in 0..64 {
                if buffer.make_room() {
                    say(buffer, &[1]);
                } else {
                    refused += 1;
                }
            }
        }
        assert_eq!((pool.levels().in_use, buffers.blocks()), (4, 4));
        assert!(refused > 0);
        all.truncate(1);
        assert_eq!((pool.levels().in_use, buffers.blocks()), (1, 1));
        let mut another = buffers.empty();
        assert!(another.make_room());
    }

    #[test]
    fn pool_in_use_leaves_no_retry_buffer() {
        let pool = BufferPool::new(8, 64);
        let blocks: Vec<_> = std::iter::from_fn(|| pool.try_take()).collect();
        let mut buffer = RetryBuffers::new(&pool).empty();
        assert!(!buffer.make_room());
        drop(blocks);
        assert!(buffer.make_room());
    }

    #[test]
    fn bytes_that_are_not_kept_are_overwritten() {
        let buffers = RetryBuffers::new(&BufferPool::new(8, 64));
        let mut buffer = buffers.empty();
        assert!(buffer.make_room());
        let kept: Result<_, ()> = buffer.add(|room| {
            room.copy_from_slice(&[9, 1, 2, 9]);
            Ok(1..3)
        });
        assert_eq!(kept, Ok(0..2));
        let failed = buffer.add(|_| Err("broken"));
        assert_eq!(failed, Err("broken"));
        say(&mut buffer, &[3]);
        assert_eq!(said(&mut buffer), [1, 2, 3]);
    }
}
