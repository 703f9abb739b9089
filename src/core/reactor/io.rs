//! A descriptor registered with the reactor, and operations on it that wait while they would block.

use super::backend::Source;
use super::interest::Interest;
use rustix::event::{PollFd, PollFlags, Timespec};
use smol::io::{AsyncRead, AsyncWrite};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The result of an operation that did not block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<R> {
    /// Another operation may succeed at once.
    Done(R),
    /// The operation moved fewer bytes than it asked for: another one would block, so the next waits for an event.
    Exhausted(R),
}

/// A non-blocking descriptor registered with this thread's reactor. One task at a time waits for each [`Interest`].
pub struct Async<T: AsFd> {
    pub(super) source: Source<T>,
}

impl<T: AsFd> Async<T> {
    /// Registers `io` and makes it non-blocking.
    ///
    /// # Errors
    /// As fcntl(2) and epoll_ctl(2).
    pub fn new(io: T) -> io::Result<Async<T>> {
        rustix::io::ioctl_fionbio(&io, true)?;
        Async::new_nonblocking(io)
    }

    /// Registers `io`, which is non-blocking already.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn new_nonblocking(io: T) -> io::Result<Async<T>> {
        let source = Source::new(io)?;
        Ok(Async { source })
    }

    /// The registered object.
    pub fn get_ref(&self) -> &T {
        self.source.get_ref()
    }

    /// Runs `work` until it no longer reports [`ErrorKind::WouldBlock`], and waits for an event before each further try. `work` runs only
    /// if the last event says that it may succeed, so `|_| Ok(())` asks the reactor alone, without a system call.
    ///
    /// # Errors
    /// As `work`, except `WouldBlock` and `Interrupted`.
    pub fn poll_io<R>(
        &self,
        interest: Interest,
        context: &mut Context<'_>,
        mut work: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_step(interest, context, |io| work(io).map(Step::Done))
    }

    /// As [`Async::poll_io`], for work that knows when another try would be in vain.
    ///
    /// # Errors
    /// As `work`, except `WouldBlock` and `Interrupted`.
    pub fn poll_step<R>(
        &self,
        interest: Interest,
        context: &mut Context<'_>,
        mut work: impl FnMut(&T) -> io::Result<Step<R>>,
    ) -> Poll<io::Result<R>> {
        loop {
            match self.source.poll_event(interest, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            match work(self.source.get_ref()) {
                Ok(Step::Done(result)) => return Poll::Ready(Ok(result)),
                Ok(Step::Exhausted(result)) => {
                    self.source.exhausted(interest);
                    return Poll::Ready(Ok(result));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.source.would_block(interest),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Runs `work` as soon as it does not block.
    ///
    /// # Errors
    /// As `work`, except `WouldBlock` and `Interrupted`.
    pub async fn try_io<R>(
        &self,
        interest: Interest,
        mut work: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        poll_fn(|context| self.poll_io(interest, context, &mut work)).await
    }

    /// Ready when poll(2) says that an operation would not block. For tasks that do not know what another one has read or written.
    ///
    /// # Errors
    /// None at present.
    pub fn poll_ready(&self, interest: Interest, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_io(interest, context, |io| {
            let flags = match interest {
                Interest::Read => PollFlags::IN | PollFlags::RDHUP,
                Interest::Write => PollFlags::OUT,
            };
            match rustix::event::poll(&mut [PollFd::new(io, flags)], Some(&Timespec::default())) {
                Ok(0) => Err(ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        })
    }

    /// As [`Async::poll_ready`].
    ///
    /// # Errors
    /// None at present.
    pub async fn ready(&self, interest: Interest) -> io::Result<()> {
        poll_fn(|context| self.poll_ready(interest, context)).await
    }
}

impl<T: AsFd> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Async({:?})", self.source.get_ref().as_fd())
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
        self.poll_io(Interest::Read, context, |mut io: &T| io.read(buffer))
    }
}

impl<T: AsFd> AsyncWrite for &Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_io(Interest::Write, context, |mut io: &T| io.write(bytes))
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
