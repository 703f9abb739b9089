//! What clients have said and no DC has answered yet: kept, so that it can be said again to another address.
//!
//! It stands in blocks of the relay's pool, like all bytes in hand. Most first messages are a few hundred bytes long, so a
//! block is cut into 16 slots; whoever says more than fits into one gets a block of its own.
//!
//! Promise: no more than a quarter of the pool is ever held, and a session that gets no place simply goes without a second
//! attempt.

use crate::pool::{Block, BufferPool};
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// Slots in a block: 1 KiB each in the default 16 KiB.
const SLOTS: usize = 16;
/// The share of the pool that may be held.
const SHARE: usize = 4;

/// All that is held.
pub struct Holder {
    pool: BufferPool,
    /// The most blocks that it may have.
    limit: usize,
    shelves: RefCell<Shelves>,
}

#[derive(Default)]
struct Shelves {
    /// Blocks that are cut into slots. Their places never change, so that slots can be found again.
    cut: Vec<Option<Shelf>>,
    /// How many blocks there are in all, cut and whole.
    blocks: usize,
}

struct Shelf {
    block: Block,
    /// A bit for each slot in use.
    used: u16,
}

/// What one client has said.
pub struct Held {
    holder: Rc<Holder>,
    place: Place,
    len: usize,
}

enum Place {
    Nowhere,
    Slot { shelf: usize, slot: usize },
    Block(Block),
}

impl Holder {
    /// One that borrows from this pool.
    #[must_use]
    pub fn new(pool: &BufferPool) -> Rc<Holder> {
        Rc::new(Holder {
            // None at all of a pool of three: a question may wait for its answer for long, and others need the rest.
            limit: pool.levels().count / SHARE,
            pool: pool.clone(),
            shelves: RefCell::default(),
        })
    }

    /// How many blocks are held.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.shelves.borrow().blocks
    }

    /// A place for a client that has said nothing yet. It costs nothing before the first byte.
    #[must_use]
    pub fn empty(self: &Rc<Self>) -> Held {
        Held {
            holder: self.clone(),
            place: Place::Nowhere,
            len: 0,
        }
    }

    fn block(&self, shelves: &mut Shelves) -> Option<Block> {
        let block = (shelves.blocks < self.limit).then(|| self.pool.try_take())??;
        shelves.blocks += 1;
        Some(block)
    }

    fn slot(&self) -> Option<Place> {
        let mut shelves = self.shelves.borrow_mut();
        let free = |shelf: &Option<Shelf>| shelf.as_ref().is_some_and(|shelf| shelf.used != u16::MAX);
        let shelf = match shelves.cut.iter().position(free) {
            Some(shelf) => shelf,
            None => {
                let block = self.block(&mut shelves)?;
                let at = shelves.cut.iter().position(Option::is_none);
                let at = at.unwrap_or_else(|| {
                    shelves.cut.push(None);
                    shelves.cut.len() - 1
                });
                shelves.cut[at] = Some(Shelf { block, used: 0 });
                at
            }
        };
        let used = &mut shelves.cut[shelf].as_mut()?.used;
        let slot = used.trailing_ones() as usize;
        *used |= 1 << slot;
        Some(Place::Slot { shelf, slot })
    }

    fn free_slot(&self, shelf: usize, slot: usize) {
        let mut shelves = self.shelves.borrow_mut();
        let Some(emptied) = &mut shelves.cut[shelf] else {
            return;
        };
        emptied.used &= !(1 << slot);
        if emptied.used == 0 {
            shelves.cut[shelf] = None;
            shelves.blocks -= 1;
            if shelves.cut.iter().all(Option::is_none) {
                shelves.cut = Vec::new();
            }
        }
    }

    fn slot_len(&self) -> usize {
        self.pool.levels().size / SLOTS
    }
}

