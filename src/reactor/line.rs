//! A line for tasks that have much to do: after each look at the reactor one of them goes on, behind all whom the look itself has
//! woken, or at once if nobody else is in the line. So whoever has little to say waits for one of them, and not for all.

use super::Reactor;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// Those who wait, in the order in which they came.
#[derive(Default)]
pub(super) struct Line {
    waiting: RefCell<VecDeque<Waker>>,
    /// The number of the next one to go on. Whose number is below it may.
    next: Cell<u32>,
    /// One has gone on since the last look.
    has_moved: Cell<bool>,
}

/// A task's place in the line of its thread, if it has one.
#[derive(Debug, Default)]
pub struct Place {
    number: Option<u32>,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// The next one's turn, after a look.
    pub(super) fn advance(&self) {
        let first = self.waiting.borrow_mut().pop_front();
        self.has_moved.set(first.is_some());
        if let Some(waker) = first {
            self.next.set(self.next.get().wrapping_add(1));
            waker.wake();
        }
    }

    /// The number of who has joined; `None` for whoever may go on at once.
    fn join(&self, waker: &Waker) -> Option<u32> {
        if !self.has_moved.replace(true) {
            return None;
        }
        let mut waiting = self.waiting.borrow_mut();
        let number = self.next.get().wrapping_add(waiting.len() as u32);
        waiting.push_back(waker.clone());
        Some(number)
    }

    pub(super) fn has_called(&self, number: u32) -> bool {
        self.next.get().wrapping_sub(number) as i32 > 0
    }
}

impl Place {
    #[cfg(test)]
    pub(super) fn number(&self) -> Option<u32> {
        self.number
    }

    /// Lines up, and is ready when it is this task's turn; the place is then given up. The task is woken for it.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let line = |reactor: &Reactor| match self.number {
            Some(number) => Some(number).filter(|number| !reactor.line.has_called(*number)),
            None => reactor.line.join(context.waker()),
        };
        // Without a reactor there is nobody to wait for.
        self.number = Reactor::with(line).ok().flatten();
        if self.number.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}
