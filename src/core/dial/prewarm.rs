//! Prewarmed connections: made before they are needed, so that a session starts without waiting for a connect.
//!
//! Each DC that was used during the last ten minutes has up to `prewarm` of them. They are given out newest first, after a
//! check that the DC has not closed them, and are replaced within a minute, before a DC closes them as idle.
//!
//! Promise: at most `limit` per DC, and none that was made before the last [`Prewarm::clear`]. This is only the store:
//! [`super::Dialer`] fills it and expires its connections.

use super::health::jittered;
use crate::dc::{DcId, Table};
use crate::reactor::Async;
use crate::sys::socket;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A DC without a session for this long gets no prewarmed connections.
const RECENT_USE: Duration = Duration::from_secs(600);
/// Longest life of a prewarmed connection. Up to a quarter is taken off at random, so that not all are replaced at once.
const MAX_LIFETIME: Duration = Duration::from_secs(60);
/// Time without new prewarmed connections after descriptors were short.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(60);

struct Idle {
    connection: Async<TcpStream>,
    address: SocketAddr,
    expires: Instant,
}

struct DcEntry {
    dc: DcId,
    addresses: Vec<SocketAddr>,
    used: Instant,
    /// Oldest first.
    idle: Vec<Idle>,
    filling: bool,
}

/// What the next prewarmed connection of a DC connects to.
pub(super) struct Wanted {
    dc: DcId,
    pub(super) addresses: Vec<SocketAddr>,
    generation: u32,
}

/// The prewarmed connections of all DCs.
#[derive(Default)]
pub(super) struct Prewarm {
    entries: Vec<DcEntry>,
    generation: u32,
    paused_until: Option<Instant>,
}

impl Prewarm {
    /// Notes that a session uses this DC.
    pub(super) fn used(&mut self, dc: DcId, addresses: &[SocketAddr], now: Instant) {
        match self.entry(dc) {
            Some(entry) => {
                entry.used = now;
                if entry.addresses != addresses {
                    entry.addresses = addresses.to_vec();
                }
            }
            None => self.entries.push(DcEntry {
                dc,
                addresses: addresses.to_vec(),
                used: now,
                idle: Vec::new(),
                filling: false,
            }),
        }
    }

    /// The newest connection that is still open and whose address is `good`.
    pub(super) fn take(
        &mut self,
        dc: DcId,
        good: impl Fn(SocketAddr) -> bool,
        now: Instant,
    ) -> Option<(Async<TcpStream>, SocketAddr)> {
        let entry = self.entry(dc)?;
        while let Some(idle) = entry.idle.pop() {
            let lives = idle.expires > now && socket::is_open_and_silent(idle.connection.get_ref());
            if lives && good(idle.address) {
                return Some((idle.connection, idle.address));
            }
        }
        None
    }

    /// Whether a task shall begin to make connections for this DC: fewer than `limit` exist, and no task makes them yet. The task
    /// ends with [`Prewarm::end_fill`].
    pub(super) fn begin_fill(&mut self, dc: DcId, limit: usize, now: Instant) -> bool {
        let wanted = self.wanted(dc, limit, now).is_some();
        self.entry(dc)
            .is_some_and(|entry| wanted && !std::mem::replace(&mut entry.filling, true))
    }

    pub(super) fn end_fill(&mut self, dc: DcId) {
        if let Some(entry) = self.entry(dc) {
            entry.filling = false;
        }
    }

    /// The next connection to make for this DC, if one is missing.
    pub(super) fn wanted(&self, dc: DcId, limit: usize, now: Instant) -> Option<Wanted> {
        let entry = self.entries.iter().find(|entry| entry.dc == dc)?;
        let paused = self.paused_until.is_some_and(|until| now < until);
        (!paused && entry.is_recent(now) && entry.idle.len() < limit).then(|| Wanted {
            dc,
            addresses: entry.addresses.clone(),
            generation: self.generation,
        })
    }

    /// Stores a new connection, or closes it if the store was cleared since it was wanted.
    pub(super) fn put(
        &mut self,
        wanted: &Wanted,
        connection: Async<TcpStream>,
        address: SocketAddr,
        limit: usize,
        times: (Instant, u32),
    ) {
        let (now, random) = times;
        let current = self.generation == wanted.generation;
        if let Some(entry) = self.entry(wanted.dc)
            && current
            && entry.idle.len() < limit
        {
            entry.idle.push(Idle {
                connection,
                address,
                expires: now.checked_add(jittered(MAX_LIFETIME, random)).unwrap_or(now),
            });
        }
    }