impl Held {
    /// How much it is.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether anything more needs another place, or has none.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match &self.place {
            Place::Nowhere => true,
            Place::Slot { .. } => self.len == self.holder.slot_len(),
            Place::Block(block) => self.len == block.len(),
        }
    }

    /// Makes sure that more can be added; `false` where that cannot be.
    pub fn make_room(&mut self) -> bool {
        match &self.place {
            Place::Nowhere => match self.holder.slot() {
                Some(slot) => self.place = slot,
                None => return false,
            },
            Place::Slot { shelf, slot } if self.len == self.holder.slot_len() => {
                let (shelf, slot) = (*shelf, *slot);
                let Some(mut block) = self.holder.block(&mut self.holder.shelves.borrow_mut()) else {
                    return false;
                };
                let copied = self.read(0..self.len, &mut block);
                debug_assert_eq!(copied, self.len, "a slot fits into a block");
                self.place = Place::Block(block);
                self.holder.free_slot(shelf, slot);
            }
            Place::Slot { .. } => {}
            Place::Block(block) => return self.len < block.len(),
        }
        true
    }

    /// Lets `receive` put bytes where there is room, and keeps those that it says are to be kept.
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

    /// Copies what stands in `range` to the front of `to`, as much as fits; tells how much.
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
            Place::Slot { shelf, slot } => {
                let slot_len = self.holder.slot_len();
                let mut shelves = self.holder.shelves.borrow_mut();
                match &mut shelves.cut[*shelf] {
                    Some(shelf) => use_them(&mut shelf.block[*slot * slot_len..][..slot_len]),
                    None => use_them(&mut []),
                }
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        match self.place {
            Place::Nowhere => {}
            Place::Slot { shelf, slot } => self.holder.free_slot(shelf, slot),
            Place::Block(_) => self.holder.shelves.borrow_mut().blocks -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(held: &mut Held, bytes: &[u8]) {
        for byte in bytes {
            assert!(held.make_room());
            let kept: Result<_, ()> = held.add(|room| {
                room[0] = *byte;
                Ok(0..1)
            });
            assert!(kept.is_ok());
        }
    }

    fn said(held: &mut Held) -> Vec<u8> {
        let mut bytes = vec![0; held.len()];
        assert_eq!(held.read(0..held.len(), &mut bytes), held.len());
        bytes
    }

    #[test]
    fn many_short_questions_share_a_block() {
        let pool = BufferPool::new(8, 64);
        let holder = Holder::new(&pool);
        let mut all: Vec<Held> = (0..SLOTS).map(|_| holder.empty()).collect();
        assert_eq!(pool.levels().in_use, 0, "nothing was said yet");
        for (at, held) in all.iter_mut().enumerate() {
            say(held, &[at as u8; 4]);
        }
        assert_eq!((pool.levels().in_use, holder.blocks()), (1, 1));
        for (at, held) in all.iter_mut().enumerate() {
            assert_eq!(said(held), [at as u8; 4]);
        }
        drop(all);
        assert_eq!((pool.levels().in_use, holder.blocks()), (0, 0));
    }

    #[test]
    fn a_long_question_moves_into_a_block_of_its_own_and_ends_with_it() {
        let pool = BufferPool::new(8, 64);
        let holder = Holder::new(&pool);
        let mut held = holder.empty();
        let bytes: Vec<u8> = (0..64).collect();
        say(&mut held, &bytes);
        assert_eq!(said(&mut held), bytes);
        assert!(!held.make_room(), "a block is all");
        assert_eq!((pool.levels().in_use, holder.blocks()), (1, 1));
        let mut piece = [0; 4];
        assert_eq!(held.read(10..64, &mut piece), 4);
        assert_eq!(piece, [10, 11, 12, 13]);
        drop(held);
        assert_eq!((pool.levels().in_use, holder.blocks()), (0, 0));
    }

    #[test]
    fn a_quarter_of_the_pool_is_the_most() {
        let pool = BufferPool::new(16, 64);
        let holder = Holder::new(&pool);
        let mut all: Vec<Held> = (0..100).map(|_| holder.empty()).collect();
        let mut refused = 0;
        for held in &mut all {
            for _ in 0..64 {
                if held.make_room() {
                    say(held, &[1]);
                } else {
                    refused += 1;
                }
            }
        }
        assert_eq!((pool.levels().in_use, holder.blocks()), (4, 4));
        assert!(refused > 0);
        all.truncate(1);
        assert_eq!((pool.levels().in_use, holder.blocks()), (1, 1));
        let mut another = holder.empty();
        assert!(another.make_room());
    }

    #[test]
    fn a_pool_in_use_leaves_nothing_to_hold_with() {
        let pool = BufferPool::new(8, 64);
        let blocks: Vec<_> = std::iter::from_fn(|| pool.try_take()).collect();
        let mut held = Holder::new(&pool).empty();
        assert!(!held.make_room());
        drop(blocks);
        assert!(held.make_room());
    }

    #[test]
    fn what_is_not_to_be_kept_is_overwritten() {
        let holder = Holder::new(&BufferPool::new(8, 64));
        let mut held = holder.empty();
        assert!(held.make_room());
        let kept: Result<_, ()> = held.add(|room| {
            room.copy_from_slice(&[9, 1, 2, 9]);
            Ok(1..3)
        });
        assert_eq!(kept, Ok(0..2));
        let failed = held.add(|_| Err("broken"));
        assert_eq!(failed, Err("broken"));
        say(&mut held, &[3]);
        assert_eq!(said(&mut held), [1, 2, 3]);
    }
}
