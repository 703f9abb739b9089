//! The fixed pool of pipes for splice(2): downloads pass through them without entering user space.
//!
//! A session holds a pipe only while it has bytes: no longer than one turn of its task, unless the receiver's socket took less than it
//! had room for. Such sessions may hold three quarters of the pipes; the last quarter is reserved for confirmed readers, which drain
//! theirs at once. A session that gets no pipe copies instead, and a counter is raised.

use mtrelay_core::sys::splice::Pipe;
use std::cell::{Cell, RefCell};
use std::io;

/// Pipes that stay open while there are no sessions.
const KEPT_WHEN_QUIET: usize = 1;

/// The pool.
#[derive(Debug)]
pub struct PipePool {
    size: usize,
    count: usize,
    free: RefCell<Vec<Pipe>>,
    in_use: Cell<usize>,
    high_water: Cell<usize>,
    misses: Cell<u64>,
    /// A pipe that keeps the header of a full TLS record, for tee(2).
    stamp: RefCell<Option<Pipe>>,
}

/// The levels of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// The limit of pipes.
    pub count: usize,
    /// Pipes in use.
    pub in_use: usize,
    /// The largest number in use so far.
    pub high_water: usize,
    /// The number of times that a session copied for want of a pipe.
    pub misses: u64,
}

impl PipePool {
    /// A pool of `count` pipes of `size` bytes, none of them open yet.
    #[must_use]
    pub fn new(count: usize, size: usize) -> PipePool {
        PipePool {
            size,
            count,
            free: RefCell::default(),
            in_use: Cell::new(0),
            high_water: Cell::new(0),
            misses: Cell::new(0),
            stamp: RefCell::default(),
        }
    }

    /// Puts `bytes` into a pipe by tee(2), which takes no page of memory for them. They must be the same at each call.
    ///
    /// # Errors
    /// As tee(2); `WouldBlock` when the pipe is full.
    pub fn stamp(&self, bytes: &[u8], into: &Pipe) -> io::Result<()> {
        let mut stamp = self.stamp.borrow_mut();
        if stamp.is_none() {
            let pipe = Pipe::new(0)?;
            pipe.write(bytes)?;
            *stamp = Some(pipe);
        }
        match &*stamp {
            Some(stamp) => stamp.repeat(into, bytes.len()).map(drop),
            None => into.write(bytes),
        }
    }

    /// Whether splicing is switched on.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.count > 0
    }

    /// Whether taking `more` pipes reaches into the reserved quarter. A session that takes one of those puts no more into it than its
    /// receiver's socket has room for.
    #[must_use]
    pub fn are_scarce(&self, more: usize) -> bool {
        self.in_use.get() + more > self.count - self.count.div_ceil(4)
    }

    /// Takes an empty pipe, to be given back as soon as it is empty again. `drains`: for a confirmed reader.
    pub fn take(&self, drains: bool) -> Option<Pipe> {
        let is_left = self.in_use.get() < self.count && (drains || !self.are_scarce(1));
        let pipe = if is_left {
            let free = self.free.borrow_mut().pop();
            free.or_else(|| Pipe::new(self.size).ok())
        } else {
            None
        };
        let Some(pipe) = pipe else {
            self.misses.set(self.misses.get().wrapping_add(1));
            return None;
        };
        self.in_use.set(self.in_use.get() + 1);
        self.high_water.set(self.high_water.get().max(self.in_use.get()));
        Some(pipe)
    }

    /// Takes an empty pipe back.
    pub fn give_back(&self, pipe: Pipe) {
        self.lost();
        self.free.borrow_mut().push(pipe);
    }

    /// Notes that a pipe is closed with its bytes.
    pub fn lost(&self) {
        self.in_use.set(self.in_use.get() - 1);
    }

    /// Closes the free pipes but [`KEPT_WHEN_QUIET`].
    pub fn trim(&self) {
        let mut free = self.free.borrow_mut();
        free.truncate(KEPT_WHEN_QUIET);
        free.shrink_to_fit();
        self.stamp.take();
    }

    /// The levels now.
    #[must_use]
    pub fn levels(&self) -> Levels {
        Levels {
            count: self.count,
            in_use: self.in_use.get(),
            high_water: self.high_water.get(),
            misses: self.misses.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_quarter_is_reserved_for_confirmed_readers() {
        let pipes = PipePool::new(4, 4096);
        let taken: Vec<_> = (0..4).map_while(|_| pipes.take(false)).collect();
        assert_eq!(taken.len(), 3);
        let last = pipes.take(true).unwrap();
        assert!(pipes.take(true).is_none());
        assert_eq!(
            pipes.levels(),
            Levels {
                count: 4,
                in_use: 4,
                high_water: 4,
                misses: 2
            }
        );
        pipes.give_back(last);
        assert!(pipes.take(false).is_none(), "three are still out");
        assert!(pipes.take(true).is_some());
    }

    #[test]
    fn single_pipe_is_reserved_for_confirmed_readers() {
        let pipes = PipePool::new(1, 4096);
        assert!(pipes.take(false).is_none());
        assert!(pipes.take(true).is_some());
        assert!(!PipePool::new(0, 4096).exist());
    }

    #[test]
    fn quiet_relay_keeps_one_pipe() {
        let pipes = PipePool::new(8, 4096);
        let taken: Vec<_> = (0..8).filter_map(|_| pipes.take(true)).collect();
        taken.into_iter().for_each(|pipe| pipes.give_back(pipe));
        pipes.trim();
        assert_eq!(pipes.free.borrow().len(), KEPT_WHEN_QUIET);
        assert_eq!(pipes.levels().in_use, 0);
    }
}
