//! The reactor: which descriptors are ready, and whose time has come.
//!
//! One for each thread that asks, and nothing of it is shared: the relay has one thread. A descriptor is registered once, for
//! both directions, edge-triggered (epoll(7)): waiting for it again costs no system call, and an idle one 40 bytes.
//! What is known of its readiness is a hint. Whoever finds that reading or writing would block says so, and waits for the
//! next edge.

use crate::sys::clock;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};
use smol::io::{AsyncRead, AsyncWrite};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Events that are taken from the kernel at once.
const EVENTS: usize = 64;
/// The descriptor that other threads wake us by.
const NOTICE: u64 = u64::MAX;

/// A wait that ends without a reason does no harm, and this long it fits every clock.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
/// The peer has finished or the connection has failed: what is read short is not yet all.
const CLOSING: u8 = 4;

thread_local! {
    static REACTOR: OnceCell<Reactor> = const { OnceCell::new() };
}

struct Reactor {
    epoll: OwnedFd,
    notice: Arc<Notice>,
    sources: RefCell<Vec<Source>>,
    /// The first of the free places, each of which names the next.
    free: Cell<u32>,
    timers: RefCell<BTreeMap<(Instant, u32), Waker>>,
    next_timer: Cell<u32>,
}

/// What is known of one descriptor.
#[derive(Default)]
struct Source {
    ready: u8,
    next_free: u32,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Wakes the thread of a reactor, from any thread.
struct Notice {
    given: AtomicBool,
    asleep: AtomicBool,
    event: OwnedFd,
}

impl Wake for Notice {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.given.store(true, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            // It can only fail when the count is full, and then the thread is awake.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }
}

impl Reactor {
    fn new() -> io::Result<Reactor> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(
            &epoll,
            &event,
            EventData::new_u64(NOTICE),
            EventFlags::IN | EventFlags::ET,
        )?;
        Ok(Reactor {
            epoll,
            notice: Arc::new(Notice {
                given: AtomicBool::new(false),
                asleep: AtomicBool::new(false),
                event,
            }),
            sources: RefCell::default(),
            free: Cell::new(u32::MAX),
            timers: RefCell::default(),
            next_timer: Cell::new(0),
        })
    }

    /// This thread's.
    fn with<R>(work: impl FnOnce(&Reactor) -> R) -> io::Result<R> {
        REACTOR.with(|reactor| {
            if reactor.get().is_none() {
                // Nothing was there, so it is set.
                let _ = reactor.set(Reactor::new()?);
            }
            reactor.get().map(work).ok_or_else(|| ErrorKind::Other.into())
        })
    }

    fn add(&self, fd: impl AsFd) -> io::Result<u32> {
        let mut sources = self.sources.borrow_mut();
        let key = self.free.get();
        let place = key as usize;
        let fresh = Source {
            // Nobody knows: whoever tries finds out.
            ready: READABLE | WRITABLE,
            ..Source::default()
        };
        let key = if let Some(source) = sources.get_mut(place) {
            self.free.set(source.next_free);
            *source = fresh;
            key
        } else {
            sources.push(fresh);
            (sources.len() - 1) as u32
        };
        drop(sources);
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, fd, EventData::new_u64(u64::from(key)), flags)
            .inspect_err(|_| self.remove(key))?;
        Ok(key)
    }

    /// Frees a place. The kernel forgets the descriptor when it is closed; an event that is already on its way is at worst a
    /// wrong hint for who has the place next.
    fn remove(&self, key: u32) {
        let mut sources = self.sources.borrow_mut();
        if let Some(source) = sources.get_mut(key as usize) {
            *source = Source {
                next_free: self.free.get(),
                ..Source::default()
            };
            self.free.set(key);
        }
    }

    /// Takes what the kernel has, waits for it if nobody has anything to do, and wakes whom it is for.
    fn turn(&self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        events.clear();
        self.notice.asleep.store(true, Ordering::SeqCst);
        let timeout = if self.notice.given.load(Ordering::SeqCst) {
            Some(Timespec::default())
        } else {
            self.until_next_timer()
        };
        let waited = epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(events),
            timeout.as_ref(),
        );
        self.notice.asleep.store(false, Ordering::SeqCst);
        match waited {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &*events {
            self.note(event.data.u64(), event.flags);
        }
        self.wake_timers();
        Ok(())
    }

    fn note(&self, key: u64, flags: EventFlags) {
        if key == NOTICE {
            // Edge-triggered: reading it is for the count alone.
            let _ = rustix::io::read(&self.notice.event, &mut [0; 8]);
            return;
        }
        let (mut reader, mut writer) = (None, None);
        if let Some(source) = self.sources.borrow_mut().get_mut(key as usize) {
            let over = EventFlags::HUP | EventFlags::ERR;
            if flags.intersects(EventFlags::RDHUP | over) {
                source.ready |= CLOSING;
            }
            if flags.intersects(EventFlags::IN | EventFlags::RDHUP | over) {
                source.ready |= READABLE;
                reader = source.reader.take();
            }
            if flags.intersects(EventFlags::OUT | over) {
                source.ready |= WRITABLE;
                writer = source.writer.take();
            }
        }
        // Woken outside: a waker may drop what owns a source.
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }

