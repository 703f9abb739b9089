//! The counters at one moment, as plain data: all that `/stats`, `/metrics`, `/status` and ubus are written from.
//!
//! It owns all it holds, so that a page that is slow to send never holds up a counter.

use std::net::SocketAddr;
use std::time::Duration;

use super::Stats;
use mtrelay_core::close::{CloseReason, ConnectFailure, Reject};
use mtrelay_core::dc::DcId;
use mtrelay_core::map::Map;

/// What the counters cannot know by themselves: the daemon fills it in for each snapshot.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// How long the daemon has been running.
    pub uptime: Duration,
    /// When it started, in Unix seconds: today's clock less the uptime, so that a clock set right after the start is believed.
    /// `None` while no clock is believed.
    pub start_time_s: Option<u64>,
    /// Whether the clock is synchronised.
    pub synced: bool,
    /// Whether times are judged by it: those of hellos, and users' last days.
    pub trusted: bool,
    /// The state of the buffer pool.
    pub buffers: Buffers,
    /// The pipes.
    pub pipes: Pipes,
    /// Resident memory.
    pub rss_kib: u64,
    /// The addresses of each DC and how they fare.
    pub addresses: Map<DcId, Vec<Address>>,
    /// The last day of each user that has one, `YYYY-MM-DD`.
    pub expires: Map<String, String>,
}

/// The buffer pool: `size` bytes × `count` is the ceiling of relay memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffers {
    /// Bytes of one.
    pub size: u64,
    /// How many there may be.
    pub count: u64,
    /// How many are in use.
    pub in_use: u64,
    /// How many were in use at most.
    pub high_water: u64,
    /// How often a session had to wait for one.
    pub waits: u64,
    /// How many of those in use keep what clients asked and no DC has answered yet.
    pub held: u64,
}

/// The pipes through which downloads pass in fast mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pipes {
    /// How many there may be.
    pub count: u64,
    /// How many have bytes in them.
    pub in_use: u64,
    /// How many had at most.
    pub high_water: u64,
    /// How often a session copied because there was none for it.
    pub misses: u64,
}

/// One address of a DC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where it is.
    pub address: SocketAddr,
    /// How it fares.
    pub state: AddressState,
    /// How long the last connect took.
    pub rtt: Option<Duration>,
    /// Failed attempts.
    pub failures: u64,
    /// How the last attempt that failed did so.
    pub last_error: Option<ConnectFailure>,
    /// While cooling: when it is tried again.
    pub retry_in: Option<Duration>,
    /// Sessions that lost it without a word.
    pub dc_timeouts: u64,
}

/// How an address fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressState {
    /// Not tried since the start.
    Untried,
    /// The last attempt came through.
    Ok,
    /// It failed, and others are tried before it.
    Cooling,
}

impl AddressState {
    /// The word that the outside sees.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untried => "untried",
            Self::Ok => "ok",
            Self::Cooling => "cooling",
        }
    }
}

impl Address {
    /// `ipv4` or `ipv6`.
    pub fn family(&self) -> &'static str {
        if self.address.is_ipv4() { "ipv4" } else { "ipv6" }
    }
}

/// Bytes in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From clients to DCs.
    pub up: u64,
    /// From DCs to clients.
    pub down: u64,
}

/// What became of strangers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fronted {
    /// Connections to the front site that live.
    pub active: u64,
    /// Connections to it ever.
    pub total: u64,
    /// Bytes in both directions.
    pub bytes: u64,
    /// Strangers to whom the site could not be shown.
    pub failed: u64,
}

/// How many sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// That live.
    pub active: u64,
    /// Ever.
    pub total: u64,
    /// At most at once.
    pub peak: u64,
}

/// The clock, as far as handshakes depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Whether it is synchronised.
    pub synced: bool,
    /// Whether times are judged by it.
    pub trusted: bool,
    /// Hellos refused for their time alone.
    pub refused: u64,
    /// How far off the last of them was, in seconds.
    pub last_offset_s: i64,
}

/// One DC, or the sum of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DcCounts {
    /// Connections given to a session.
    pub created: u64,
    /// Those that live.
    pub active: u64,
    /// Failed attempts by [`ConnectFailure::index`].
    pub failed: [u64; ConnectFailure::ALL.len()],
    /// Those that the DC closed or reset.
    pub dc_closed: u64,
    /// Those whose DC was gone without a word.
    pub dc_timeouts: u64,
    /// Sessions that the client ended.
    pub client_closed: u64,
    /// Attempts after a session's first.
    pub retries: u64,
    /// Traffic.
    pub bytes: Bytes,
}

