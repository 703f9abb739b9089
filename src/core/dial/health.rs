//! What is remembered of each address, so that no two sessions pay for the same bad one.
//!
//! An address in failure cools down: other addresses go before it, first for about 2 s and, if it is still in failure
//! after that, for twice as long each time, up to 5 min. Everything that happens during one cool-down is one failure,
//! however many sessions it hits. When the cool-down is over the address may prove itself ([`Health::poll_probe`]); until
//! it has, it stays behind those that are known to work and those that nobody has tried.
//!
//! An address that accepts connections and then does not answer is not healed by accepting another one: only an answer
//! does that ([`Health::handle_answered`]).
//!
//! Promise: at most `MAX_RECORDS` addresses are remembered, and nothing here waits, asks a clock or draws a number.

use crate::close::ConnectFailure;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// 256 records × 104 bytes = 26 KiB. The built-in table has about twenty addresses; the fronted site adds its own.
const MAX_RECORDS: usize = 256;
/// Turns that are kept for whoever tells of them: one a moment for each address in use, and room to spare.
const MAX_CHANGES: usize = 64;
const INITIAL_COOL_DOWN: Duration = Duration::from_secs(2);
const MAX_COOL_DOWN: Duration = Duration::from_secs(300);

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFailure {
    /// An attempt to connect failed.
    Connect(ConnectFailure),
    /// Another address was begun later and connected earlier.
    Overtaken,
    /// It accepted a connection, and then was silent or closed without an answer.
    Unanswered,
}

impl AddressFailure {
    /// For the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect(kind) => kind.name(),
            Self::Overtaken => "overtaken",
            Self::Unanswered => "unanswered",
        }
    }

    /// The word of the statistics that comes nearest: no answer in time.
    #[must_use]
    pub const fn as_failure(self) -> ConnectFailure {
        match self {
            Self::Connect(kind) => kind,
            Self::Overtaken | Self::Unanswered => ConnectFailure::Timeout,
        }
    }
}

/// Where an address stands among others: the smaller, the earlier it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthState {
    /// It worked last time.
    Healthy,
    /// Nothing is known.
    Untried,
    /// It was in failure, has cooled down and has not proven itself yet.
    Probation,
    /// It is in failure.
    Cooling,
}

/// What an address has come to, for whoever tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// Which.
    pub address: SocketAddr,
    /// What is wrong; `None`: it works.
    pub failure: Option<AddressFailure>,
}

/// What is known of one address, for the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressHealth {
    /// Where it stands. The statistics call both `Probation` and `Cooling` cooling.
    pub state: HealthState,
    /// How long connecting takes, smoothed.
    pub rtt: Option<Duration>,
    /// Troubles since it worked last.
    pub failures: u32,
    /// The latest failure, even if it works again.
    pub last_error: Option<ConnectFailure>,
    /// While cooling: what is left of it.
    pub retry_in: Option<Duration>,
    /// Sessions that lost it without a word: it acknowledged nothing any more.
    pub dc_timeouts: u64,
}

struct Record {
    address: SocketAddr,
    srtt: Option<Duration>,
    /// Not zero: in failure.
    failures: u32,
    /// How many cool-downs in a row.
    cool_downs: u32,
    cool_until: Instant,
    last: Option<AddressFailure>,
    /// The last time that anything was noted.
    noted: Instant,
}

impl Record {
    fn state(&self, now: Instant) -> HealthState {
        if self.failures == 0 {
            HealthState::Healthy
        } else if self.cool_until > now {
            HealthState::Cooling
        } else {
            HealthState::Probation
        }
    }

    fn heal(&mut self) {
        (self.failures, self.cool_downs) = (0, 0);
    }

    /// The next cool-down, a little shorter than the doubling says, so that not everything is tried again at once.
    fn cool(&mut self, now: Instant, random: u32) {
        let doubled = INITIAL_COOL_DOWN.saturating_mul(1 << self.cool_downs.min(16));
        let span = jittered(doubled.min(MAX_COOL_DOWN), random);
        self.cool_downs = self.cool_downs.saturating_add(1);
        self.cool_until = now.checked_add(span).unwrap_or(now);
    }
}

