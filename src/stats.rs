//! What the relay counts, and the one place where it is counted.
//!
//! The names and meanings are those of the owner's documents: `/stats`, `/metrics`, ubus and the log all read the same cells, through a
//! [`Snapshot`]. Everything lives on one thread, so a counter is a `Cell<u64>`: 32-bit MIPS has no 64-bit atomics.
//!
//! Promises: counting never panics and never blocks; a session counts its end exactly once, even when its task is dropped in the
//! middle; for each DC `created = active + ended` at any moment; and no peer can make the tables grow beyond what the config lists.

pub mod emit;
pub mod json;
pub mod prometheus;
pub mod session;
pub mod snapshot;
pub mod text;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use mtrelay_core::close::{CloseReason, ConnectFailure, Reject};
use mtrelay_core::dc::DcId;
use mtrelay_core::map::Map;

pub use emit::Emit;
pub use session::SessionStats;
pub use snapshot::{Address, AddressState, Buffers, Outside, Snapshot};

/// All counters of one relay.
#[derive(Default)]
pub struct Stats {
    sessions_active: Cell<u64>,
    sessions_total: Cell<u64>,
    sessions_peak: Cell<u64>,
    up: Cell<u64>,
    down: Cell<u64>,
    closes: [Cell<u64>; CloseReason::ALL.len()],
    rejects: [Cell<u64>; Reject::ALL.len()],
    clock_refused: Cell<u64>,
    clock_last_offset_s: Cell<i64>,
    fronted_active: Cell<u64>,
    fronted_total: Cell<u64>,
    fronted_bytes: Cell<u64>,
    fronted_failed: Cell<u64>,
    accept_pauses: Cell<u64>,
    panics: Cell<u64>,
    openings_active: Cell<u64>,
    config_reloads: Cell<u64>,
    config_rejected: Cell<u64>,
    ipv6_fallbacks: Cell<u64>,
    dcs: RefCell<Map<DcId, Rc<DcStats>>>,
    users: RefCell<Map<Box<str>, Rc<UserStats>>>,
    live: RefCell<Live>,
}

/// The counters of one data centre. `created = active + ended`; `failed` counts attempts, by [`ConnectFailure::index`].
pub struct DcStats {
    id: DcId,
    /// Connections that were given to a session.
    pub created: Cell<u64>,
    /// Those of them that still live.
    pub active: Cell<u64>,
    /// Those of them that are over.
    pub ended: Cell<u64>,
    /// Those that the DC closed or reset, a session's earlier ones among them.
    pub dc_closed: Cell<u64>,
    /// Those whose DC was gone without a word: it acknowledged nothing any more.
    pub dc_timeouts: Cell<u64>,
    /// Sessions that the client closed or reset.
    pub client_closed: Cell<u64>,
    /// Attempts after the first one of a session.
    pub retries: Cell<u64>,
    /// Attempts that failed, by kind.
    pub failed: [Cell<u64>; ConnectFailure::ALL.len()],
    /// Bytes from clients to this DC.
    pub up: Cell<u64>,
    /// Bytes from this DC to clients.
    pub down: Cell<u64>,
}

/// The counters of one user.
pub struct UserStats {
    name: Box<str>,
    /// Sessions that live.
    pub active: Cell<u64>,
    /// Sessions ever.
    pub total: Cell<u64>,
    /// Bytes from the user's clients.
    pub up: Cell<u64>,
    /// Bytes to the user's clients.
    pub down: Cell<u64>,
    /// Openings with this user's secret that were refused.
    pub rejects: Cell<u64>,
    /// Bytes in both directions that count for the quota.
    pub quota_used: Cell<u64>,
    /// Where that count ends the user's sessions; `None`: nowhere.
    pub quota: Cell<Option<u64>>,
    /// The month in which the count began; `None` while nobody has looked at a calendar.
    pub quota_month: Cell<Option<u32>>,
}

/// Adds without ever panicking: after 2^64 a counter starts again at 0.
pub(crate) fn add(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get().wrapping_add(n));
}

pub(crate) fn raise(counter: &Cell<u64>) {
    add(counter, 1);
}

fn lower(gauge: &Cell<u64>) {
    gauge.set(gauge.get().saturating_sub(1));
}

impl Stats {
    /// All at zero, nothing listed.
    pub fn new() -> Rc<Stats> {
        Rc::new(Stats::default())
    }