    /// When the next connection expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let idle = self.entries.iter().flat_map(|entry| &entry.idle);
        idle.map(|idle| idle.expires).min()
    }

    /// Closes expired connections, and returns the DCs that are to get new ones.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<DcId> {
        let mut again = Vec::new();
        for entry in &mut self.entries {
            let before = entry.idle.len();
            entry.idle.retain(|idle| idle.expires > now);
            if entry.idle.len() < before && entry.is_recent(now) {
                again.push(entry.dc);
            }
        }
        self.entries
            .retain(|entry| entry.is_recent(now) || entry.filling || !entry.idle.is_empty());
        again
    }

    /// Closes all connections, because the addresses or the options have changed.
    pub(super) fn clear(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        for entry in &mut self.entries {
            entry.idle = Vec::new();
        }
    }

    /// Closes all connections to free their descriptors, and makes none for [`SHORTAGE_PAUSE`]. Returns whether one existed.
    pub(super) fn drop_all(&mut self, now: Instant) -> bool {
        let any = self.len() > 0;
        self.clear();
        self.paused_until = now.checked_add(SHORTAGE_PAUSE);
        any
    }

    /// Closes the connections to this address, because one of them was stale.
    pub(super) fn drop_address(&mut self, address: SocketAddr) {
        for entry in &mut self.entries {
            entry.idle.retain(|idle| idle.address != address);
        }
    }

    /// Closes the connections of every DC whose addresses have changed.
    pub(super) fn retain(&mut self, table: &Table) {
        let changed = |entry: &DcEntry| table.lookup(entry.dc) != Some(&entry.addresses);
        if self.entries.iter().any(changed) {
            // A connection in progress for a changed DC must not be stored. Those of other DCs are made again.
            self.generation = self.generation.wrapping_add(1);
        }
        for entry in &mut self.entries {
            if changed(entry) {
                entry.idle = Vec::new();
                entry.addresses = table.lookup(entry.dc).unwrap_or_default().to_vec();
            }
        }
    }

    /// The number of prewarmed connections.
    pub(super) fn len(&self) -> usize {
        self.entries.iter().map(|entry| entry.idle.len()).sum()
    }

    fn entry(&mut self, dc: DcId) -> Option<&mut DcEntry> {
        self.entries.iter_mut().find(|entry| entry.dc == dc)
    }
}

impl DcEntry {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < RECENT_USE
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "the tests connect to their own listeners"
)]
mod tests {
    use super::*;
    use crate::sys::clock;
    use std::io::Write as _;
    use std::net::TcpListener;

    struct Dc {
        listener: TcpListener,
        address: SocketAddr,
    }

    impl Dc {
        fn new() -> Dc {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
            let address = listener.local_addr().expect("its address");
            Dc { listener, address }
        }

        /// Both ends of a new connection.
        fn connect(&self) -> (Async<TcpStream>, TcpStream) {
            let ours = TcpStream::connect(self.address).expect("it connects");
            let (theirs, _) = self.listener.accept().expect("it is accepted");
            (Async::new(ours).expect("a reactor"), theirs)
        }

        /// Makes one for `dc`, and keeps the DC's end of it.
        fn warm(&self, store: &mut Prewarm, dc: DcId, limit: usize, now: Instant) -> Option<TcpStream> {
            let wanted = store.wanted(dc, limit, now)?;
            let (ours, theirs) = self.connect();
            store.put(&wanted, ours, self.address, limit, (now, 0));
            Some(theirs)
        }
    }

    fn two() -> DcId {
        DcId::new(2).expect("not zero")
    }

    fn any(_: SocketAddr) -> bool {
        true
    }