/// Between three quarters of `longest` and all of it.
pub(super) fn jittered(longest: Duration, random: u32) -> Duration {
    longest - longest / 4 / 256 * (random >> 24)
}

/// What is remembered of all addresses.
///
/// `handle_*` take in what happened. [`super::attempts::Race`] asks for the [`HealthState`]s, and whoever drives it asks
/// [`Health::poll_probe`] when a session has got its connection.
#[derive(Default)]
pub struct Health {
    records: Vec<Record>,
    changes: VecDeque<HealthChange>,
    /// Apart from the records, which are forgotten sooner: a count for each address that has one.
    dc_timeouts: Vec<(SocketAddr, u64)>,
}

impl Health {
    /// An attempt connected after `rtt`.
    pub fn handle_connected(&mut self, address: SocketAddr, rtt: Duration, now: Instant) {
        let record = self.note(address, now);
        // RFC 6298, 2.3: an eighth of what is new.
        record.srtt = Some(match record.srtt {
            Some(srtt) => srtt - srtt / 8 + rtt / 8,
            None => rtt,
        });
        if record.last != Some(AddressFailure::Unanswered) {
            record.heal();
            self.note_change(address, None);
        }
    }

    /// An address that accepted a connection also answered.
    pub fn handle_answered(&mut self, address: SocketAddr, now: Instant) {
        if self.find(address).is_some() {
            self.note(address, now).heal();
            self.note_change(address, None);
        }
    }

    /// Something went wrong.
    pub fn handle_failure(
        &mut self,
        address: SocketAddr,
        failure: AddressFailure,
        now: Instant,
        random: u32,
    ) {
        let record = self.note(address, now);
        if record.state(now) != HealthState::Cooling {
            record.cool(now, random);
        }
        // Being slow besides is no news, and must not hide that only an answer can heal it.
        if record.failures == 0 || failure != AddressFailure::Overtaken {
            record.last = Some(failure);
        }
        record.failures = record.failures.saturating_add(1);
        if failure != AddressFailure::Overtaken {
            self.note_change(address, Some(failure));
        }
    }

    /// What addresses have come to since this was last asked for: in their order.
    pub fn take_changes(&mut self) -> impl Iterator<Item = HealthChange> + use<> {
        std::mem::take(&mut self.changes).into_iter()
    }

    fn note_change(&mut self, address: SocketAddr, failure: Option<AddressFailure>) {
        let mut latest = self
            .changes
            .iter()
            .rev()
            .filter(|change| change.address == address);
        if latest
            .next()
            .is_some_and(|change| change.failure.is_some() == failure.is_some())
        {
            return;
        }
        if self.changes.len() >= MAX_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back(HealthChange { address, failure });
    }

    /// A session has lost its connection to the address without a word.
    pub fn handle_dc_timeout(&mut self, address: SocketAddr) {
        let known = self.dc_timeouts.iter().position(|count| count.0 == address);
        match known {
            Some(at) => self.dc_timeouts[at].1 = self.dc_timeouts[at].1.saturating_add(1),
            None if self.dc_timeouts.len() < MAX_RECORDS => self.dc_timeouts.push((address, 1)),
            None => {}
        }
    }

    /// The next of `addresses` that has cooled down and may prove itself by being connected to, apart from any session.
    /// It is not named again before another cool-down. One that did not answer cannot prove itself in this way.
    pub fn poll_probe(&mut self, addresses: &[SocketAddr], now: Instant, random: u32) -> Option<SocketAddr> {
        let record = self.records.iter_mut().find(|record| {
            addresses.contains(&record.address)
                && record.state(now) == HealthState::Probation
                && record.last != Some(AddressFailure::Unanswered)
        })?;
        record.cool(now, random);
        Some(record.address)
    }

    /// Forgets all troubles: the way to the addresses is another one now. What is known of the healthy ones stays,
    /// so that they go before all others again.
    pub fn forget(&mut self) {
        self.records.retain(|record| record.failures == 0);
    }

    /// Forgets addresses that nobody needs any more.
    pub fn retain(&mut self, mut needed: impl FnMut(SocketAddr) -> bool) {
        self.records.retain(|record| needed(record.address));
        self.dc_timeouts.retain(|count| needed(count.0));
    }

