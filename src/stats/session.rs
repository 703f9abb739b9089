//! One live session as the counters see it: from `begin` to exactly one end.
//!
//! The relay calls `begin` when a client is authenticated, `connect_failed` and `connected` while it dials, `moved_up` and `moved_down`
//! while it relays, and `end` once, which logs the close line. A session that is dropped without `end` (its task was cancelled, or
//! panicked) ends as `error`, with its line, so that no gauge leaks and no session goes unseen.

use std::cell::Cell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{DcStats, Stats, UserStats, add, lower, raise};
use mtrelay_core::close::{CloseReason, ConnectFailure};
use mtrelay_core::dc::DcId;
use mtrelay_core::quote::Quoted;

/// The counters of one session, and its hand on those of its user, its DC and the whole relay.
pub struct SessionStats {
    stats: Rc<Stats>,
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
    pub fn begin(
        stats: &Rc<Stats>,
        user: Rc<UserStats>,
        dc: Rc<DcStats>,
        client: IpAddr,
        now: Instant,
    ) -> Rc<SessionStats> {
        raise(&stats.sessions_active);
        raise(&stats.sessions_total);
        stats
            .sessions_peak
            .set(stats.sessions_peak.get().max(stats.sessions_active.get()));
        raise(&user.active);
        raise(&user.total);
        Rc::new_cyclic(|this| SessionStats {
            stats: Rc::clone(stats),
            user,
            dc,
            // A listener on `[::]` sees IPv4 clients as mapped addresses; people and scripts know the plain form.
            client: client.to_canonical(),
            started: now,
            slot: stats.live.borrow_mut().insert(this.clone()),
            addr: Cell::new(None),
            up: Cell::new(0),
            down: Cell::new(0),
            reason: Cell::new(None),
            spliced: Cell::new(false),
        })
    }

    /// Counts an attempt at one address that failed.
    pub fn connect_failed(&self, kind: ConnectFailure) {
        raise(&self.dc.failed[kind.index()]);
    }

    /// Counts the DC connection that the session now has. A second one (the first never answered) replaces the first, which has ended.
    pub fn connected(&self, addr: SocketAddr) {
        if self.reason.get().is_some() {
            return;
        }
        raise(&self.dc.created);
        match self.addr.replace(Some(addr)) {
            None => raise(&self.dc.active),
            Some(_) => raise(&self.dc.ended),
        }
    }

    /// Counts that the DC connection ended in this way, or said nothing (`None`), before its first answer: the session goes to
    /// another one.
    pub fn retried(&self, ended: Option<CloseReason>) {
        raise(&self.dc.retries);
        self.count_dc_end(ended);
    }

    fn count_dc_end(&self, ended: Option<CloseReason>) {
        match ended {
            Some(CloseReason::DcClosed | CloseReason::DcReset) => raise(&self.dc.dc_closed),
            Some(CloseReason::DcTimeout) => raise(&self.dc.dc_timeouts),
            Some(CloseReason::ClientClosed | CloseReason::ClientReset) => raise(&self.dc.client_closed),
            _ => {}
        }
    }

    /// Its downloads pass through a pipe from here on.
    pub fn spliced(&self) {
        self.spliced.set(true);
    }

    /// How its downloads pass: `splice`, never in our memory, or `copy`.
    pub fn route(&self) -> &'static str {
        if self.spliced.get() { "splice" } else { "copy" }
    }

    /// Counts bytes passed from the client to the DC.
    pub fn moved_up(&self, n: usize) {
        for counter in [
            &self.up,
            &self.dc.up,
            &self.user.up,
            &self.user.quota_used,
            &self.stats.up,
        ] {
            add(counter, n as u64);
        }
    }

    /// Counts bytes passed from the DC to the client.
    pub fn moved_down(&self, n: usize) {
        for counter in [
            &self.down,
            &self.dc.down,
            &self.user.down,
            &self.user.quota_used,
            &self.stats.down,
        ] {
            add(counter, n as u64);
        }
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
        raise(&self.stats.closes[reason.index()]);
        lower(&self.stats.sessions_active);
        lower(&self.user.active);
        if self.addr.get().is_some() {
            lower(&self.dc.active);
            raise(&self.dc.ended);
        }
        self.count_dc_end(Some(reason));
        self.stats.live.borrow_mut().remove(self.slot);
        log::info!(
            "{}",
            CloseLine {
                session: self,
                reason,
                lasted: self.age(now)
            }
        );
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

    /// The client's address.
    pub fn client(&self) -> IpAddr {
        self.client
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

    /// How long ago it began.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

impl Drop for SessionStats {
    fn drop(&mut self) {
        if self.reason.get().is_none() {
            #[allow(
                clippy::disallowed_methods,
                reason = "nobody hands the time to a drop, and its line needs it"
            )]
            let now = Instant::now();
            self.end(CloseReason::Error, now);
        }
    }
}

