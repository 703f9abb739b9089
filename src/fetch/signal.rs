//! A bell between tasks of one thread: who waits is woken by the next ring.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::task::{Context, Poll, Waker};

/// The bell.
#[derive(Default)]
pub(crate) struct Signal {
    rings: Cell<u32>,
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Wakes everybody who waits.
    pub(crate) fn ring(&self) {
        self.rings.set(self.rings.get().wrapping_add(1));
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits for a ring after this call, not after the first poll: look at the state between the two.
    pub(crate) fn wait(&self) -> impl Future<Output = ()> + '_ {
        let heard = self.rings.get();
        poll_fn(move |context| {
            if self.rings.get() != heard {
                return Poll::Ready(());
            }
            self.register(context);
            Poll::Pending
        })
    }

    /// Wakes this task at the next ring.
    pub(crate) fn register(&self, context: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
    }
}
