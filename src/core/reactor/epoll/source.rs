//! A descriptor registered with the epoll reactor.

use super::event_loop::{CLOSING, REACTOR, READABLE, Reactor, Registered, WRITABLE};
use crate::reactor::interest::Interest;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

/// A descriptor registered for both directions, and its key in the reactor's table.
pub(in crate::reactor) struct Source<T: AsFd> {
    io: T,
    pub(super) key: u32,
    /// The reactor belongs to one thread.
    _not_send: PhantomData<*const ()>,
}

impl<T: AsFd> Source<T> {
    /// Registers `io`, which is non-blocking.
    pub(in crate::reactor) fn new(io: T) -> io::Result<Source<T>> {
        let key = Reactor::with(|reactor| reactor.add(&io))??;
        Ok(Source {
            io,
            key,
            _not_send: PhantomData,
        })
    }

    pub(in crate::reactor) fn get_ref(&self) -> &T {
        &self.io
    }

    /// Ready unless an operation would have blocked and no event has come since.
    pub(in crate::reactor) fn poll_event(
        &self,
        interest: Interest,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let ready = self.registered(|source| {
            let ready = source.ready & interest.bit() != 0;
            if !ready {
                let waker = match interest {
                    Interest::Read => &mut source.reader,
                    Interest::Write => &mut source.writer,
                };
                match waker {
                    Some(waker) if waker.will_wake(context.waker()) => {}
                    waker => *waker = Some(context.waker().clone()),
                }
            }
            ready
        });
        if ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// An operation would have blocked: the next one waits for an event.
    pub(in crate::reactor) fn would_block(&self, interest: Interest) {
        self.registered(|source| source.ready &= !interest.bit());
    }

    /// An operation moved fewer bytes than it asked for: the next one waits for an event, unless the peer has finished or the connection
    /// has failed. No event follows those, and the end of the stream or the error is still to be read.
    pub(in crate::reactor) fn exhausted(&self, interest: Interest) {
        self.registered(|source| {
            if interest == Interest::Write || source.ready & CLOSING == 0 {
                source.ready &= !interest.bit();
            }
        });
    }

    fn registered<R: Default>(&self, work: impl FnOnce(&mut Registered) -> R) -> R {
        let found =
            Reactor::with(|reactor| reactor.sources.borrow_mut().get_mut(self.key as usize).map(work));
        found.ok().flatten().unwrap_or_default()
    }
}

impl<T: AsFd> Drop for Source<T> {
    fn drop(&mut self) {
        // At the end of a thread there may be no reactor any more.
        let _ = REACTOR.try_with(|reactor| {
            if let Some(reactor) = reactor.get() {
                reactor.remove(self.key);
            }
        });
    }
}

impl Interest {
    fn bit(self) -> u8 {
        match self {
            Interest::Read => READABLE,
            Interest::Write => WRITABLE,
        }
    }
}
