//! Fair queue for bulk transfers: after each look at the reactor, tasks woken by I/O run first, then one queued bulk task. So a task with
//! a few bytes waits for one bulk turn, not for all of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

thread_local! {
    static FAIR_QUEUE: FairQueue = const { FairQueue::new() };
}

/// The bulk tasks of a thread that wait for their turn. Holders go first.
struct FairQueue {
    holders: Queue,
    others: Queue,
    /// Whether a bulk task has run since the last look. If none has, the next one need not wait.
    has_run: Cell<bool>,
}

/// First in, first out.
struct Queue {
    waiting: RefCell<VecDeque<Waker>>,
    /// The number of the next ticket to be called. Smaller numbers have been called. It wraps around.
    next: Cell<u32>,
}

/// A task's place in the fair queue of its thread, if it waits. A dropped ticket passes its turn.
#[derive(Debug, Default)]
pub struct Ticket {
    number: Option<(Kind, u32)>,
}

/// The two classes of bulk tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A task that holds a shared resource (a pipe with bytes in it) and returns it in its turn.
    Holder,
    /// Any other task.
    Other,
}

/// Calls the next ticket. The scheduler does so once after each look at the reactor.
pub(super) fn advance() {
    FAIR_QUEUE.with(|queue| {
        let has_run = queue.holders.advance() || queue.others.advance();
        queue.has_run.set(has_run);
    });
}

/// Whether a ticket waits to be called.
pub(super) fn is_waiting() -> bool {
    FAIR_QUEUE.with(|queue| !queue.holders.is_empty() || !queue.others.is_empty())
}

impl FairQueue {
    const fn new() -> FairQueue {
        FairQueue {
            holders: Queue::new(),
            others: Queue::new(),
            has_run: Cell::new(false),
        }
    }

    /// The number of a new ticket; `None` if its task may run at once.
    fn join(&self, kind: Kind, waker: &Waker) -> Option<u32> {
        self.has_run.replace(true).then(|| self.queue(kind).join(waker))
    }

    fn queue(&self, kind: Kind) -> &Queue {
        match kind {
            Kind::Holder => &self.holders,
            Kind::Other => &self.others,
        }
    }
}

impl Queue {
    const fn new() -> Queue {
        Queue {
            waiting: RefCell::new(VecDeque::new()),
            next: Cell::new(0),
        }
    }

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

impl Ticket {
    /// Whether it waits to be called.
    #[cfg(test)]
    pub(super) fn is_waiting(&self) -> bool {
        FAIR_QUEUE.with(|queue| {
            self.number
                .is_some_and(|(kind, number)| !queue.queue(kind).has_called(number))
        })
    }

    /// Joins the queue, and is ready at this task's turn, for which the task is woken. The ticket is then used up.
    pub fn poll(&mut self, kind: Kind, context: &mut Context<'_>) -> Poll<()> {
        self.number = FAIR_QUEUE.with(|queue| match self.number {
            Some((kind, number)) if queue.queue(kind).has_called(number) => None,
            Some(ticket) => Some(ticket),
            None => Some((kind, queue.join(kind, context.waker())?)),
        });
        if self.number.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}
