//! The fixed pool of relay buffers: all user-space memory that holds relayed bytes.
//!
//! The limit is `count` blocks of `size` bytes, whatever the load. A block is allocated on first use and returns to a free list
//! when it is dropped. The list is last in, first out, so that a quiet relay touches few blocks. While all blocks are in use, a
//! task that wants one waits in a first-come, first-served queue. That is a normal answer, and is counted.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Free blocks that stay allocated after [`BufferPool::trim`].
const KEPT_BY_TRIM: usize = 4;

/// The pool. Clones share it.
#[derive(Clone)]
pub(crate) struct BufferPool(Rc<PoolState>);

struct PoolState {
    size: usize,
    count: usize,
    free: RefCell<Vec<Box<[u8]>>>,
    in_use: Cell<usize>,
    high_water: Cell<usize>,
    waits: Cell<u64>,
    queue: RefCell<VecDeque<Rc<Waiter>>>,
}

/// A position in the queue. A returned block is handed over here, so that no later task gets it first.
#[derive(Default)]
struct Waiter {
    handed: Cell<Option<Box<[u8]>>>,
    waker: Cell<Option<Waker>>,
}

/// The pool's numbers at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolLevels {
    /// Bytes in a block.
    pub size: usize,
    /// The limit of blocks.
    pub count: usize,
    /// Blocks in use now.
    pub in_use: usize,
    /// The highest number of blocks in use at once.
    pub high_water: usize,
    /// How often a task had to wait for a block.
    pub waits: u64,
}

impl BufferPool {
    /// A pool of `count` blocks of `size` bytes, none of them allocated yet.
    #[must_use]
    pub(crate) fn new(count: usize, size: usize) -> BufferPool {
        BufferPool(Rc::new(PoolState {
            size,
            count: count.max(1),
            free: RefCell::default(),
            in_use: Cell::new(0),
            high_water: Cell::new(0),
            waits: Cell::new(0),
            queue: RefCell::default(),
        }))
    }

    /// A block, if one is free and no task waits.
    #[must_use]
    pub(crate) fn try_take(&self) -> Option<Block> {
        let shared = &self.0;
        if shared.in_use.get() >= shared.count || !shared.queue.borrow().is_empty() {
            return None;
        }
        let bytes = shared.free.borrow_mut().pop();
        let bytes = bytes.unwrap_or_else(|| vec![0; shared.size].into_boxed_slice());
        shared.in_use.set(shared.in_use.get() + 1);
        shared
            .high_water
            .set(shared.high_water.get().max(shared.in_use.get()));
        Some(Block {
            bytes,
            pool: self.clone(),
        })
    }

    /// A block, after all tasks that asked earlier.
    #[cfg(test)]
    pub(crate) async fn take(&self) -> Block {
        match self.try_take() {
            Some(block) => block,
            None => self.line_up().await,
        }
    }

    /// Takes a position at the end of the queue.
    #[must_use]
    pub(crate) fn line_up(&self) -> Waiting {
        self.0.waits.set(self.0.waits.get().wrapping_add(1));
        let waiter = Rc::new(Waiter::default());
        self.0.queue.borrow_mut().push_back(waiter.clone());
        Waiting {
            pool: self.clone(),
            waiter,
        }
    }

    /// Frees the memory of all but a few free blocks, for a relay without sessions.
    pub(crate) fn trim(&self) {
        let mut free = self.0.free.borrow_mut();
        free.truncate(KEPT_BY_TRIM);
        free.shrink_to(KEPT_BY_TRIM);
    }

    /// The pool's numbers now.
    #[must_use]
    pub(crate) fn levels(&self) -> PoolLevels {
        let shared = &self.0;
        PoolLevels {
            size: shared.size,
            count: shared.count,
            in_use: shared.in_use.get(),
            high_water: shared.high_water.get(),
            waits: shared.waits.get(),
        }
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        let next = self.0.queue.borrow_mut().pop_front();
        match next {
            Some(waiter) => {
                waiter.handed.set(Some(bytes));
                if let Some(waker) = waiter.waker.take() {
                    waker.wake();
                }
            }
            None => {
                self.0.in_use.set(self.0.in_use.get() - 1);
                self.0.free.borrow_mut().push(bytes);
            }
        }
    }
}