    /// The counters of a DC, listed from now on. An id that is neither declared nor the protocol's own gets counters that nobody
    /// lists: a client may ask for any of 65,535 ids, and that must cost no memory that stays.
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

    /// Counts an opening that did not become a session, also against the user whose secret it had.
    pub fn reject(&self, reject: Reject, user: Option<&UserStats>) {
        raise(&self.rejects[reject.index()]);
        if let Some(user) = user {
            raise(&user.rejects);
        }
    }

    /// Counts a hello refused for its time alone, and keeps how far off it was: the client's time less ours.
    pub fn clock_refused(&self, offset_s: i64) {
        raise(&self.clock_refused);
        self.clock_last_offset_s.set(offset_s);
    }

    /// Counts an opening in flight for as long as the guard lives.
    pub fn opening(self: &Rc<Self>) -> Raised {
        Raised::new(self, |stats| &stats.openings_active)
    }

    /// Counts a connection passed to the front site for as long as the guard lives.
    pub fn fronted(self: &Rc<Self>) -> Raised {
        raise(&self.fronted_total);
        Raised::new(self, |stats| &stats.fronted_active)
    }

    /// Counts a stranger to whom the front site could not be shown.
    pub fn fronted_failed(&self) {
        raise(&self.fronted_failed);
    }

    /// Counts a time when accepting had to rest.
    pub fn accept_paused(&self) {
        raise(&self.accept_pauses);
    }

    /// Counts a task that panicked.
    pub fn panicked(&self) {
        raise(&self.panics);
    }

    /// Counts bytes passed to or from the front site.
    pub fn fronted_moved(&self, n: usize) {
        add(&self.fronted_bytes, n as u64);
    }

    /// Counts a reload that was taken over.
    pub fn config_reloaded(&self) {
        raise(&self.config_reloads);
    }

    /// Counts a reload that was refused whole.
    pub fn config_rejected(&self) {
        raise(&self.config_rejected);
    }

    /// Counts a session whose IPv6 attempts failed and which came through over IPv4.
    pub fn ipv6_fallback(&self) {
        raise(&self.ipv6_fallbacks);
    }

    /// Sessions that live now.
    pub fn sessions_active(&self) -> u64 {
        self.sessions_active.get()
    }

    /// Openings in flight now.
    pub fn openings_active(&self) -> u64 {
        self.openings_active.get()
    }

    /// A page of the live sessions, and how many there are in all.
    pub fn sessions(&self, offset: usize, limit: usize) -> (Vec<Rc<SessionStats>>, usize) {
        let live = self.live.borrow();
        let sessions = live.slots.iter().flatten().filter_map(Weak::upgrade);
        (sessions.skip(offset).take(limit).collect(), live.len())
    }
}

/// The ids that a genuine client may ask for without any entry in the config.
fn is_of_the_protocol(id: DcId) -> bool {
    matches!(id.main().raw(), 1..=5 | 203 | 10001..=10005)
}

impl DcStats {
    fn new(id: DcId) -> DcStats {
        DcStats {
            id,
            created: Cell::default(),
            active: Cell::default(),
            ended: Cell::default(),
            dc_closed: Cell::default(),
            dc_timeouts: Cell::default(),
            client_closed: Cell::default(),
            retries: Cell::default(),
            failed: Default::default(),
            up: Cell::default(),
            down: Cell::default(),
        }
    }

    /// The DC whose counters these are.
    pub fn id(&self) -> DcId {
        self.id
    }
}

impl UserStats {
    fn new(name: &str) -> UserStats {
        UserStats {
            name: name.into(),
            active: Cell::default(),
            total: Cell::default(),
            up: Cell::default(),
            down: Cell::default(),
            rejects: Cell::default(),
            quota_used: Cell::default(),
            quota: Cell::default(),
            quota_month: Cell::default(),
        }
    }

    /// Whether the quota is used up.
    pub fn is_over_quota(&self) -> bool {
        self.quota
            .get()
            .is_some_and(|quota| self.quota_used.get() >= quota)
    }

    /// It is this month now: in another one than before the count for the quota begins anew.
    pub fn enter_month(&self, month: u32) {
        if self
            .quota_month
            .replace(Some(month))
            .is_some_and(|before| before != month)
        {
            self.quota_used.set(0);
        }
    }