    /// Where an address stands.
    #[must_use]
    pub fn state(&self, address: SocketAddr, now: Instant) -> HealthState {
        self.find(address)
            .map_or(HealthState::Untried, |record| record.state(now))
    }

    /// All that is known of an address.
    #[must_use]
    pub fn report(&self, address: SocketAddr, now: Instant) -> AddressHealth {
        let record = self.find(address);
        let state = self.state(address, now);
        AddressHealth {
            state,
            rtt: record.and_then(|record| record.srtt),
            failures: record.map_or(0, |record| record.failures),
            last_error: record
                .and_then(|record| record.last)
                .map(AddressFailure::as_failure),
            retry_in: record
                .filter(|_| state == HealthState::Cooling)
                .map(|record| record.cool_until.saturating_duration_since(now)),
            dc_timeouts: self
                .dc_timeouts
                .iter()
                .find(|count| count.0 == address)
                .map_or(0, |count| count.1),
        }
    }

    /// What orders addresses of the same state: the smaller, the earlier.
    pub(super) fn weight(&self, address: SocketAddr, now: Instant) -> u32 {
        let millis = |span: Duration| u32::try_from(span.as_millis() as u64).unwrap_or(u32::MAX);
        match self.report(address, now) {
            AddressHealth {
                state: HealthState::Healthy,
                rtt,
                ..
            } => rtt.map_or(0, millis),
            // Who learnt from one data centre that IPv6 leads nowhere need not learn it from the next one again.
            AddressHealth {
                state: HealthState::Untried,
                ..
            } => self.in_doubt(address.is_ipv4()).into(),
            AddressHealth { retry_in, .. } => retry_in.map_or(0, millis),
        }
    }

    /// Whether no address of a family works and some do not.
    fn in_doubt(&self, ipv4: bool) -> bool {
        let mut family = self
            .records
            .iter()
            .filter(|record| record.address.is_ipv4() == ipv4)
            .peekable();
        family.peek().is_some() && family.all(|record| record.failures > 0)
    }

    fn find(&self, address: SocketAddr) -> Option<&Record> {
        self.records.iter().find(|record| record.address == address)
    }