/// The line that an ended session leaves in the log.
struct CloseLine<'a> {
    session: &'a SessionStats,
    reason: CloseReason,
    lasted: Duration,
}

impl fmt::Display for CloseLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = self.session;
        write!(
            f,
            "close: user={} client={} dc={} addr=",
            Value(session.user()),
            session.client,
            session.dc()
        )?;
        match session.addr() {
            Some(addr) => write!(f, "{addr}")?,
            None => f.write_str("-")?,
        }
        write!(
            f,
            " secs={}.{} up={} down={} by={} reason={}",
            self.lasted.as_secs(),
            self.lasted.subsec_millis() / 100,
            session.up(),
            session.down(),
            self.reason.by(),
            self.reason
        )
    }
}

/// A value of a `key=value` line: as it is when that is unmistakable, else quoted.
struct Value<'a>(&'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
        if !self.0.is_empty() && self.0.chars().all(plain) {
            f.write_str(self.0)
        } else {
            Quoted {
                mark: '"',
                text: self.0,
            }
            .fmt(f)
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests start their own clock")]
mod tests {
    use super::*;

    const ADDR: &str = "149.154.167.51:443";

    fn dc(raw: i16) -> DcId {
        DcId::new(raw).expect("not 0")
    }

    fn begin(stats: &Rc<Stats>, user: &str, raw: i16, now: Instant) -> Rc<SessionStats> {
        SessionStats::begin(
            stats,
            stats.user(user),
            stats.dc(dc(raw)),
            [192, 168, 1, 20].into(),
            now,
        )
    }

    fn line(session: &SessionStats, reason: CloseReason, lasted: Duration) -> String {
        CloseLine {
            session,
            reason,
            lasted,
        }
        .to_string()
    }

    fn created_active_ended(stats: &Stats, raw: i16) -> (u64, u64, u64) {
        let dc = stats.dc(dc(raw));
        (dc.created.get(), dc.active.get(), dc.ended.get())
    }

    #[test]
    fn the_close_line_is_the_one_that_scripts_read() {
        let stats = Stats::new();
        let now = Instant::now();
        let session = begin(&stats, "family", -2, now);
        session.connected(ADDR.parse().unwrap());
        session.moved_up(1234);
        session.moved_down(567890);
        let line = line(&session, CloseReason::DcClosed, Duration::from_millis(12_399));
        assert_eq!(
            line,
            "close: user=family client=192.168.1.20 dc=-2 addr=149.154.167.51:443 secs=12.3 up=1234 down=567890 \
             by=dc reason=dc_closed"
        );
    }

    #[test]
    fn a_session_that_never_connected_has_no_address() {
        let stats = Stats::new();
        let now = Instant::now();
        let session = SessionStats::begin(
            &stats,
            stats.user("a"),
            stats.dc(dc(9)),
            "::ffff:10.0.0.1".parse().unwrap(),
            now,
        );
        assert_eq!(
            line(&session, CloseReason::UnknownDc, Duration::ZERO),
            "close: user=a client=10.0.0.1 dc=9 addr=- secs=0.0 up=0 down=0 by=relay reason=unknown_dc"
        );
    }

    #[test]
    fn a_name_cannot_forge_another_field() {
        for (name, shown) in [
            ("Mum", "Mum"),
            ("Łukasz", "Łukasz"),
            ("", r#""""#),
            ("a client=6.6.6.6", r#""a client=6.6.6.6""#),
            ("a\nb", r#""a\nb""#),
            ("a\"b\\", r#""a\"b\\""#),
        ] {
            assert_eq!(Value(name).to_string(), shown);
        }
    }

    #[test]
    fn a_session_moves_every_counter_it_belongs_to() {
        let stats = Stats::new();
        let now = Instant::now();
        let session = begin(&stats, "a", 2, now);
        let other = begin(&stats, "b", 2, now);
        assert_eq!((stats.sessions_active.get(), stats.sessions_peak.get()), (2, 2));
        assert_eq!(created_active_ended(&stats, 2), (0, 0, 0));
        session.connect_failed(ConnectFailure::Refused);
        session.connected(ADDR.parse().unwrap());
        assert_eq!(created_active_ended(&stats, 2), (1, 1, 0));
        session.moved_up(3);
        session.moved_down(5);
        other.moved_down(7);
        assert_eq!((stats.up.get(), stats.down.get()), (3, 12));
        assert_eq!((stats.dc(dc(2)).up.get(), stats.dc(dc(2)).down.get()), (3, 12));
        assert_eq!((stats.user("a").up.get(), stats.user("a").down.get()), (3, 5));
        session.end(CloseReason::ClientReset, now);
        other.end(CloseReason::ConnectFailed, now);
        assert_eq!(created_active_ended(&stats, 2), (1, 0, 1));
        assert_eq!(stats.dc(dc(2)).client_closed.get(), 1);
        assert_eq!(stats.dc(dc(2)).failed[ConnectFailure::Refused.index()].get(), 1);
        assert_eq!(
            (
                stats.sessions_active.get(),
                stats.sessions_total.get(),
                stats.sessions_peak.get()
            ),
            (0, 2, 2)
        );
        assert_eq!(
            (stats.user("a").active.get(), stats.user("a").total.get()),
            (0, 1)
        );
    }

    #[test]
    fn a_second_connection_of_a_session_ends_the_first() {
        let stats = Stats::new();
        let now = Instant::now();
        let session = begin(&stats, "a", 2, now);
        session.connected(ADDR.parse().unwrap());
        session.connected("[::1]:443".parse().unwrap());
        assert_eq!(created_active_ended(&stats, 2), (2, 1, 1));
        session.end(CloseReason::DcReset, now);
        assert_eq!(created_active_ended(&stats, 2), (2, 0, 2));
        session.connected(ADDR.parse().unwrap());
        assert_eq!(created_active_ended(&stats, 2), (2, 0, 2));
        assert_eq!(stats.dc(dc(2)).dc_closed.get(), 1);
    }

    #[test]
    fn an_end_counts_once_and_keeps_its_first_reason() {
        let stats = Stats::new();
        let now = Instant::now();
        let session = begin(&stats, "a", 1, now);
        session.end(CloseReason::Quota, now);
        session.end(CloseReason::Error, now);
        drop(session);
        assert_eq!(stats.closes.iter().map(Cell::get).sum::<u64>(), 1);
        assert_eq!(stats.closes[CloseReason::Quota.index()].get(), 1);
    }

    #[test]
    fn a_dropped_session_ends_as_error_and_leaks_no_gauge() {
        let stats = Stats::new();
        let session = begin(&stats, "a", 1, Instant::now());
        session.connected(ADDR.parse().unwrap());
        drop(session);
        assert_eq!(stats.closes[CloseReason::Error.index()].get(), 1);
        assert_eq!(
            (stats.sessions_active.get(), stats.user("a").active.get()),
            (0, 0)
        );
        assert_eq!(created_active_ended(&stats, 1), (1, 0, 1));
        assert_eq!(stats.sessions(0, 10).1, 0);
    }

    #[test]
    fn live_sessions_are_paged_and_their_places_used_again() {
        let stats = Stats::new();
        let now = Instant::now();
        let mut sessions: Vec<_> = (1..=5).map(|raw| begin(&stats, "a", raw, now)).collect();
        sessions.remove(1).end(CloseReason::Shutdown, now);
        let ids = |offset, limit| -> Vec<i16> {
            stats
                .sessions(offset, limit)
                .0
                .iter()
                .map(|session| session.dc().raw())
                .collect()
        };
        assert_eq!(ids(0, 2), [1, 3]);
        assert_eq!(ids(2, 9), [4, 5]);
        sessions.push(begin(&stats, "a", 203, now));
        assert_eq!(ids(0, 9), [1, 203, 3, 4, 5]);
        assert_eq!(stats.sessions(4, 1).1, 5);
        sessions.clear();
        assert_eq!(stats.live.borrow().slots.capacity(), 0);
    }
}
