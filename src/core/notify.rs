//! A wake-up for tasks of one thread: every task that waits on it runs again after the next notification.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::task::{Context, Poll, Waker};

/// Wakes all waiting tasks at once. It carries no value: a woken task looks at the shared state again.
#[derive(Default)]
pub struct Notify {
    generation: Cell<u32>,
    waiting: RefCell<Vec<Waker>>,
}

impl Notify {
    /// Wakes every task that waits.
    pub fn notify(&self) {
        self.generation.set(self.generation.get().wrapping_add(1));
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Completes after the first notification since this call, not since the first poll: a caller that reads the state between
    /// this call and the `await` misses no change.
    pub fn notified(&self) -> impl Future<Output = ()> + '_ {
        let seen = self.generation.get();
        poll_fn(move |context| {
            if self.generation.get() != seen {
                return Poll::Ready(());
            }
            self.register(context);
            Poll::Pending
        })
    }

    /// Wakes the task of `context` at the next notification.
    pub fn register(&self, context: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
    }
}