    /// The record of an address, made on first use; the one that was not needed for longest makes room.
    fn note(&mut self, address: SocketAddr, now: Instant) -> &mut Record {
        let known = self.records.iter().position(|record| record.address == address);
        let at = known.unwrap_or_else(|| {
            if self.records.len() >= MAX_RECORDS {
                let oldest = (0..self.records.len()).min_by_key(|&at| self.records[at].noted);
                self.records.swap_remove(oldest.expect("it is full"));
            }
            self.records.push(Record {
                address,
                srtt: None,
                failures: 0,
                cool_downs: 0,
                cool_until: now,
                last: None,
                noted: now,
            });
            self.records.len() - 1
        });
        let record = &mut self.records[at];
        record.noted = now;
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    const REFUSED: AddressFailure = AddressFailure::Connect(ConnectFailure::Refused);

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 443))
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_round_trip_is_smoothed() {
        let (mut health, now) = (Health::default(), clock::now());
        health.handle_connected(address(1), Duration::from_millis(80), now);
        health.handle_connected(address(1), Duration::from_millis(160), now);
        assert_eq!(
            health.report(address(1), now).rtt,
            Some(Duration::from_millis(90))
        );
    }

    #[test]
    fn cool_downs_double_up_to_five_minutes_and_one_success_ends_them() {
        let (mut health, mut now) = (Health::default(), clock::now());
        for expected in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            health.handle_failure(address(1), REFUSED, now, 0);
            let report = health.report(address(1), now);
            assert_eq!(report.retry_in, Some(secs(expected)));
            now += secs(expected);
            assert_eq!(health.state(address(1), now), HealthState::Probation);
        }
        assert_eq!(health.report(address(1), now).failures, 10);
        health.handle_connected(address(1), secs(1), now);
        let report = health.report(address(1), now);
        assert_eq!(
            (report.state, report.failures, report.retry_in),
            (HealthState::Healthy, 0, None)
        );
        assert_eq!(report.last_error, Some(ConnectFailure::Refused));
        health.handle_failure(address(1), REFUSED, now, 0);
        assert_eq!(health.report(address(1), now).retry_in, Some(secs(2)));
    }

    #[test]
    fn a_trouble_that_hits_many_sessions_is_one() {
        let (mut health, now) = (Health::default(), clock::now());
        for _ in 0..200 {
            health.handle_failure(address(1), REFUSED, now, u32::MAX);
        }
        let report = health.report(address(1), now);
        assert_eq!(report.failures, 200);
        assert!(
            report
                .retry_in
                .is_some_and(|span| span <= secs(2) && span >= secs(1))
        );
    }

    #[test]
    fn jitter_takes_away_a_quarter_at_most() {
        assert_eq!(jittered(secs(4), 0), secs(4));
        let shortest = jittered(secs(4), u32::MAX);
        assert!(
            shortest >= secs(3) && shortest < Duration::from_millis(3010),
            "{shortest:?}"
        );
    }

    #[test]
    fn accepting_does_not_heal_an_address_that_did_not_answer() {
        let (mut health, now) = (Health::default(), clock::now());
        health.handle_connected(address(1), secs(1), now);
        health.handle_failure(address(1), AddressFailure::Unanswered, now, 0);
        health.handle_failure(address(1), AddressFailure::Overtaken, now, 0);
        health.handle_connected(address(1), secs(1), now);
        assert_eq!(health.state(address(1), now), HealthState::Cooling);
        assert_eq!(health.poll_probe(&[address(1)], now + secs(3), 0), None);
        health.handle_answered(address(1), now);
        assert_eq!(health.state(address(1), now), HealthState::Healthy);
    }

    #[test]
    fn an_address_that_cooled_down_is_probed_once_per_cool_down() {
        let (mut health, now) = (Health::default(), clock::now());
        health.handle_failure(address(1), AddressFailure::Overtaken, now, 0);
        let all = [address(2), address(1)];
        assert_eq!(health.poll_probe(&all, now, 0), None, "still cooling");
        assert_eq!(health.poll_probe(&all, now + secs(2), 0), Some(address(1)));
        assert_eq!(health.poll_probe(&all, now + secs(5), 0), None);
        assert_eq!(health.poll_probe(&all, now + secs(6), 0), Some(address(1)));
    }

    #[test]
    fn a_change_of_the_way_forgets_troubles_and_keeps_what_works() {
        let (mut health, now) = (Health::default(), clock::now());
        health.handle_failure(address(1), REFUSED, now, 0);
        health.handle_connected(address(2), secs(1), now);
        health.forget();
        assert_eq!(health.state(address(1), now), HealthState::Untried);
        assert_eq!(health.state(address(2), now), HealthState::Healthy);
        health.retain(|_| false);
        assert_eq!(health.state(address(2), now), HealthState::Untried);
    }

    #[test]
    fn turns_tell_of_troubles_and_recoveries_in_their_order() {
        let (mut health, now) = (Health::default(), clock::now());
        let change = |address, failure| HealthChange { address, failure };
        health.handle_connected(address(1), secs(1), now);
        health.handle_failure(address(1), AddressFailure::Overtaken, now, 0);
        for _ in 0..5 {
            health.handle_failure(address(1), REFUSED, now, 0);
        }
        health.handle_failure(address(2), AddressFailure::Unanswered, now, 0);
        health.handle_connected(address(2), secs(1), now);
        health.handle_connected(address(1), secs(1), now);
        let changes: Vec<HealthChange> = health.take_changes().collect();
        let expected = [
            change(address(1), None),
            change(address(1), Some(REFUSED)),
            change(address(2), Some(AddressFailure::Unanswered)),
            change(address(1), None),
        ];
        assert_eq!(changes, expected);
        assert_eq!(health.take_changes().count(), 0);
    }

    #[test]
    fn memory_is_bounded_and_the_longest_unneeded_goes_first() {
        let (mut health, now) = (Health::default(), clock::now());
        for n in 0..2000_u16 {
            let at = now + Duration::from_millis(n.into());
            let [high, low] = n.to_be_bytes();
            health.handle_connected(SocketAddr::from(([127, 1, high, low], 1)), secs(1), at);
            health.handle_connected(address(1), secs(1), at);
        }
        assert_eq!(
            (health.records.len(), health.changes.len()),
            (MAX_RECORDS, MAX_CHANGES)
        );
        assert_eq!(health.state(address(1), now), HealthState::Healthy);
    }
}
