//! The reactor of the crate `async-io`: shared by all threads of the program, and driven by the thread that is in [`block_on`] or else by
//! a helper thread of its own. Each wait for a descriptor registers it again (one-shot).

use super::interest::Interest;
pub use ::async_io::Timer;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

/// A descriptor registered for one-shot events.
pub(super) struct Source<T: AsFd> {
    io: ::async_io::Async<T>,
    /// Bits of interests whose last operation would have blocked, without an event since.
    blocked: Cell<u8>,
    /// Bound to one thread, as with the other backend.
    _not_send: PhantomData<*const ()>,
}

impl<T: AsFd> Source<T> {
    /// Registers `io`, which is non-blocking.
    pub(super) fn new(io: T) -> io::Result<Source<T>> {
        Ok(Source {
            io: ::async_io::Async::new_nonblocking(io)?,
            blocked: Cell::new(0),
            _not_send: PhantomData,
        })
    }

    pub(super) fn get_ref(&self) -> &T {
        self.io.get_ref()
    }

    /// Ready unless an operation would have blocked and no event has come since.
    pub(super) fn poll_event(&self, interest: Interest, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.blocked.get() & bit(interest) == 0 {
            return Poll::Ready(Ok(()));
        }
        let event = match interest {
            Interest::Read => self.io.poll_readable(context),
            Interest::Write => self.io.poll_writable(context),
        };
        if event.is_ready() {
            self.blocked.set(self.blocked.get() & !bit(interest));
        }
        event
    }

    /// An operation would have blocked: the next one waits for an event.
    pub(super) fn would_block(&self, interest: Interest) {
        self.blocked.set(self.blocked.get() | bit(interest));
    }

    /// An operation moved fewer bytes than it asked for: the next one waits for an event. A registration reports the end of the stream and
    /// errors whenever they came, so waiting is safe.
    pub(super) fn exhausted(&self, interest: Interest) {
        self.would_block(interest);
    }
}

fn bit(interest: Interest) -> u8 {
    match interest {
        Interest::Read => 1,
        Interest::Write => 2,
    }
}

/// Runs `future` to its end, and meanwhile wakes the tasks that wait for descriptors and timers.
///
/// # Errors
/// None with this backend.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    Ok(::async_io::block_on(future))
}