    /// The user's name, as the config has it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A gauge that stands one higher while this lives.
pub struct Raised {
    stats: Rc<Stats>,
    gauge: fn(&Stats) -> &Cell<u64>,
}

impl Raised {
    fn new(stats: &Rc<Stats>, gauge: fn(&Stats) -> &Cell<u64>) -> Raised {
        raise(gauge(stats));
        Raised {
            stats: Rc::clone(stats),
            gauge,
        }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        lower((self.gauge)(&self.stats));
    }
}

/// The live sessions: places that are used again, so that a page of them stays put while others come and go.
/// A place is 8 bytes on a 32-bit router: 1,024 sessions are 8 KiB, given back when the last one ends.
#[derive(Default)]
struct Live {
    slots: Vec<Option<Weak<SessionStats>>>,
    free: Vec<usize>,
}

impl Live {
    fn insert(&mut self, session: Weak<SessionStats>) -> usize {
        if let Some(slot) = self.free.pop() {
            self.slots[slot] = Some(session);
            return slot;
        }
        self.slots.push(Some(session));
        self.slots.len() - 1
    }

    fn remove(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free.push(slot);
        if self.len() == 0 {
            *self = Live::default();
        }
    }

    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dc(raw: i16) -> DcId {
        DcId::new(raw).expect("not 0")
    }

    #[test]
    fn a_dc_and_a_user_have_one_set_of_counters() {
        let stats = Stats::new();
        raise(&stats.dc(dc(-2)).retries);
        raise(&stats.dc(dc(-2)).retries);
        assert_eq!(stats.dc(dc(-2)).retries.get(), 2);
        assert_eq!(stats.dc(dc(2)).retries.get(), 0);
        raise(&stats.user("a").total);
        stats.declare_user("a");
        assert_eq!(stats.user("a").total.get(), 1);
    }

    #[test]
    fn strange_ids_are_never_listed() {
        let stats = Stats::new();
        stats.declare_dc(dc(7));
        for raw in i16::MIN..=i16::MAX {
            if let Some(id) = DcId::new(raw) {
                assert_eq!(stats.dc(id).id(), id);
            }
        }
        // 1 to 5, 203, 10001 to 10005 and the declared 7, each with its media twin.
        assert_eq!(stats.dcs.borrow().values().count(), 24);
    }

    #[test]
    fn rejects_count_in_all_and_for_the_user() {
        let stats = Stats::new();
        let user = stats.user("a");
        stats.reject(Reject::Replay, Some(&user));
        stats.reject(Reject::BadSecret, None);
        assert_eq!(stats.rejects[Reject::Replay.index()].get(), 1);
        assert_eq!(stats.rejects[Reject::BadSecret.index()].get(), 1);
        assert_eq!(user.rejects.get(), 1);
    }

    #[test]
    fn a_counter_at_its_end_starts_again_without_a_panic() {
        let counter = Cell::new(u64::MAX);
        add(&counter, 3);
        assert_eq!(counter.get(), 2);
        let gauge = Cell::new(0);
        lower(&gauge);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn a_quota_counts_until_the_month_changes() {
        let user = UserStats::new("a");
        user.quota_used.set(5);
        assert!(!user.is_over_quota());
        user.quota.set(Some(5));
        assert!(user.is_over_quota());
        for (month, used) in [(24_321, 5), (24_321, 5), (24_322, 0)] {
            user.enter_month(month);
            assert_eq!(user.quota_used.get(), used, "{month}");
        }
    }

    #[test]
    fn guards_raise_their_gauge_while_they_live() {
        let stats = Stats::new();
        let (one, two, front) = (stats.opening(), stats.opening(), stats.fronted());
        assert_eq!((stats.openings_active(), stats.fronted_active.get()), (2, 1));
        drop((one, two, front));
        assert_eq!(
            (
                stats.openings_active(),
                stats.fronted_active.get(),
                stats.fronted_total.get()
            ),
            (0, 0, 1)
        );
    }

    #[test]
    fn users_that_a_reload_removed_are_no_longer_listed() {
        let stats = Stats::new();
        stats.declare_user("stays");
        stats.declare_user("goes");
        stats.retain_users(|name| name == "stays");
        assert_eq!(
            stats
                .users
                .borrow()
                .iter()
                .map(|(name, _)| &**name)
                .collect::<Vec<_>>(),
            ["stays"]
        );
    }
}