/// One block, which returns to the pool when it is dropped. Its contents are those of its last user.
pub(crate) struct Block {
    bytes: Box<[u8]>,
    pool: BufferPool,
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

/// A position in the queue, which is given up when it is dropped.
pub(crate) struct Waiting {
    pool: BufferPool,
    waiter: Rc<Waiter>,
}

impl Future for Waiting {
    type Output = Block;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Block> {
        match self.waiter.handed.take() {
            Some(bytes) => Poll::Ready(Block {
                bytes,
                pool: self.pool.clone(),
            }),
            None => {
                self.waiter.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pool
            .0
            .queue
            .borrow_mut()
            .retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
        if let Some(bytes) = self.waiter.handed.take() {
            self.pool.give_back(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::future::{self, FutureExt as _};

    #[test]
    fn never_more_blocks_than_its_count() {
        let pool = BufferPool::new(2, 16);
        let blocks = [pool.try_take(), pool.try_take()];
        assert!(blocks.iter().all(Option::is_some));
        assert!(pool.try_take().is_none());
        drop(blocks);
        assert_eq!(
            pool.levels(),
            PoolLevels {
                size: 16,
                count: 2,
                in_use: 0,
                high_water: 2,
                waits: 0
            }
        );
    }

    #[test]
    fn first_come_first_served() {
        let order = RefCell::new(Vec::new());
        let executor = smol::LocalExecutor::new();
        let pool = BufferPool::new(1, 16);
        let held = pool.try_take();
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let (pool, order) = (pool.clone(), &order);
                executor.spawn(async move {
                    let block = pool.take().await;
                    order.borrow_mut().push(number);
                    future::yield_now().await;
                    drop(block);
                })
            })
            .collect();
        while executor.try_tick() {}
        drop(held);
        assert!(pool.try_take().is_none(), "the queue goes first");
        while executor.try_tick() {}
        assert!(tasks.iter().all(smol::Task::is_finished));
        drop(tasks);
        drop(executor);
        assert_eq!(order.into_inner(), [0, 1, 2]);
        assert_eq!(pool.levels().waits, 3);
        assert_eq!(pool.levels().in_use, 0);
    }

    #[test]
    fn a_position_given_up_loses_no_block() {
        let pool = BufferPool::new(1, 16);
        let held = pool.try_take();
        let mut gone = Box::pin(pool.take());
        smol::future::block_on(async { gone.as_mut().map_pending().await });
        drop(held);
        drop(gone);
        assert!(
            pool.try_take().is_some(),
            "the block handed to the dropped task is free again"
        );
    }

    /// In any order of taking, waiting, giving up and returning: the limit holds, the queue is served in order, and no block is lost.
    #[test]
    fn it_behaves_as_a_plain_queue_does() {
        for seed in 1..=300_u32 {
            let mut state = seed;
            let mut draw = |below: usize| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as usize % below
            };
            let count = 1 + draw(4);
            let pool = BufferPool::new(count, 8);
            let mut context = Context::from_waker(Waker::noop());
            // Blocks in hand, and a future for each position in the queue.
            let (mut held, mut queue) = (Vec::new(), Vec::new());
            for step in 0..200 {
                match draw(5) {
                    0 => held.extend(pool.try_take()),
                    1 => queue.push(Box::pin(pool.take())),
                    2 if !queue.is_empty() => drop(queue.remove(draw(queue.len()))),
                    3 if !held.is_empty() => drop(held.swap_remove(draw(held.len()))),
                    _ => {}
                }
                // Only the first positions of the queue may be served.
                let mut served = Vec::new();
                for (place, waiting) in queue.iter_mut().enumerate() {
                    if let Poll::Ready(block) = waiting.as_mut().poll(&mut context) {
                        held.push(block);
                        served.push(place);
                    }
                }
                assert!(
                    served.iter().copied().eq(0..served.len()),
                    "seed {seed}, step {step}: {served:?}"
                );
                queue.drain(..served.len());
                assert_eq!(pool.levels().in_use, held.len(), "seed {seed}, step {step}");
                assert!(held.len() <= count, "seed {seed}, step {step}");
                assert!(
                    queue.is_empty() || held.len() == count,
                    "seed {seed}, step {step}: idle blocks"
                );
            }
            drop((queue, held));
            let all: Vec<_> = (0..=count).map(|_| pool.try_take()).collect();
            assert_eq!(all.iter().flatten().count(), count, "seed {seed}");
        }
    }

    /// Polls a future once and expects it to be pending.
    trait MapPending: Future + Sized {
        async fn map_pending(self) {
            let pending = async {
                self.await;
                panic!("there was a block");
            };
            pending.or(async {}).await;
        }
    }

    impl<F: Future> MapPending for F {}
}
