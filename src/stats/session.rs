//! One live session as the counters see it: from `begin` to exactly one end.
//!
//! The relay calls `begin` when a client is authenticated, `connect_failed` and `connected` while it connects, `moved_up` and
//! `moved_down` while it relays, and `end` once, which logs the close line. A session that is dropped without `end` (its task was
//! cancelled, or panicked) ends as `error`, with its line, so that no gauge leaks and every session is logged.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::close_line::CloseLine;
use super::counters::Cells;
use super::dc::DcStats;
use super::live::Live;
use super::user::UserStats;
use crate::metrics::emit::{Emit, optional_str, uint};
use crate::metrics::table::{DOWN, DcMetric, RelayMetric, UP};
use mtrelay_core::close::{CloseReason, ConnectFailure};
use mtrelay_core::dc::DcId;

/// The counters of the whole relay and the list of its live sessions.
#[derive(Default)]
pub(super) struct Whole {
    pub(super) cells: Cells<{ RelayMetric::SLOTS }>,
    pub(super) live: RefCell<Live<SessionStats>>,
}

impl Whole {
    /// The value of a metric.
    pub(super) fn get(&self, metric: RelayMetric) -> u64 {
        self.cells.get(metric.slot())
    }

    pub(super) fn raise(&self, metric: RelayMetric) {
        self.cells.raise(metric.slot());
    }
}

/// The counters of one session, and those of its user, its DC and the whole relay that it raises.
pub struct SessionStats {
    whole: Rc<Whole>,
    user: Rc<UserStats>,
    dc: Rc<DcStats>,
    client: IpAddr,
    started: Instant,
    slot: usize,
    addr: Cell<Option<SocketAddr>>,
    up: Cell<u64>,
    down: Cell<u64>,
    reason: Cell<Option<CloseReason>>,
    spliced: Cell<bool>,
}

impl SessionStats {
    /// Counts a new session and lists it among the live ones.
    pub(super) fn begin_in(
        whole: &Rc<Whole>,
        user: Rc<UserStats>,
        dc: Rc<DcStats>,
        client: IpAddr,
        now: Instant,
    ) -> Rc<SessionStats> {
        whole.raise(RelayMetric::SessionsActive);
        whole.raise(RelayMetric::SessionsTotal);
        let peak = whole
            .get(RelayMetric::SessionsPeak)
            .max(whole.get(RelayMetric::SessionsActive));
        whole.cells.set(RelayMetric::SessionsPeak.slot(), peak);
        user.began();
        Rc::new_cyclic(|this| SessionStats {
            whole: Rc::clone(whole),
            user,
            dc,
            // A listener on `[::]` sees IPv4 clients as mapped addresses; people and scripts know the plain form.
            client: client.to_canonical(),
            started: now,
            slot: whole.live.borrow_mut().insert(this.clone()),
            addr: Cell::new(None),
            up: Cell::new(0),
            down: Cell::new(0),
            reason: Cell::new(None),
            spliced: Cell::new(false),
        })
    }

    /// Counts a failed connection attempt to one address.
    pub fn connect_failed(&self, kind: ConnectFailure) {
        self.dc.connect_failed(kind);
    }

    /// Counts the DC connection that the session now has. A second one (the first never answered) replaces the first, which has ended.
    pub fn connected(&self, addr: SocketAddr) {
        if self.reason.get().is_some() {
            return;
        }
        let before = self.addr.replace(Some(addr));
        self.dc.connected(before.is_some());
    }

    /// Counts that the session was connected over IPv4 after its IPv6 attempts had failed.
    pub fn ipv6_fallback(&self) {
        self.dc.raise(DcMetric::Ipv6Fallbacks);
    }

    /// Counts that the DC connection ended in this way, or said nothing (`None`), before its first answer: the session goes to
    /// another one.
    pub fn retried(&self, ended: Option<CloseReason>) {
        self.dc.raise(DcMetric::Retries);
        self.count_dc_end(ended);
    }