impl DcCounts {
    /// Failed attempts of all kinds.
    pub fn failed_in_all(&self) -> u64 {
        self.failed.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    fn add(&mut self, other: &DcCounts) {
        let add = |sum: &mut u64, n: u64| *sum = sum.wrapping_add(n);
        add(&mut self.created, other.created);
        add(&mut self.active, other.active);
        for (sum, n) in self.failed.iter_mut().zip(other.failed) {
            add(sum, n);
        }
        add(&mut self.dc_closed, other.dc_closed);
        add(&mut self.dc_timeouts, other.dc_timeouts);
        add(&mut self.client_closed, other.client_closed);
        add(&mut self.retries, other.retries);
        add(&mut self.bytes.up, other.bytes.up);
        add(&mut self.bytes.down, other.bytes.down);
    }
}

/// One DC and its addresses.
#[derive(Clone, Debug)]
pub struct Dc {
    /// Its signed id.
    pub id: DcId,
    /// Its counters.
    pub counts: DcCounts,
    /// Its addresses, in the order in which they are tried.
    pub addresses: Vec<Address>,
}

/// One user.
#[derive(Clone, Debug)]
pub struct User {
    /// The name in the config: any text.
    pub name: String,
    /// Sessions that live.
    pub active: u64,
    /// Sessions ever.
    pub total: u64,
    /// Traffic.
    pub bytes: Bytes,
    /// Openings refused.
    pub rejects: u64,
    /// Bytes that count for the quota.
    pub quota_used: u64,
    /// The quota in bytes, if there is one.
    pub quota: Option<u64>,
    /// The last day, if there is one.
    pub expires: Option<String>,
}

/// All of it at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The version of the program.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// The start in Unix seconds, once the clock is believed.
    pub start_time_s: Option<u64>,
    /// The clock.
    pub clock: Clock,
    /// Strangers.
    pub fronted: Fronted,
    /// Sessions.
    pub sessions: Sessions,
    /// Traffic of all sessions.
    pub bytes: Bytes,
    /// The buffer pool.
    pub buffers: Buffers,
    /// The pipes.
    pub pipes: Pipes,
    /// Resident memory.
    pub rss_kib: u64,
    /// The sum over all DCs.
    pub dc: DcCounts,
    /// Sessions that came through over IPv4 after IPv6 had failed.
    pub ipv6_fallbacks: u64,
    /// Ended sessions by [`CloseReason::index`].
    pub closes: [u64; CloseReason::ALL.len()],
    /// Refused openings by [`Reject::index`].
    pub rejects: [u64; Reject::ALL.len()],
    /// Reloads taken over.
    pub config_reloads: u64,
    /// Reloads refused.
    pub config_rejected: u64,
    /// Openings in flight.
    pub openings_active: u64,
    /// Times when accepting had to rest for want of descriptors or memory.
    pub accept_pauses: u64,
    /// Tasks that panicked.
    pub panics: u64,
    /// Each DC: main ones first, then media ones, each by number.
    pub dcs: Vec<Dc>,
    /// Each user, by name.
    pub users: Vec<User>,
}

impl Stats {
    /// The counters now, together with what the daemon knows.
    pub fn snapshot(&self, mut outside: Outside) -> Snapshot {
        let mut sum = DcCounts::default();
        let mut dcs: Vec<Dc> = Vec::new();
        for (&id, dc) in self.dcs.borrow().iter() {
            let counts = DcCounts {
                created: dc.created.get(),
                active: dc.active.get(),
                failed: std::array::from_fn(|kind| dc.failed[kind].get()),
                dc_closed: dc.dc_closed.get(),
                dc_timeouts: dc.dc_timeouts.get(),
                client_closed: dc.client_closed.get(),
                retries: dc.retries.get(),
                bytes: Bytes {
                    up: dc.up.get(),
                    down: dc.down.get(),
                },
            };
            sum.add(&counts);
            dcs.push(Dc {
                id,
                counts,
                addresses: outside.addresses.remove(&id).unwrap_or_default(),
            });
        }
        dcs.sort_unstable_by_key(|dc| (dc.id.is_media(), dc.id.main()));
        let users = self.users.borrow();
        let users = users.iter().map(|(name, user)| User {
            name: name.to_string(),
            active: user.active.get(),
            total: user.total.get(),
            bytes: Bytes {
                up: user.up.get(),
                down: user.down.get(),
            },
            rejects: user.rejects.get(),
            quota_used: user.quota_used.get(),
            quota: user.quota.get(),
            expires: outside.expires.remove(&**name),
        });
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: outside.uptime.as_secs(),
            start_time_s: outside.start_time_s,
            clock: Clock {
                synced: outside.synced,
                trusted: outside.trusted,
                refused: self.clock_refused.get(),
                last_offset_s: self.clock_last_offset_s.get(),
            },
            fronted: Fronted {
                active: self.fronted_active.get(),
                total: self.fronted_total.get(),
                bytes: self.fronted_bytes.get(),
                failed: self.fronted_failed.get(),
            },
            sessions: Sessions {
                active: self.sessions_active.get(),
                total: self.sessions_total.get(),
                peak: self.sessions_peak.get(),
            },
            bytes: Bytes {
                up: self.up.get(),
                down: self.down.get(),
            },
            buffers: outside.buffers,
            pipes: outside.pipes,
            rss_kib: outside.rss_kib,
            dc: sum,
            ipv6_fallbacks: self.ipv6_fallbacks.get(),
            closes: std::array::from_fn(|reason| self.closes[reason].get()),
            rejects: std::array::from_fn(|reject| self.rejects[reject].get()),
            config_reloads: self.config_reloads.get(),
            config_rejected: self.config_rejected.get(),
            openings_active: self.openings_active.get(),
            accept_pauses: self.accept_pauses.get(),
            panics: self.panics.get(),
            dcs,
            users: users.collect(),
        }
    }
}

