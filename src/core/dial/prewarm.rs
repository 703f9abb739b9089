//! Connections made before they are needed, so that a session starts without waiting for a connect.
//!
//! Each DC that was used during the last ten minutes has up to `prewarm` of them. They are given out newest first, after
//! a look whether the DC has closed them in secret, and are renewed each minute, before a DC loses patience.
//!
//! Promise: no more than `limit` per DC, and none that was made before the last [`Prewarm::clear`]. This is only the
//! shelf: [`super::Dialer`] fills it and watches over it.

use super::health::jittered;
use crate::dc::{DcId, Table};
use crate::reactor::Async;
use crate::sys::socket;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A DC that nobody used for this long gets no more.
const RECENT: Duration = Duration::from_secs(600);
/// How old one grows at most; a quarter less at least, so that they are not all renewed at once.
const LIFETIME: Duration = Duration::from_secs(60);
/// Descriptors were short: none is made for so long.
const PAUSE: Duration = Duration::from_secs(60);

struct Idle {
    connection: Async<TcpStream>,
    address: SocketAddr,
    expires: Instant,
}

struct Entry {
    dc: DcId,
    addresses: Vec<SocketAddr>,
    used: Instant,
    /// Oldest first.
    idle: Vec<Idle>,
    filling: bool,
}

/// What the next connection for a DC has to be.
pub(super) struct Wanted {
    pub(super) addresses: Vec<SocketAddr>,
    generation: u32,
}

/// The connections that nobody uses yet.
#[derive(Default)]
pub(super) struct Prewarm {
    entries: Vec<Entry>,
    generation: u32,
    paused_until: Option<Instant>,
}

impl Prewarm {
    /// A session uses this DC.
    pub(super) fn used(&mut self, dc: DcId, addresses: &[SocketAddr], now: Instant) {
        match self.entry(dc) {
            Some(entry) => {
                entry.used = now;
                if entry.addresses != addresses {
                    entry.addresses = addresses.to_vec();
                }
            }
            None => self.entries.push(Entry {
                dc,
                addresses: addresses.to_vec(),
                used: now,
                idle: Vec::new(),
                filling: false,
            }),
        }
    }

    /// The newest connection to an address that is `good`, if it still lives.
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

    /// Whether somebody shall begin to fill this DC's shelf: it is not full, and nobody does. Who begins must end with
    /// [`Prewarm::end_fill`].
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

    /// What is to be connected next for this DC.
    pub(super) fn wanted(&self, dc: DcId, limit: usize, now: Instant) -> Option<Wanted> {
        let entry = self.entries.iter().find(|entry| entry.dc == dc)?;
        let paused = self.paused_until.is_some_and(|until| now < until);
        (!paused && entry.is_recent(now) && entry.idle.len() < limit).then(|| Wanted {
            addresses: entry.addresses.clone(),
            generation: self.generation,
        })
    }

    /// Takes in a new connection, or closes it if things have changed since it was wanted.
    pub(super) fn put(
        &mut self,
        dc: DcId,
        wanted: &Wanted,
        connection: Async<TcpStream>,
        address: SocketAddr,
        limit: usize,
        times: (Instant, u32),
    ) {
        let (now, random) = times;
        let current = self.generation == wanted.generation;
        if let Some(entry) = self.entry(dc)
            && current
            && entry.idle.len() < limit
        {
            entry.idle.push(Idle {
                connection,
                address,
                expires: now.checked_add(jittered(LIFETIME, random)).unwrap_or(now),
            });
        }
    }

    /// When [`Prewarm::expire`] has something to do next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let idle = self.entries.iter().flat_map(|entry| &entry.idle);
        idle.map(|idle| idle.expires).min()
    }

    /// Closes what has grown too old and names the DCs that may want new ones.
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

    /// Closes all: what they were made for has changed.
    pub(super) fn clear(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        for entry in &mut self.entries {
            entry.idle = Vec::new();
        }
    }

    /// Closes all, and makes none for a while: somebody needs the descriptors. Returns whether there were any.
    pub(super) fn drop_all(&mut self, now: Instant) -> bool {
        let any = self.len() > 0;
        self.clear();
        self.paused_until = now.checked_add(PAUSE);
        any
    }

    /// Closes those to this address: one of them was stale.
    pub(super) fn drop_address(&mut self, address: SocketAddr) {
        for entry in &mut self.entries {
            entry.idle.retain(|idle| idle.address != address);
        }
    }

    /// Closes those whose DC has other addresses now.
    pub(super) fn retain(&mut self, table: &Table) {
        let changed = |entry: &Entry| table.lookup(entry.dc) != Some(&entry.addresses);
        if self.entries.iter().any(changed) {
            // One that is being made for such a DC must not come in; the others' are made again.
            self.generation = self.generation.wrapping_add(1);
        }
        for entry in &mut self.entries {
            if changed(entry) {
                entry.idle = Vec::new();
                entry.addresses = table.lookup(entry.dc).unwrap_or_default().to_vec();
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.iter().map(|entry| entry.idle.len()).sum()
    }

    fn entry(&mut self, dc: DcId) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.dc == dc)
    }
}