    fn count_dc_end(&self, ended: Option<CloseReason>) {
        match ended {
            Some(CloseReason::DcClosed | CloseReason::DcReset) => self.dc.raise(DcMetric::DcClosed),
            Some(CloseReason::DcTimeout) => self.dc.raise(DcMetric::DcTimeouts),
            Some(CloseReason::ClientClosed | CloseReason::ClientReset) => {
                self.dc.raise(DcMetric::ClientClosed);
            }
            _ => {}
        }
    }

    /// Marks that downloads pass through a pipe from here on.
    pub fn spliced(&self) {
        self.spliced.set(true);
    }

    /// How downloads pass: `splice` (through a pipe, outside of the relay's memory) or `copy`.
    pub fn route(&self) -> &'static str {
        if self.spliced.get() { "splice" } else { "copy" }
    }

    /// Counts bytes passed from the client to the DC.
    pub fn moved_up(&self, n: usize) {
        self.moved(&self.up, UP, n as u64);
    }

    /// Counts bytes passed from the DC to the client.
    pub fn moved_down(&self, n: usize) {
        self.moved(&self.down, DOWN, n as u64);
    }

    fn moved(&self, own: &Cell<u64>, direction: usize, n: u64) {
        own.set(own.get().wrapping_add(n));
        self.dc.moved(direction, n);
        self.user.moved(direction, n);
        self.whole.cells.add(RelayMetric::Bytes.slot() + direction, n);
    }

    /// Counts the end of the session and logs its line. Only the first call does; its reason stays.
    ///
    /// The line is logged here, not by the caller, so that no ending can be counted and not logged, or, by standing inside a log
    /// macro that the level switches off, logged and not counted.
    pub fn end(&self, reason: CloseReason, now: Instant) {
        if self.reason.get().is_some() {
            return;
        }
        self.reason.set(Some(reason));
        self.whole
            .cells
            .raise(RelayMetric::Closes.slot() + reason.index());
        self.whole.cells.lower(RelayMetric::SessionsActive.slot());
        self.user.ended();
        if self.addr.get().is_some() {
            self.dc.disconnected();
        }
        self.count_dc_end(Some(reason));
        self.whole.live.borrow_mut().remove(self.slot);
        log::info!("{}", self.close_line(reason, self.age(now)));
    }

    pub(super) fn close_line(&self, reason: CloseReason, lasted: Duration) -> CloseLine<'_> {
        CloseLine {
            user: self.user(),
            client: self.client,
            dc: self.dc(),
            addr: self.addr(),
            lasted,
            up: self.up(),
            down: self.down(),
            reason,
        }
    }

    /// Whether the user's quota is used up.
    pub fn is_over_quota(&self) -> bool {
        self.user.is_over_quota()
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        self.user.name()
    }

    /// The DC that the client asked for.
    pub fn dc(&self) -> DcId {
        self.dc.id()
    }

    /// The address of the DC connection, once there is one.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr.get()
    }

    /// Bytes from the client to the DC.
    pub fn up(&self) -> u64 {
        self.up.get()
    }

    /// Bytes from the DC to the client.
    pub fn down(&self) -> u64 {
        self.down.get()
    }

    /// The row of ubus `sessions`.
    pub(super) fn emit(&self, now: Instant, out: &mut dyn Emit) {
        out.str("user", self.user());
        out.str("client", &self.client.to_string());
        out.int("dc", self.dc().raw().into());
        optional_str(
            out,
            "address",
            self.addr().map(|address| address.to_string()).as_deref(),
        );
        uint(out, "age", self.age(now).as_secs());
        out.table("bytes");
        uint(out, "up", self.up());
        uint(out, "down", self.down());
        out.end();
        out.str("route", self.route());
    }

    /// The time since it began.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

impl Drop for SessionStats {
    fn drop(&mut self) {
        if self.reason.get().is_none() {
            #[allow(
                clippy::disallowed_methods,
                reason = "drop has no argument for the time, and the close line needs it"
            )]
            let now = Instant::now();
            self.end(CloseReason::Error, now);
        }
    }
}
