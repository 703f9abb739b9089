//! A descriptor that is watched: waiting until reading or writing is worth a try, and doing so.

use super::{CLOSING, REACTOR, READABLE, Reactor, Source, WRITABLE};
use rustix::event::{PollFd, PollFlags, Timespec};
use smol::io::{AsyncRead, AsyncWrite};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A direction of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

/// Something with a non-blocking descriptor, watched by this thread's reactor. One task at a time waits for each direction.
pub struct Async<T: AsFd> {
    io: T,
    pub(super) key: u32,
    /// It belongs to one thread.
    _not_send: PhantomData<*const ()>,
}

impl<T: AsFd> Async<T> {
    /// Watches `io`, and makes it non-blocking.
    ///
    /// # Errors
    /// As fcntl(2) and epoll_ctl(2).
    pub fn new(io: T) -> io::Result<Async<T>> {
        rustix::io::ioctl_fionbio(&io, true)?;
        Async::new_nonblocking(io)
    }

    /// Watches `io`, which is non-blocking already.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn new_nonblocking(io: T) -> io::Result<Async<T>> {
        let key = Reactor::with(|reactor| reactor.add(&io))??;
        Ok(Async {
            io,
            key,
            _not_send: PhantomData,
        })
    }

    /// What is watched.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Waits until there is something to read, an end, or an error, whatever was read or written meanwhile.
    ///
    /// # Errors
    /// None at present.
    pub async fn readable(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_level(Way::Read, context)).await
    }

    /// Waits until there is room to write, or an error, whatever was read or written meanwhile.
    ///
    /// # Errors
    /// None at present.
    pub async fn writable(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_level(Way::Write, context)).await
    }

    /// Does `work` as soon as it does not block.
    ///
    /// # Errors
    /// As `work`.
    pub async fn read_with<R>(&self, mut work: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|context| self.poll_with(Way::Read, context, &mut work)).await
    }

    /// Does `work` as soon as it does not block.
    ///
    /// # Errors
    /// As `work`.
    pub async fn write_with<R>(&self, mut work: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        poll_fn(|context| self.poll_with(Way::Write, context, &mut work)).await
    }

    /// As [`Async::readable`].
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_level(Way::Read, context)
    }

    /// As [`Async::writable`].
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_level(Way::Write, context)
    }

    /// Whether reading is worth a try. Who then finds nothing says so with [`Async::not_readable`].
    pub fn may_read(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_hint(Way::Read, context)
    }

    /// Whether writing is worth a try. Who then finds no room says so with [`Async::not_writable`].
    pub fn may_write(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll_hint(Way::Write, context)
    }

    /// Reading would block.
    pub fn not_readable(&self) {
        self.clear(Way::Read);
    }

    /// Writing would block.
    pub fn not_writable(&self) {
        self.clear(Way::Write);
    }

    /// Whether the peer has finished, or the connection failed: then a short read was not the last one.
    pub fn is_closing(&self) -> bool {
        self.source(|source| source.ready & CLOSING != 0)
    }

    fn source<R: Default>(&self, work: impl FnOnce(&mut Source) -> R) -> R {
        let found =
            Reactor::with(|reactor| reactor.sources.borrow_mut().get_mut(self.key as usize).map(work));
        found.ok().flatten().unwrap_or_default()
    }

    fn clear(&self, way: Way) {
        self.source(|source| source.ready &= !way.bit());
    }

    fn poll_hint(&self, way: Way, context: &mut Context<'_>) -> Poll<()> {
        let ready = self.source(|source| {
            let ready = source.ready & way.bit() != 0;
            if !ready {
                let waker = match way {
                    Way::Read => &mut source.reader,
                    Way::Write => &mut source.writer,
                };
                match waker {
                    Some(waker) if waker.will_wake(context.waker()) => {}
                    waker => *waker = Some(context.waker().clone()),
                }
            }
            ready
        });
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Asks the kernel if the hint says yes: for those who read or write without telling what they found.
    fn poll_level(&self, way: Way, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_hint(way, context).is_pending() {
            return Poll::Pending;
        }
        let flags = match way {
            Way::Read => PollFlags::IN | PollFlags::RDHUP,
            Way::Write => PollFlags::OUT,
        };
        let mut polled = [PollFd::new(&self.io, flags)];
        match rustix::event::poll(&mut polled, Some(&Timespec::default())) {
            Ok(0) => {
                self.clear(way);
                self.poll_hint(way, context).map(Ok)
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_with<R>(
        &self,
        way: Way,
        context: &mut Context<'_>,
        work: &mut impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        while self.poll_hint(way, context).is_ready() {
            match work(&self.io) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.clear(way),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return Poll::Ready(other),
            }
        }
        Poll::Pending
    }
}

impl<T: AsFd> Drop for Async<T> {
    fn drop(&mut self) {
        // At the end of a thread there may be no reactor any more.
        let _ = REACTOR.try_with(|reactor| {
            if let Some(reactor) = reactor.get() {
                reactor.remove(self.key);
            }
        });
    }
}

impl<T: AsFd> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Async({:?})", self.io.as_fd())
    }
}

impl Way {
    fn bit(self) -> u8 {
        match self {
            Way::Read => READABLE,
            Way::Write => WRITABLE,
        }
    }
}

impl<T: AsFd> AsyncRead for &Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(Way::Read, context, &mut |mut io: &T| io.read(buffer))
    }
}

impl<T: AsFd> AsyncWrite for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_with(Way::Write, context, &mut |mut io: &T| io.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl<T: AsFd + Unpin> AsyncRead for Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(context, buffer)
    }
}

impl<T: AsFd + Unpin> AsyncWrite for Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