impl Entry {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < RECENT
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "tests are the outside world: they connect"
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
        fn warm(&self, shelf: &mut Prewarm, dc: DcId, limit: usize, now: Instant) -> Option<TcpStream> {
            let wanted = shelf.wanted(dc, limit, now)?;
            let (ours, theirs) = self.connect();
            shelf.put(dc, &wanted, ours, self.address, limit, (now, 0));
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
        let (mut shelf, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        assert!(
            dc.warm(&mut shelf, two(), 2, now).is_none(),
            "nobody used that DC yet"
        );
        shelf.used(two(), &[dc.address], now);
        let wanted = shelf.wanted(two(), 2, now).expect("none is there");
        let held: Vec<_> = (0..2).map(|_| dc.warm(&mut shelf, two(), 2, now)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(shelf.wanted(two(), 2, now).is_none());
        shelf.put(two(), &wanted, dc.connect().0, dc.address, 2, (now, 0));
        assert_eq!(shelf.len(), 2);
        let media = DcId::new(-2).expect("not zero");
        assert!(shelf.take(media, any, now).is_none(), "each id has its own");
        assert!(shelf.take(two(), any, now).is_some());
        assert_eq!(shelf.len(), 1);
        assert!(shelf.begin_fill(two(), 2, now));
        assert!(!shelf.begin_fill(two(), 2, now), "somebody is at it");
        shelf.end_fill(two());
        assert!(shelf.begin_fill(two(), 2, now));
    }

    #[test]
    fn a_connection_that_the_dc_closed_in_secret_is_not_given_out() {
        let (mut shelf, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        shelf.used(two(), &[dc.address], now);
        let alive = dc.warm(&mut shelf, two(), 3, now).expect("wanted");
        let closed = dc.warm(&mut shelf, two(), 3, now).expect("wanted");
        let mut talks = dc.warm(&mut shelf, two(), 3, now).expect("wanted");
        drop(closed);
        talks.write_all(b"x").expect("it is open");
        let (taken, address) = shelf.take(two(), any, now).expect("one lives");
        assert_eq!(address, dc.address);
        assert_eq!(
            taken.get_ref().local_addr().expect("ours"),
            alive.peer_addr().expect("ours")
        );
        assert_eq!(shelf.len(), 0);
    }

    #[test]
    fn they_expire_and_are_renewed_while_the_dc_is_in_use() {
        let (mut shelf, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        shelf.used(two(), &[dc.address], now);
        let _held = dc.warm(&mut shelf, two(), 1, now);
        let expiry = shelf.next_expiry().expect("one is there");
        assert_eq!(expiry, now + LIFETIME);
        assert!(shelf.expire(now).is_empty());
        assert_eq!(shelf.expire(expiry), [two()]);
        assert_eq!((shelf.len(), shelf.next_expiry()), (0, None));
        let last = now + RECENT - Duration::from_secs(1);
        let _held = dc.warm(&mut shelf, two(), 1, last);
        assert_eq!(shelf.expire(last + LIFETIME), [], "nobody used it for long");
        assert!(shelf.entries.is_empty());
    }

    #[test]
    fn one_that_is_too_old_is_not_given_out_even_before_it_was_expired() {
        let (mut shelf, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        shelf.used(two(), &[dc.address], now);
        let _held = dc.warm(&mut shelf, two(), 1, now);
        assert!(shelf.take(two(), any, now + LIFETIME).is_none());
    }

    #[test]
    fn short_descriptors_close_all_and_stop_new_ones_for_a_while() {
        let (mut shelf, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        shelf.used(two(), &[dc.address], now);
        let _held = dc.warm(&mut shelf, two(), 1, now);
        assert!(shelf.drop_all(now));
        assert!(!shelf.drop_all(now));
        assert!(shelf.wanted(two(), 1, now).is_none());
        assert!(shelf.wanted(two(), 1, now + PAUSE).is_some());
    }

    #[test]
    fn one_that_was_begun_before_a_change_does_not_come_in_after_it() {
        let (mut shelf, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        shelf.used(two(), &[dc.address], now);
        let wanted = shelf.wanted(two(), 1, now).expect("none is there");
        shelf.clear();
        shelf.put(two(), &wanted, dc.connect().0, dc.address, 1, (now, 0));
        assert_eq!(shelf.len(), 0);
    }

    #[test]
    fn a_reload_closes_those_of_a_changed_dc_only() {
        let (mut shelf, one, other, now) = (Prewarm::default(), Dc::new(), Dc::new(), clock::now());
        let three = DcId::new(3).expect("not zero");
        let mut table = Table::built_in();
        for (id, dc) in [(two(), &one), (three, &other)] {
            table.set(id, vec![dc.address]);
            shelf.used(id, &[dc.address], now);
        }
        let _held = (
            one.warm(&mut shelf, two(), 1, now),
            other.warm(&mut shelf, three, 1, now),
        );
        shelf.retain(&table);
        assert_eq!(shelf.len(), 2);
        table.set(three, vec![one.address]);
        shelf.retain(&table);
        assert!(shelf.take(two(), any, now).is_some());
        assert!(shelf.take(three, any, now).is_none());
        assert_eq!(
            shelf.wanted(three, 1, now).expect("none is there").addresses,
            [one.address]
        );
    }

    #[test]
    fn the_others_of_a_stale_one_are_closed_too() {
        let (mut shelf, dc, now) = (Prewarm::default(), Dc::new(), clock::now());
        shelf.used(two(), &[dc.address], now);
        let _held = dc.warm(&mut shelf, two(), 1, now);
        shelf.drop_address(dc.address);
        assert_eq!(shelf.len(), 0);
    }
}