    #[test]
    fn there_are_never_more_than_configured() {
        let (mut store, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        assert!(
            dc.warm(&mut store, two(), 2, now).is_none(),
            "no session used that DC yet"
        );
        store.used(two(), &[dc.address], now);
        let wanted = store.wanted(two(), 2, now).expect("none is there");
        let held: Vec<_> = (0..2).map(|_| dc.warm(&mut store, two(), 2, now)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(store.wanted(two(), 2, now).is_none());
        store.put(&wanted, dc.connect().0, dc.address, 2, (now, 0));
        assert_eq!(store.len(), 2);
        let media = DcId::new(-2).expect("not zero");
        assert!(store.take(media, any, now).is_none(), "each id has its own");
        assert!(store.take(two(), any, now).is_some());
        assert_eq!(store.len(), 1);
        assert!(store.begin_fill(two(), 2, now));
        assert!(!store.begin_fill(two(), 2, now), "a task makes them already");
        store.end_fill(two());
        assert!(store.begin_fill(two(), 2, now));
    }

    #[test]
    fn a_connection_that_the_dc_closed_silently_is_not_given_out() {
        let (mut store, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        store.used(two(), &[dc.address], now);
        let alive = dc.warm(&mut store, two(), 3, now).expect("wanted");
        let closed = dc.warm(&mut store, two(), 3, now).expect("wanted");
        let mut talks = dc.warm(&mut store, two(), 3, now).expect("wanted");
        drop(closed);
        talks.write_all(b"x").expect("it is open");
        let (taken, address) = store.take(two(), any, now).expect("one lives");
        assert_eq!(address, dc.address);
        assert_eq!(
            taken.get_ref().local_addr().expect("ours"),
            alive.peer_addr().expect("ours")
        );
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn they_expire_and_are_renewed_while_the_dc_is_in_use() {
        let (mut store, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        store.used(two(), &[dc.address], now);
        let _held = dc.warm(&mut store, two(), 1, now);
        let expiry = store.next_expiry().expect("one is there");
        assert_eq!(expiry, now + MAX_LIFETIME);
        assert!(store.expire(now).is_empty());
        assert_eq!(store.expire(expiry), [two()]);
        assert_eq!((store.len(), store.next_expiry()), (0, None));
        let last = now + RECENT_USE - Duration::from_secs(1);
        let _held = dc.warm(&mut store, two(), 1, last);
        assert_eq!(
            store.expire(last + MAX_LIFETIME),
            [],
            "no session used it for long"
        );
        assert!(store.entries.is_empty());
    }

    #[test]
    fn one_that_is_too_old_is_not_given_out_even_before_it_was_expired() {
        let (mut store, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        store.used(two(), &[dc.address], now);
        let _held = dc.warm(&mut store, two(), 1, now);
        assert!(store.take(two(), any, now + MAX_LIFETIME).is_none());
    }

    #[test]
    fn short_descriptors_close_all_and_stop_new_ones_for_a_while() {
        let (mut store, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        store.used(two(), &[dc.address], now);
        let _held = dc.warm(&mut store, two(), 1, now);
        assert!(store.drop_all(now));
        assert!(!store.drop_all(now));
        assert!(store.wanted(two(), 1, now).is_none());
        assert!(store.wanted(two(), 1, now + SHORTAGE_PAUSE).is_some());
    }

    #[test]
    fn one_that_was_begun_before_a_change_does_not_come_in_after_it() {
        let (mut store, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        store.used(two(), &[dc.address], now);
        let wanted = store.wanted(two(), 1, now).expect("none is there");
        store.clear();
        store.put(&wanted, dc.connect().0, dc.address, 1, (now, 0));
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn a_reload_closes_those_of_a_changed_dc_only() {
        let (mut store, one, other, now) = (Prewarm::default(), Dc::new(), Dc::new(), clock::now());
        let three = DcId::new(3).expect("not zero");
        let mut table = Table::built_in();
        for (id, dc) in [(two(), &one), (three, &other)] {
            table.set(id, vec![dc.address]);
            store.used(id, &[dc.address], now);
        }
        let _held = (
            one.warm(&mut store, two(), 1, now),
            other.warm(&mut store, three, 1, now),
        );
        store.retain(&table);
        assert_eq!(store.len(), 2);
        table.set(three, vec![one.address]);
        store.retain(&table);
        assert!(store.take(two(), any, now).is_some());
        assert!(store.take(three, any, now).is_none());
        assert_eq!(
            store.wanted(three, 1, now).expect("none is there").addresses,
            [one.address]
        );
    }

    #[test]
    fn the_others_of_a_stale_one_are_closed_too() {
        let (mut store, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        store.used(two(), &[dc.address], now);
        let _held = dc.warm(&mut store, two(), 1, now);
        store.drop_address(dc.address);
        assert_eq!(store.len(), 0);
    }
}
