//! A line for tasks that have much to do: after each look at the reactor one of them goes on, behind all whom the look itself has
//! woken, or at once if none has since. So whoever has little to say waits for one of them, and not for all.

use super::Reactor;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// Those who wait: first those who hold what others lack.
#[derive(Default)]
pub(super) struct Line {
    holders: Queue,
    others: Queue,
    /// One has gone on since the last look.
    has_moved: Cell<bool>,
}

/// In the order in which they came.
#[derive(Default)]
struct Queue {
    waiting: RefCell<VecDeque<Waker>>,
    /// The number of the next one to go on. Whose number is below it may.
    next: Cell<u32>,
}

/// A task's place in the line of its thread, if it has one.
#[derive(Debug, Default)]
pub struct Place {
    number: Option<(Kind, u32)>,
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody who holds something that others wait for, and gives it back in its turn.
    Holder,
    /// Somebody else.
    Other,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.others.is_empty()
    }

    /// The next one's turn, after a look.
    pub(super) fn advance(&self) {
        self.has_moved
            .set(self.holders.advance() || self.others.advance());
    }

    /// The number of who has joined; `None` for whoever may go on at once.
    fn join(&self, kind: Kind, waker: &Waker) -> Option<u32> {
        self.has_moved.replace(true).then(|| self.queue(kind).join(waker))
    }

    fn queue(&self, kind: Kind) -> &Queue {
        match kind {
            Kind::Holder => &self.holders,
            Kind::Other => &self.others,
        }
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    fn advance(&self) -> bool {
        let first = self.waiting.borrow_mut().pop_front();
        let Some(waker) = first else { return false };
        self.next.set(self.next.get().wrapping_add(1));
        waker.wake();
        true
    }

    fn join(&self, waker: &Waker) -> u32 {
        let mut waiting = self.waiting.borrow_mut();
        let number = self.next.get().wrapping_add(waiting.len() as u32);
        waiting.push_back(waker.clone());
        number
    }

    fn has_called(&self, number: u32) -> bool {
        self.next.get().wrapping_sub(number) as i32 > 0
    }
}

impl Place {
    /// Whether it is there and not called yet.
    #[cfg(test)]
    pub(super) fn is_waiting(&self) -> bool {
        let line = |reactor: &Reactor| {
            self.number
                .is_some_and(|(kind, number)| !reactor.line.queue(kind).has_called(number))
        };
        Reactor::with(line).unwrap()
    }

    /// Lines up, and is ready when it is this task's turn; the place is then given up. The task is woken for it.
    pub fn poll(&mut self, kind: Kind, context: &mut Context<'_>) -> Poll<()> {
        let line = |reactor: &Reactor| match self.number {
            Some((kind, number)) if reactor.line.queue(kind).has_called(number) => None,
            Some(place) => Some(place),
            None => Some((kind, reactor.line.join(kind, context.waker())?)),
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
