//! The health of each address, so that one session's failed attempt spares the next sessions the same wait.
//!
//! A failing address cools down: other addresses go before it. The first cool-down takes about 2 s. If the address fails again
//! afterwards, the cool-down doubles, up to 5 min. All failures during one cool-down count as one step, however many sessions
//! meet them. After the cool-down a background connection tests the address ([`Health::poll_probe`]). Until that succeeds, the
//! address stays behind healthy and untried ones.
//!
//! An address that accepted a connection and brought no answer becomes healthy only by an answer
//! ([`Health::handle_answered`]), not by accepting again.
//!
//! Promise: at most `MAX_RECORDS` addresses are remembered. Time and random numbers are arguments.

use crate::close::ConnectFailure;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Limit of remembered addresses: 256 × 104 bytes = 26 KiB. The built-in table has about twenty; the front site adds its own.
const MAX_RECORDS: usize = 256;
/// Limit of changes kept until [`Health::take_changes`], once a second: more than twice the built-in table.
const MAX_CHANGES: usize = 64;
/// Length of the first cool-down.
const INITIAL_COOL_DOWN: Duration = Duration::from_secs(2);
/// Length at which cool-downs no longer double.
const MAX_COOL_DOWN: Duration = Duration::from_secs(300);

/// Why an address is failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFailure {
    /// An attempt to connect failed.
    Connect(ConnectFailure),
    /// Another address was begun later and connected earlier.
    Overtaken,
    /// The address accepted a connection, and then was silent or closed it without an answer.
    Unanswered,
}

impl AddressFailure {
    /// The word in the log and in ubus notifications.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect(kind) => kind.name(),
            Self::Overtaken => "overtaken",
            Self::Unanswered => "unanswered",
        }
    }

    /// The connect failure under which the statistics count it. The two other kinds count as a timeout.
    #[must_use]
    pub const fn as_failure(self) -> ConnectFailure {
        match self {
            Self::Connect(kind) => kind,
            Self::Overtaken | Self::Unanswered => ConnectFailure::Timeout,
        }
    }
}

/// The health of an address. A smaller value is tried earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthState {
    /// The latest attempt worked.
    Healthy,
    /// The address has no history.
    Untried,
    /// The cool-down is over, and no attempt has worked since.
    Probation,
    /// The address failed and is cooling down.
    Cooling,
}

/// A change of one address's health, for ubus notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// The address.
    pub address: SocketAddr,
    /// Why the address is failing; `None` if it works again.
    pub failure: Option<AddressFailure>,
}

/// The health of one address, for the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressHealth {
    /// The state. The statistics show `Probation` as `cooling` too.
    pub state: HealthState,
    /// Smoothed time that connecting takes (RFC 6298).
    pub rtt: Option<Duration>,
    /// Failures since the address worked last.
    pub failures: u32,
    /// The latest failure; it stays when the address works again.
    pub last_error: Option<ConnectFailure>,
    /// The rest of the cool-down, while cooling.
    pub retry_in: Option<Duration>,
    /// Sessions that ended with `dc_timeout`: the address acknowledged nothing any more.
    pub dc_timeouts: u64,
}

struct AddressRecord {
    address: SocketAddr,
    srtt: Option<Duration>,
    /// Failures since the address worked last; zero means healthy.
    failures: u32,
    /// Cool-downs since the address worked last.
    cool_downs: u32,
    cool_until: Instant,
    last: Option<AddressFailure>,
    /// Time of the latest event. The record with the oldest one is replaced when the memory is full.
    noted: Instant,
}

impl AddressRecord {
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

    /// Begins the next cool-down, with a jitter so that not all addresses are tried again at once.
    fn cool(&mut self, now: Instant, random: u32) {
        let doubled = INITIAL_COOL_DOWN.saturating_mul(1 << self.cool_downs.min(16));
        let span = jittered(doubled.min(MAX_COOL_DOWN), random);
        self.cool_downs = self.cool_downs.saturating_add(1);
        self.cool_until = now.checked_add(span).unwrap_or(now);
    }
}

/// A span between three quarters of `longest` and all of it, as `random` says.
pub(super) fn jittered(longest: Duration, random: u32) -> Duration {
    longest - longest / 4 / 256 * (random >> 24)
}

/// The memory of all addresses.
///
/// Events go in by `handle_*`. [`super::attempts::Race`] asks for the [`HealthState`] of each address. After each dialing the
/// dialer asks [`Health::poll_probe`] for an address to test.
#[derive(Default)]
pub(super) struct Health {
    records: Vec<AddressRecord>,
    changes: VecDeque<HealthChange>,
    /// `dc_timeout` counts, kept apart from the records because [`Health::forget`] drops records.
    dc_timeouts: Vec<(SocketAddr, u64)>,
}