    /// In whole milliseconds, as epoll_wait(2) counts them: never too early.
    fn until_next_timer(&self) -> Option<Timespec> {
        let timers = self.timers.borrow();
        let ((when, _), _) = timers.first_key_value()?;
        let left = when.saturating_duration_since(clock::now()).min(LONGEST_WAIT);
        let millis = left.as_nanos().div_ceil(1_000_000) as u64;
        Some(Timespec {
            tv_sec: (millis / 1000) as _,
            tv_nsec: (millis % 1000 * 1_000_000) as _,
        })
    }

    fn wake_timers(&self) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let now = clock::now();
        loop {
            let mut timers = self.timers.borrow_mut();
            match timers.first_entry() {
                Some(first) if first.key().0 <= now => {
                    let waker = first.remove();
                    drop(timers);
                    waker.wake();
                }
                _ => break,
            }
        }
    }
}

/// Runs `future` to its end, and whatever waits for descriptors and timers meanwhile.
///
/// # Errors
/// When the system has no descriptors for the reactor.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let notice = Reactor::with(|reactor| reactor.notice.clone())?;
    let waker = Waker::from(notice.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        notice.given.store(false, Ordering::SeqCst);
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        loop {
            Reactor::with(|reactor| reactor.turn(&mut events))??;
            if notice.given.load(Ordering::SeqCst) {
                break;
            }
        }
    }
}

/// A direction of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

/// Something with a non-blocking descriptor, watched by this thread's reactor. One task at a time waits for each direction.
pub struct Async<T: AsFd> {
    io: T,
    key: u32,
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

/// A moment to wait for.
#[derive(Debug)]
pub struct Timer {
    when: Option<Instant>,
    /// Its name among those of the same moment, once it is waited for.
    id: Option<u32>,
}

impl Timer {
    /// So long from now.
    #[must_use]
    pub fn after(duration: Duration) -> Timer {
        Timer {
            when: clock::now().checked_add(duration),
            id: None,
        }
    }

    /// At this moment.
    #[must_use]
    pub fn at(when: Instant) -> Timer {
        Timer {
            when: Some(when),
            id: None,
        }
    }

    /// Never.
    #[must_use]
    pub fn never() -> Timer {
        Timer { when: None, id: None }
    }

    /// At this moment instead.
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
        // Without a reactor nobody runs this future either.
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

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests are their own peers")]
mod tests {
    use super::*;
    use smol::future;
    use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    fn pair() -> (Async<TcpStream>, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Async::new(listener.accept().unwrap().0).unwrap(), other)
    }

    #[test]
    fn a_reader_is_woken_by_what_arrives_and_by_the_end() {
        let (mut ours, mut theirs) = pair();
        let read = async {
            let mut all = Vec::new();
            ours.read_to_end(&mut all).await.unwrap();
            all
        };
        let write = async {
            for piece in [b"ab", b"cd"] {
                future::yield_now().await;
                theirs.write_all(piece).unwrap();
                Timer::after(Duration::from_millis(2)).await;
            }
            drop(theirs);
        };
        assert_eq!(block_on(future::zip(read, write)).unwrap().0, b"abcd");
    }

    #[test]
    fn a_writer_waits_for_room() {
        const LEN: usize = 32 << 20;
        let (mut ours, theirs) = pair();
        let reader = std::thread::spawn(move || io::copy(&mut &theirs, &mut io::sink()).unwrap());
        block_on(async move { ours.write_all(&vec![7; LEN]).await.unwrap() }).unwrap();
        assert_eq!(reader.join().unwrap(), LEN as u64);
    }

    #[test]
    fn level_and_hint_agree_however_the_bytes_were_taken() {
        let (ours, mut theirs) = pair();
        block_on(async {
            theirs.write_all(b"x").unwrap();
            ours.readable().await.unwrap();
            assert_eq!(ours.get_ref().read(&mut [0; 9]).unwrap(), 1);
            let mut readable = pin!(ours.readable());
            assert!(
                future::poll_once(&mut readable).await.is_none(),
                "nothing is left"
            );
            theirs.write_all(b"y").unwrap();
            readable.await.unwrap();
        })
        .unwrap();
    }

    #[test]
    fn another_thread_wakes_us() {
        let (sender, receiver) = smol::channel::bounded(1);
        let other = std::thread::spawn(move || sender.send_blocking(5).unwrap());
        assert_eq!(block_on(receiver.recv()).unwrap(), Ok(5));
        other.join().unwrap();
    }

    #[test]
    fn timers_fire_in_their_order_and_not_after_they_are_dropped() {
        let order = RefCell::new(Vec::new());
        let wait = |ms| {
            let order = &order;
            async move {
                Timer::after(Duration::from_millis(ms)).await;
                order.borrow_mut().push(ms);
            }
        };
        block_on(async {
            // Polled in the order in which they are due: on a machine that was held up they may be due together.
            future::zip(wait(1), future::zip(future::or(wait(10), wait(5000)), wait(20))).await;
        })
        .unwrap();
        assert_eq!(order.into_inner(), [1, 10, 20]);
        assert!(Reactor::with(|reactor| reactor.timers.borrow().is_empty()).unwrap());
    }

    #[test]
    fn places_are_used_again() {
        let (first, _other) = pair();
        let key = first.key;
        drop(first);
        let (second, _other) = pair();
        assert_eq!(second.key, key);
    }
}
