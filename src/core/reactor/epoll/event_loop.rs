//! The event loop: events of the kernel and timers wake tasks.

use crate::sys::clock;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Events of one epoll_wait(2).
const EVENTS: usize = 64;
/// Key of the eventfd by which other threads wake this one.
const NOTICE: u64 = u64::MAX;

/// Longest wait of one epoll_wait(2): an hour, which fits the time types of all platforms. A wait that ends early does no harm.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

pub(super) const READABLE: u8 = 1;
pub(super) const WRITABLE: u8 = 2;
/// The peer has sent FIN, or the connection has failed: a short read is not the last one.
pub(super) const CLOSING: u8 = 4;

thread_local! {
    pub(super) static REACTOR: OnceCell<Reactor> = const { OnceCell::new() };
}

/// The reactor of a thread.
pub(super) struct Reactor {
    epoll: OwnedFd,
    notice: Arc<Notice>,
    pub(super) sources: RefCell<Vec<Registered>>,
    /// Index of the first free entry; each free entry has the index of the next.
    pub(super) free: Cell<u32>,
    pub(super) timers: RefCell<BTreeMap<(Instant, u32), Waker>>,
    pub(super) next_timer: Cell<u32>,
}

/// The readiness of one descriptor, as far as it is known, and the tasks that wait for it.
#[derive(Default)]
pub(super) struct Registered {
    pub(super) ready: u8,
    pub(super) next_free: u32,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
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
    fn new() -> Result<Reactor> {
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

    /// Calls `work` with the reactor of this thread, which is created at the first call.
    pub(super) fn with<R>(work: impl FnOnce(&Reactor) -> R) -> Result<R> {
        REACTOR.with(|reactor| {
            if reactor.get().is_none() {
                // The cell is empty, so this sets it.
                let _ = reactor.set(Reactor::new()?);
            }
            reactor.get().map(work).ok_or_else(|| ErrorKind::Other.into())
        })
    }

    pub(super) fn add(&self, fd: impl AsFd) -> Result<u32> {
        let mut sources = self.sources.borrow_mut();
        let key = self.free.get();
        let place = key as usize;
        let fresh = Registered {
            // Unknown: the first operation finds out.
            ready: READABLE | WRITABLE,
            ..Registered::default()
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

    /// Frees an entry. The kernel drops the descriptor when it is closed. An event that is queued already is at worst a wrong hint for
    /// the next descriptor in this entry.
    pub(super) fn remove(&self, key: u32) {
        let mut sources = self.sources.borrow_mut();
        if let Some(source) = sources.get_mut(key as usize) {
            *source = Registered {
                next_free: self.free.get(),
                ..Registered::default()
            };
            self.free.set(key);
        }
    }

    /// Takes what the kernel has, waits for it unless a task is ready, and wakes the tasks.
    fn turn(&self, events: &mut Vec<epoll::Event>) -> Result<()> {
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
            Err(error) => return Err(Error::from(error)),
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

    /// Time until the next timer in whole milliseconds, rounded up, as epoll_wait(2) counts.
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

/// Runs `future` to its end, and meanwhile wakes the tasks that wait for descriptors and timers.
///
/// # Errors
/// When the system has no descriptors for the reactor.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
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
