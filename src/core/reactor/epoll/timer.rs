//! Timers of the epoll reactor.

use super::event_loop::{REACTOR, Reactor};
use crate::sys::clock;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A future that is ready at its time, or never.
#[derive(Debug)]
pub struct Timer {
    when: Option<Instant>,
    /// Tells timers of the same time apart in the reactor's map. `None` before the first poll.
    id: Option<u32>,
}

impl Timer {
    /// A timer that fires `duration` from now.
    #[must_use]
    pub fn after(duration: Duration) -> Timer {
        Timer {
            when: clock::now().checked_add(duration),
            id: None,
        }
    }

    /// A timer that fires at `when`.
    #[must_use]
    pub fn at(when: Instant) -> Timer {
        Timer {
            when: Some(when),
            id: None,
        }
    }

    /// A timer that never fires.
    #[must_use]
    pub fn never() -> Timer {
        Timer { when: None, id: None }
    }

    /// Sets another time.
    pub fn set_at(&mut self, when: Instant) {
        *self = Timer::at(when);
    }
}

impl Future for Timer {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Instant> {
        let Some(when) = self.when else {
            return Poll::Pending;
        };
        let now = clock::now();
        if now >= when {
            return Poll::Ready(now);
        }
        let known = self.id;
        // Without a reactor this future is not polled either.
        self.id = Reactor::with(|reactor| {
            let id = known.unwrap_or_else(|| {
                reactor.next_timer.set(reactor.next_timer.get().wrapping_add(1));
                reactor.next_timer.get()
            });
            reactor
                .timers
                .borrow_mut()
                .insert((when, id), context.waker().clone());
            id
        })
        .ok();
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let (Some(when), Some(id)) = (self.when, self.id) else {
            return;
        };
        // At the end of a thread there may be no reactor any more.
        let _ = REACTOR.try_with(|reactor| {
            if let Some(reactor) = reactor.get() {
                reactor.timers.borrow_mut().remove(&(when, id));
            }
        });
    }
}