impl Health {
    /// Notes that an attempt connected after `rtt`.
    pub(super) fn handle_connected(&mut self, address: SocketAddr, rtt: Duration, now: Instant) {
        let record = self.note(address, now);
        // RFC 6298, section 2.3: the new sample has a weight of one eighth.
        record.srtt = Some(match record.srtt {
            Some(srtt) => srtt - srtt / 8 + rtt / 8,
            None => rtt,
        });
        if record.last != Some(AddressFailure::Unanswered) {
            record.heal();
            self.note_change(address, None);
        }
    }

    /// Notes that the address answered over an established connection.
    pub(super) fn handle_answered(&mut self, address: SocketAddr, now: Instant) {
        if self.find(address).is_some() {
            self.note(address, now).heal();
            self.note_change(address, None);
        }
    }

    /// Notes a failure.
    pub(super) fn handle_failure(
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
        // A slow address that is failing already keeps its failure: only an answer heals `Unanswered`.
        if record.failures == 0 || failure != AddressFailure::Overtaken {
            record.last = Some(failure);
        }
        record.failures = record.failures.saturating_add(1);
        if failure != AddressFailure::Overtaken {
            self.note_change(address, Some(failure));
        }
    }

    /// Changes since the last call, oldest first.
    pub(super) fn take_changes(&mut self) -> impl Iterator<Item = HealthChange> + use<> {
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

    /// Counts a session that ended with `dc_timeout`.
    pub(super) fn handle_dc_timeout(&mut self, address: SocketAddr) {
        let known = self.dc_timeouts.iter().position(|count| count.0 == address);
        match known {
            Some(at) => self.dc_timeouts[at].1 = self.dc_timeouts[at].1.saturating_add(1),
            None if self.dc_timeouts.len() < MAX_RECORDS => self.dc_timeouts.push((address, 1)),
            None => {}
        }
    }

    /// The next of `addresses` whose cool-down is over, to be tested by a connection in the background. It is returned once per
    /// cool-down. An address that brought no answer is excluded, because connecting does not test that.
    pub(super) fn poll_probe(
        &mut self,
        addresses: &[SocketAddr],
        now: Instant,
        random: u32,
    ) -> Option<SocketAddr> {
        let record = self.records.iter_mut().find(|record| {
            addresses.contains(&record.address)
                && record.state(now) == HealthState::Probation
                && record.last != Some(AddressFailure::Unanswered)
        })?;
        record.cool(now, random);
        Some(record.address)
    }

    /// Forgets all failing addresses, because the route has changed. Healthy addresses keep their history, so that they are still
    /// tried first.
    pub(super) fn forget(&mut self) {
        self.records.retain(|record| record.failures == 0);
    }

    /// Forgets every address that is not `needed`.
    pub(super) fn retain(&mut self, mut needed: impl FnMut(SocketAddr) -> bool) {
        self.records.retain(|record| needed(record.address));
        self.dc_timeouts.retain(|count| needed(count.0));
    }

    /// The state of an address.
    #[must_use]
    pub(super) fn state(&self, address: SocketAddr, now: Instant) -> HealthState {
        self.find(address)
            .map_or(HealthState::Untried, |record| record.state(now))
    }

    /// The health of an address.
    #[must_use]
    pub(super) fn report(&self, address: SocketAddr, now: Instant) -> AddressHealth {
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

    /// Order among addresses of the same state: a smaller value is tried earlier.
    pub(super) fn weight(&self, address: SocketAddr, now: Instant) -> u32 {
        let millis = |span: Duration| u32::try_from(span.as_millis() as u64).unwrap_or(u32::MAX);
        match self.report(address, now) {
            AddressHealth {
                state: HealthState::Healthy,
                rtt,
                ..
            } => rtt.map_or(0, millis),
            // A family that fails at one data centre is tried later at the others too.
            AddressHealth {
                state: HealthState::Untried,
                ..
            } => self.is_family_failing(address.is_ipv4()).into(),
            AddressHealth { retry_in, .. } => retry_in.map_or(0, millis),
        }
    }

    /// Whether every remembered address of a family is failing, and at least one is remembered.
    fn is_family_failing(&self, ipv4: bool) -> bool {
        let mut family = self
            .records
            .iter()
            .filter(|record| record.address.is_ipv4() == ipv4)
            .peekable();
        family.peek().is_some() && family.all(|record| record.failures > 0)
    }

    fn find(&self, address: SocketAddr) -> Option<&AddressRecord> {
        self.records.iter().find(|record| record.address == address)
    }

    /// The record of an address. A new one replaces the record with the oldest event when the memory is full.
    fn note(&mut self, address: SocketAddr, now: Instant) -> &mut AddressRecord {
        let known = self.records.iter().position(|record| record.address == address);
        let at = known.unwrap_or_else(|| {
            if self.records.len() >= MAX_RECORDS {
                let oldest = (0..self.records.len()).min_by_key(|&at| self.records[at].noted);
                self.records.swap_remove(oldest.expect("it is full"));
            }
            self.records.push(AddressRecord {
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
mod tests;
