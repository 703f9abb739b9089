//! The counters of one relay: the whole, each data centre, each user; and the snapshot of all of them.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use super::dc::DcStats;
use super::session::{SessionStats, Whole};
use super::user::UserStats;
use crate::metrics::emit::{Emit, uint};
use crate::metrics::snapshot::{Address, Dc, Snapshot, User};
use crate::metrics::table::{DcMetric, DcValues, RelayMetric, RelayValues, UNKNOWN};
use mtrelay_core::close::{ConnectFailure, Reject};
use mtrelay_core::dc::DcId;
use mtrelay_core::map::Map;

/// All counters of one relay.
#[derive(Default)]
pub struct Stats {
    whole: Rc<Whole>,
    dcs: RefCell<Map<DcId, Rc<DcStats>>>,
    users: RefCell<Map<Box<str>, Rc<UserStats>>>,
}

/// The part of a snapshot that is not counted here: the daemon provides it for each snapshot.
#[derive(Clone, Debug, Default)]
pub struct SnapshotInputs {
    /// The gauges that the daemon reads elsewhere: uptime, clock, pools, memory.
    pub gauges: Vec<(RelayMetric, i64)>,
    /// The addresses of each DC, with their state.
    pub addresses: Map<DcId, Vec<Address>>,
    /// The last day of each user that has one, `YYYY-MM-DD`.
    pub expires: Map<String, String>,
}

impl Stats {
    /// All at zero, nothing listed.
    pub fn new() -> Rc<Stats> {
        Rc::new(Stats::default())
    }

    /// The counters of a DC, listed from now on. An id that is neither declared nor one of the protocol's own gets counters that are
    /// not listed: a client may ask for any of 65,535 ids, and that must cost no memory that stays.
    pub fn dc(&self, id: DcId) -> Rc<DcStats> {
        let mut dcs = self.dcs.borrow_mut();
        if let Some(dc) = dcs.get(&id) {
            return Rc::clone(dc);
        }
        let dc = Rc::new(DcStats::new(id));
        if is_of_the_protocol(id) || dcs.contains_key(&id.main()) {
            dcs.insert(id, Rc::clone(&dc));
        }
        dc
    }

    /// Lists a DC before it is used, so that its series exist from the start.
    pub fn declare_dc(&self, id: DcId) {
        let mut dcs = self.dcs.borrow_mut();
        if !dcs.contains_key(&id) {
            dcs.insert(id, Rc::new(DcStats::new(id)));
        }
    }

    /// The counters of a user, listed from now on. Names come from the config only, which bounds their number.
    pub fn user(&self, name: &str) -> Rc<UserStats> {
        let mut users = self.users.borrow_mut();
        if let Some(user) = users.get(name) {
            return Rc::clone(user);
        }
        let user = Rc::new(UserStats::new(name));
        users.insert(name.into(), Rc::clone(&user));
        user
    }

    /// Lists a user before the first session.
    #[cfg(test)]
    pub fn declare_user(&self, name: &str) {
        self.user(name);
    }

    /// Lists only these users from now on, after a reload removed some. Their live sessions go on and stay in the totals.
    pub fn retain_users(&self, keep: impl Fn(&str) -> bool) {
        self.users.borrow_mut().retain(|name| keep(name));
    }

    /// Each listed user.
    pub fn users(&self) -> Vec<Rc<UserStats>> {
        self.users.borrow().values().cloned().collect()
    }

    /// Counts a connection that did not become a session, also against the user whose secret it had.
    pub fn reject(&self, reject: Reject, user: Option<&UserStats>) {
        self.whole
            .cells
            .raise(RelayMetric::Rejects.slot() + reject.index());
        if let Some(user) = user {
            user.rejected();
        }
    }

    /// Counts a handshake refused only because of its time, and keeps the offset: the client's time minus ours.
    pub fn clock_refused(&self, offset_s: i64) {
        self.whole.raise(RelayMetric::ClockRefused);
        let slot = RelayMetric::ClockLastOffset.slot();
        self.whole.cells.set(slot, offset_s as u64);
    }

    /// Counts a pending handshake for as long as the guard lives.
    pub fn opening(&self) -> Raised {
        Raised::new(&self.whole, RelayMetric::OpeningsActive)
    }

    /// Counts a connection passed to the front site for as long as the guard lives.
    pub fn fronted(&self) -> Raised {
        self.whole.raise(RelayMetric::FrontedTotal);
        Raised::new(&self.whole, RelayMetric::FrontedActive)
    }

