//! Admission: the limits that a connection meets before it is authenticated.
//!
//! A pending handshake holds no block of the relay's pool, only its own few bytes. When there are too many at a time, in all or from one
//! source, the oldest of those that have sent least is closed for the newcomer. So neither silent nor slow connections shut a genuine
//! client out: a newcomer has [`GRACE`] to send something before it may be displaced itself.

use crate::stats::{Raised, Stats};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Bytes that all pending handshakes may hold together: a few hundred ClientHellos of 2 KB, or 60 of the longest (16 KiB).
const MAX_HELD_BYTES: usize = 1 << 20;
/// Divisor of the slots that gives one source's share: an eighth.
const SOURCE_SHARE_DIVISOR: usize = 8;
/// Minimum share of one source: as many connections as a phone opens at once when it wakes up.
const MIN_SOURCE_SHARE: usize = 16;
/// Age below which a handshake is displaced only if all are that young: a distant phone needs as long for its first bytes.
const GRACE: Duration = Duration::from_secs(1);

/// Order in which pending handshakes are displaced: the lowest rank first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Rejected: its connection only stays open until the deadline.
    Rejected,
    /// Not authenticated yet.
    #[default]
    Unauthenticated,
    /// Its ClientHello authenticated a user; the obfuscated2 header is still to come.
    HelloAccepted,
}

/// The pending handshakes: connections that are not authenticated yet.
pub struct PendingHandshakes {
    limit: Cell<usize>,
    held: Cell<usize>,
    /// In the order of their arrival.
    list: RefCell<Vec<Rc<Pending>>>,
}

struct Pending {
    begun: Instant,
    /// The source address that its slot counts for; `None` for LAN clients, which have no limit.
    source: Cell<Option<IpAddr>>,
    rank: Cell<Rank>,
    received: Cell<usize>,
    held: Cell<usize>,
    is_displaced: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// A slot among the pending handshakes, released on drop.
pub struct HandshakeSlot {
    _counted: Raised,
    entry: Rc<Pending>,
    pending: Rc<PendingHandshakes>,
}

impl PendingHandshakes {
    /// At most `limit` handshakes at a time.
    #[must_use]
    pub fn new(limit: usize) -> PendingHandshakes {
        PendingHandshakes {
            limit: Cell::new(limit.max(1)),
            held: Cell::new(0),
            list: RefCell::default(),
        }
    }

    /// The number of pending handshakes.
    #[must_use]
    pub fn active(&self) -> usize {
        self.list.borrow().len()
    }

    /// Takes a slot. If all slots, or the share of `source`, are in use, the pending handshake that has sent least is closed for it.
    #[must_use]
    pub fn enter(self: &Rc<Self>, source: Option<IpAddr>, now: Instant, stats: &Rc<Stats>) -> HandshakeSlot {
        while self.active() >= self.limit.get() {
            self.make_room(now, |_| true);
        }
        self.bound(source, now, 1);
        let entry = Rc::new(Pending {
            begun: now,
            source: Cell::new(source),
            rank: Cell::default(),
            received: Cell::default(),
            held: Cell::default(),
            is_displaced: Cell::default(),
            waker: Cell::default(),
        });
        self.list.borrow_mut().push(entry.clone());
        HandshakeSlot {
            _counted: stats.opening(),
            entry,
            pending: self.clone(),
        }
    }

    /// Closes one pending handshake that is rejected or older than [`GRACE`], to free its descriptor. Returns whether there was one.
    pub fn displace_one(&self, now: Instant) -> bool {
        let before = self.active();
        self.make_room(now, |entry| {
            entry.rank.get() != Rank::HelloAccepted && !entry.has_grace(now)
        });
        self.active() < before
    }

    /// Closes pending handshakes of `source` until `more` further ones fit into its share.
    fn bound(&self, source: Option<IpAddr>, now: Instant, more: usize) {
        let limit = (self.limit.get() / SOURCE_SHARE_DIVISOR).max(MIN_SOURCE_SHARE);
        let same = |entry: &Pending| source.is_some() && entry.source.get() == source;
        let count = || self.list.borrow().iter().filter(|entry| same(entry)).count();
        for _ in limit..count() + more {
            self.make_room(now, same);
        }
    }

    /// Closes all pending handshakes.
    pub fn close_all(&self) {
        for entry in self.list.take() {
            entry.close();
        }
    }

    /// Closes the pending handshake of lowest rank that has sent least, the oldest of equals, among those for which `may_go` holds.
    fn make_room(&self, now: Instant, may_go: impl Fn(&Pending) -> bool) {
        let mut list = self.list.borrow_mut();
        let rank = |index: &usize| {
            let entry = &list[*index];
            (entry.rank.get(), entry.has_grace(now), entry.received.get())
        };
        let candidates = (0..list.len()).filter(|index| may_go(&list[*index]));
        let Some(index) = candidates.min_by_key(rank) else {
            return;
        };
        let entry = list.remove(index);
        drop(list);
        entry.close();
    }

    /// Closes the pending handshakes that hold most bytes until all together hold at most [`MAX_HELD_BYTES`].
    fn free_memory(&self) {
        while self.held.get() > MAX_HELD_BYTES {
            let mut list = self.list.borrow_mut();
            let Some(index) = (0..list.len()).rev().max_by_key(|index| list[*index].held.get()) else {
                return;
            };
            let entry = list.remove(index);
            drop(list);
            self.hold(&entry, 0);
            entry.close();
        }
    }

    fn hold(&self, entry: &Pending, bytes: usize) {
        self.held.set(self.held.get() - entry.held.get() + bytes);
        entry.held.set(bytes);
    }
}

impl Pending {
    fn has_grace(&self, now: Instant) -> bool {
        self.rank.get() == Rank::Unauthenticated && now.saturating_duration_since(self.begun) < GRACE
    }

    fn close(&self) {
        self.is_displaced.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl HandshakeSlot {
    /// Notes `len` received bytes, and that the handshake holds `held` bytes now.
    pub fn received(&self, len: usize, held: usize) {
        self.entry.received.set(self.entry.received.get() + len);
        self.pending.hold(&self.entry, held);
        self.pending.free_memory();
    }

    /// The ClientHello has authenticated a user: connections that have not done so are displaced first.
    pub fn hello_accepted(&self) {
        self.entry.rank.set(Rank::HelloAccepted);
    }

    /// The handshake is rejected: the first to be displaced from now on, and it holds no bytes.
    pub fn rejected(&self) {
        self.entry.rank.set(Rank::Rejected);
        self.pending.hold(&self.entry, 0);
    }

    /// A PROXY header has named another source address.
    pub fn set_source(&self, source: Option<IpAddr>, now: Instant) {
        self.entry.source.set(None);
        self.pending.bound(source, now, 1);
        self.entry.source.set(source);
    }

    /// Waits until the handshake has to make room for another one.
    pub fn displaced(&self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|context| {
            if self.entry.is_displaced.get() {
                return Poll::Ready(());
            }
            self.entry.waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
    }
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        self.pending.hold(&self.entry, 0);
        self.pending
            .list
            .borrow_mut()
            .retain(|entry| !Rc::ptr_eq(entry, &self.entry));
    }
}

#[cfg(test)]
mod tests;
