//! The fixed pool of pipes through which downloads pass without entering user space.
//!
//! A session has one only while there are bytes in it, which is no longer than one turn of its task unless its receiver's
//! socket took less than it had room for. Such sessions may have three quarters of the pipes; the last quarter is for
//! sessions that drain. Who gets none copies instead, and is counted.

use mtrelay_core::sys::splice::Pipe;
use std::cell::{Cell, RefCell};
use std::io;

/// Pipes that stay open when the relay has gone quiet.
const KEPT_WHEN_QUIET: usize = 1;

/// The pool.
#[derive(Debug)]
pub struct Pipes {
    size: usize,
    count: usize,
    free: RefCell<Vec<Pipe>>,
    in_use: Cell<usize>,
    high_water: Cell<usize>,
    misses: Cell<u64>,
    /// A pipe with some bytes that are never taken out of it.
    stamp: RefCell<Option<Pipe>>,
}

/// What the pool looks like at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// The most pipes there may be.
    pub count: usize,
    /// Pipes with bytes in them.
    pub in_use: usize,
    /// The most that ever were.
    pub high_water: usize,
    /// How often somebody copied because there was none.
    pub misses: u64,
}

impl Pipes {
    /// A pool of `count` pipes of `size` bytes, none of them open yet.
    #[must_use]
    pub fn new(count: usize, size: usize) -> Pipes {
        Pipes {
            size,
            count,
            free: RefCell::default(),
            in_use: Cell::new(0),
            high_water: Cell::new(0),
            misses: Cell::new(0),
            stamp: RefCell::default(),
        }
    }

    /// Puts `bytes` into a pipe without a page of its own for them. They are the same at each call.
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

    /// Whether there are any at all.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.count > 0
    }

    /// Whether taking `more` of them reaches into the last quarter. Who gets one of it is to put no more into it than fits its
    /// receiver's socket.
    #[must_use]
    pub fn are_scarce(&self, more: usize) -> bool {
        self.in_use.get() + more > self.count - self.count.div_ceil(4)
    }

    /// An empty pipe, to be given back as soon as it is empty again.
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

    /// One that was taken is gone, with what was in it.
    pub fn lost(&self) {
        self.in_use.set(self.in_use.get() - 1);
    }

    /// Closes most of the free ones. For a relay that has gone quiet.
    pub fn trim(&self) {
        let mut free = self.free.borrow_mut();
        free.truncate(KEPT_WHEN_QUIET);
        free.shrink_to_fit();
        self.stamp.take();
    }

    /// What the pool looks like now.
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
    fn the_last_quarter_is_for_those_who_drain() {
        let pipes = Pipes::new(4, 4096);
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
    fn of_one_pipe_those_who_stall_get_none() {
        let pipes = Pipes::new(1, 4096);
        assert!(pipes.take(false).is_none());
        assert!(pipes.take(true).is_some());
        assert!(!Pipes::new(0, 4096).exist());
    }

    #[test]
    fn a_quiet_relay_keeps_few() {
        let pipes = Pipes::new(8, 4096);
        let taken: Vec<_> = (0..8).filter_map(|_| pipes.take(true)).collect();
        taken.into_iter().for_each(|pipe| pipes.give_back(pipe));
        pipes.trim();
        assert_eq!(pipes.free.borrow().len(), KEPT_WHEN_QUIET);
        assert_eq!(pipes.levels().in_use, 0);
    }
}