impl Snapshot {
    /// Each close reason and how many sessions it ended.
    pub fn closes(&self) -> [(&'static str, u64); CloseReason::ALL.len()] {
        CloseReason::ALL.map(|reason| (reason.name(), self.closes[reason.index()]))
    }

    /// Each kind of connect failure and how many attempts it ended.
    pub fn connect_failures(&self) -> [(&'static str, u64); ConnectFailure::ALL.len()] {
        ConnectFailure::ALL.map(|kind| (kind.name(), self.dc.failed[kind.index()]))
    }

    /// Each reject and how many openings it refused.
    pub fn rejects(&self) -> [(&'static str, u64); Reject::ALL.len()] {
        Reject::ALL.map(|reject| (reject.name(), self.rejects[reject.index()]))
    }
}

/// A snapshot in which something happened everywhere, with names that need escaping; for the tests of every format.
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests start their own clock")]
pub(crate) fn example() -> Snapshot {
    use super::{SessionStats, raise};
    use std::time::Instant;

    let stats = Stats::new();
    let id = |raw| DcId::new(raw).expect("not 0");
    for raw in [1, 2, 3, 203] {
        stats.declare_dc(id(raw));
    }
    stats.declare_user("family");
    let odd = stats.user("a\"b\\c\nd\te\u{1}");
    let now = Instant::now();
    let live = SessionStats::begin(
        &stats,
        stats.user("family"),
        stats.dc(id(2)),
        [192, 168, 1, 20].into(),
        now,
    );
    live.connect_failed(ConnectFailure::Timeout);
    raise(&stats.dc(id(2)).retries);
    live.connected("149.154.167.51:443".parse().expect("an address"));
    live.moved_up(2048);
    live.moved_down(5_000_000);
    let over = SessionStats::begin(
        &stats,
        odd.clone(),
        stats.dc(id(-2)),
        [192, 168, 1, 21].into(),
        now,
    );
    over.connected("149.154.167.51:443".parse().expect("an address"));
    over.moved_down(1000);
    over.end(CloseReason::DcClosed, now);
    stats.reject(Reject::Replay, Some(&odd));
    stats.clock_refused(-86_400);
    stats.config_rejected();
    stats.ipv6_fallback();
    let _opening = stats.opening();
    let _fronted = stats.fronted();
    stats.fronted_moved(77);
    stats.snapshot(Outside {
        uptime: Duration::from_secs(93_784),
        start_time_s: Some(1_700_000_000),
        synced: true,
        trusted: true,
        buffers: Buffers {
            size: 16_384,
            count: 64,
            in_use: 2,
            high_water: 5,
            waits: 1,
            held: 1,
        },
        pipes: Pipes {
            count: 16,
            in_use: 1,
            high_water: 3,
            misses: 2,
        },
        rss_kib: 1536,
        addresses: Map::from_iter([(
            id(2),
            vec![
                Address {
                    address: "149.154.167.51:443".parse().expect("an address"),
                    state: AddressState::Ok,
                    rtt: Some(Duration::from_micros(41_900)),
                    failures: 0,
                    last_error: None,
                    retry_in: None,
                    dc_timeouts: 0,
                },
                Address {
                    address: "[2001:67c:4e8:f002::a]:443".parse().expect("an address"),
                    state: AddressState::Cooling,
                    rtt: None,
                    failures: 3,
                    last_error: Some(ConnectFailure::Timeout),
                    retry_in: Some(Duration::from_millis(8_200)),
                    dc_timeouts: 1,
                },
            ],
        )]),
        expires: Map::from_iter([("family".to_owned(), "2030-12-31".to_owned())]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_dcs_stand_before_media_ones() {
        let stats = Stats::new();
        for raw in [-2, 203, 1, -1, 2, -203] {
            stats.declare_dc(DcId::new(raw).expect("not 0"));
        }
        let ids: Vec<i16> = stats
            .snapshot(Outside::default())
            .dcs
            .iter()
            .map(|dc| dc.id.raw())
            .collect();
        assert_eq!(ids, [1, 2, 203, -1, -2, -203]);
    }

    #[test]
    fn totals_are_the_sums_of_their_parts() {
        let snapshot = example();
        assert_eq!(
            (snapshot.dc.created, snapshot.dc.active, snapshot.dc.dc_closed),
            (2, 1, 1)
        );
        assert_eq!(snapshot.dc.failed_in_all(), 1);
        assert_eq!(snapshot.dc.bytes, snapshot.bytes);
        assert_eq!(
            snapshot.closes.iter().sum::<u64>(),
            snapshot.sessions.total - snapshot.sessions.active
        );
        let users: u64 = snapshot.users.iter().map(|user| user.bytes.down).sum();
        assert_eq!(users, snapshot.bytes.down);
    }
}