    /// Counts a failed connection to the front site.
    pub fn fronted_failed(&self) {
        self.whole.raise(RelayMetric::FrontedFailed);
    }

    /// Counts bytes passed to or from the front site.
    pub fn fronted_moved(&self, n: usize) {
        self.whole.cells.add(RelayMetric::FrontedBytes.slot(), n as u64);
    }

    /// Counts a pause in accepting.
    pub fn accept_paused(&self) {
        self.whole.raise(RelayMetric::AcceptPauses);
    }

    /// Counts a task that panicked.
    pub fn panicked(&self) {
        self.whole.raise(RelayMetric::Panics);
    }

    /// Counts a reload that took effect.
    pub fn config_reloaded(&self) {
        self.whole.raise(RelayMetric::ConfigReloads);
    }

    /// Counts a reload that was refused as a whole.
    pub fn config_rejected(&self) {
        self.whole.raise(RelayMetric::ConfigRejected);
    }

    /// Live sessions.
    pub fn sessions_active(&self) -> u64 {
        self.whole.get(RelayMetric::SessionsActive)
    }

    /// Pending handshakes.
    #[cfg(test)]
    pub fn openings_active(&self) -> u64 {
        self.whole.get(RelayMetric::OpeningsActive)
    }

    /// A page of the live sessions, and the number of all.
    pub fn sessions(&self, offset: usize, limit: usize) -> (Vec<Rc<SessionStats>>, usize) {
        let live = self.whole.live.borrow();
        (live.iter().skip(offset).take(limit).collect(), live.len())
    }

    /// The fields of ubus `sessions`: a page of the live sessions, and the number of all.
    pub fn emit_sessions(&self, offset: usize, limit: usize, now: Instant, out: &mut dyn Emit) {
        let (sessions, total) = self.sessions(offset, limit);
        out.array("sessions");
        for session in sessions {
            out.table("");
            session.emit(now, out);
            out.end();
        }
        out.end();
        uint(out, "total", total as u64);
    }

    /// The value of a metric of the whole relay.
    #[cfg(test)]
    pub fn get(&self, metric: RelayMetric) -> u64 {
        self.whole.get(metric)
    }

    /// The values of all metrics now.
    pub fn snapshot(&self, mut inputs: SnapshotInputs) -> Snapshot {
        let mut sum = DcValues::default();
        let mut dcs: Vec<Dc> = Vec::new();
        for (&id, dc) in self.dcs.borrow().iter() {
            let values = dc.values();
            for (sum, value) in sum.0.iter_mut().zip(values.0) {
                *sum = sum.wrapping_add(value);
            }
            dcs.push(Dc {
                id,
                values,
                addresses: inputs.addresses.remove(&id).unwrap_or_default(),
            });
        }
        dcs.sort_unstable_by_key(|dc| (dc.id.is_media(), dc.id.main()));
        let users = self.users.borrow();
        let users = users.iter().map(|(name, user)| User {
            name: name.to_string(),
            expires: inputs.expires.remove(&**name),
            values: user.values(),
        });
        let users = users.collect();
        let mut relay = RelayValues(self.whole.cells.values());
        relay.set(RelayMetric::StartTime, UNKNOWN);
        for kind in ConnectFailure::ALL.map(ConnectFailure::index) {
            relay.0[RelayMetric::ConnectFailures.slot() + kind] = sum.of(DcMetric::Failed, kind);
        }
        for (metric, value) in inputs.gauges {
            relay.set(metric, value);
        }
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            relay,
            dc: sum,
            dcs,
            users,
        }
    }
}

impl SessionStats {
    /// Counts a new session and lists it among the live ones.
    pub fn begin(
        stats: &Stats,
        user: Rc<UserStats>,
        dc: Rc<DcStats>,
        client: IpAddr,
        now: Instant,
    ) -> Rc<SessionStats> {
        SessionStats::begin_in(&stats.whole, user, dc, client, now)
    }
}

/// The ids that a genuine client may ask for without any entry in the config.
fn is_of_the_protocol(id: DcId) -> bool {
    matches!(id.main().raw(), 1..=5 | 203 | 10001..=10005)
}

/// A gauge that stands one higher while this lives.
pub struct Raised {
    whole: Rc<Whole>,
    gauge: RelayMetric,
}

impl Raised {
    fn new(whole: &Rc<Whole>, gauge: RelayMetric) -> Raised {
        whole.raise(gauge);
        Raised {
            whole: Rc::clone(whole),
            gauge,
        }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.whole.cells.lower(self.gauge.slot());
    }
}
