//! Which address is tried when: RFC 8305 (Happy Eyeballs) as pure policy, without sockets, clock or randomness of its own.
//!
//! [`Race`] is one dialing over several addresses. The next attempt begins 250 ms after the last one, or at once when one
//! fails. The first attempt that connects wins. [`RetrySchedule`] is a session's memory from one dialing to the next.
//!
//! Promise: a race has at most one winner, ends every attempt that it began, and never asks to wait for a moment in the past.

use super::health::{Health, HealthState, jittered};
use super::options::{PreferIpv6, allowed};
use crate::close::ConnectFailure;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connection Attempt Delay of RFC 8305, section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Delay before an address that the session has tried already, in place of [`ATTEMPT_DELAY`].
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Waits after each full round over all addresses. One more round follows the last wait.
const BACKOFF: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
];

/// What the caller of [`Race::poll_action`] is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Begin to connect, then report [`Race::handle_connected`] or [`Race::handle_failed`].
    Start(SocketAddr),
    /// Close this attempt.
    End(SocketAddr, EndReason),
    /// Wait for an event, or for this moment.
    Wait(Option<Instant>),
    /// The race is over. Holds the winner, if an attempt connected.
    Done(Option<SocketAddr>),
}

/// Why the race closes an attempt that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndReason {
    /// The attempt exceeded the connect timeout, which is a failure.
    TimedOut,
    /// An attempt that began later has won: this address is slow.
    Overtaken,
    /// An attempt that began earlier has won, which says nothing about this address.
    Unneeded,
}

struct Attempt {
    address: SocketAddr,
    started: Instant,
    deadline: Option<Instant>,
}

/// One dialing over several addresses.
///
/// Call [`Race::poll_action`] and carry out the action until it is `Wait`. Then wait for an attempt's outcome or for the given
/// moment, report the outcome by a `handle_*` method, and call again. `Done` is the last action.
pub(super) struct Race {
    waiting: VecDeque<SocketAddr>,
    /// The number of addresses at the end of `waiting` that the session has tried before.
    again: usize,
    running: Vec<Attempt>,
    last_start: Option<Instant>,
    failed_since: bool,
    connect_timeout: Option<Duration>,
    /// The winner and the moment at which its attempt began.
    winner: Option<(SocketAddr, Instant)>,
}

impl Race {
    /// A race of `addresses` in the order of [`order`]. Those in `tried` come last and after a longer delay, unless no others
    /// exist.
    #[must_use]
    pub(super) fn new(
        addresses: &[SocketAddr],
        health: &Health,
        prefer: PreferIpv6,
        tried: &[SocketAddr],
        now: Instant,
    ) -> Race {
        let ordered = order(addresses, health, prefer, now);
        let (last, first): (Vec<_>, Vec<_>) =
            ordered.into_iter().partition(|address| tried.contains(address));
        Race {
            again: if first.is_empty() { 0 } else { last.len() },
            waiting: first.into_iter().chain(last).collect(),
            running: Vec::new(),
            last_start: None,
            failed_since: false,
            connect_timeout: None,
            winner: None,
        }
    }

    /// Sets the time limit of one attempt; `None` leaves it to the kernel.
    #[must_use]
    pub(super) fn with_timeout(self, connect_timeout: Option<Duration>) -> Race {
        Race {
            connect_timeout,
            ..self
        }
    }

    /// The next action.
    pub(super) fn poll_action(&mut self, now: Instant) -> Action {
        if let Some((winner, begun)) = self.winner {
            return match self.running.pop() {
                Some(attempt) if attempt.started < begun => {
                    Action::End(attempt.address, EndReason::Overtaken)
                }
                Some(attempt) => Action::End(attempt.address, EndReason::Unneeded),
                None => Action::Done(Some(winner)),
            };
        }
        let late = |attempt: &Attempt| attempt.deadline.is_some_and(|deadline| deadline <= now);
        if let Some(at) = self.running.iter().position(late) {
            self.failed_since = true;
            return Action::End(self.running.remove(at).address, EndReason::TimedOut);
        }
        let next_start = self.next_start(now);
        if next_start.is_some_and(|at| at <= now)
            && let Some(address) = self.waiting.pop_front()
        {
            self.again = self.again.min(self.waiting.len());
            self.last_start = Some(now);
            self.failed_since = false;
            self.running.push(Attempt {
                address,
                started: now,
                deadline: self.connect_timeout.and_then(|span| now.checked_add(span)),
            });
            return Action::Start(address);
        }
        if self.running.is_empty() && next_start.is_none() {
            return Action::Done(None);
        }
        let deadlines = self.running.iter().filter_map(|attempt| attempt.deadline);
        Action::Wait(deadlines.chain(next_start).min())
    }

    /// Notes that an attempt has connected. Returns the time it took; `None` if no such attempt runs.
    pub(super) fn handle_connected(&mut self, address: SocketAddr, now: Instant) -> Option<Duration> {
        let at = self.position(address)?;
        let started = self.running[at].started;
        // A second attempt that connects before the others are closed is closed with them.
        if self.winner.is_none() {
            self.running.remove(at);
            self.winner = Some((address, started));
        }
        Some(now.saturating_duration_since(started))
    }

    /// Notes that an attempt has failed.
    pub(super) fn handle_failed(&mut self, address: SocketAddr) {
        if let Some(at) = self.position(address) {
            self.running.remove(at);
            self.failed_since = true;
        }
    }

    /// When the next attempt begins, if an address is left.
    fn next_start(&self, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        let Some(last_start) = self.last_start else {
            return Some(now);
        };
        let again = self.waiting.len() <= self.again;
        let delay = if again { RETRY_DELAY } else { ATTEMPT_DELAY };
        if self.failed_since && !again {
            Some(now)
        } else {
            Some(last_start.checked_add(delay).unwrap_or(now))
        }
    }

    fn position(&self, address: SocketAddr) -> Option<usize> {
        self.running.iter().position(|attempt| attempt.address == address)
    }
}

/// The order in which addresses are tried: by [`HealthState`], then the fastest first, then IPv6 before IPv4. The families
/// alternate (RFC 8305, section 4). With `prefer_ipv6 always`, all IPv6 that is not failing comes first.
#[must_use]
pub(super) fn order(
    addresses: &[SocketAddr],
    health: &Health,
    prefer: PreferIpv6,
    now: Instant,
) -> Vec<SocketAddr> {
    let mut keyed = Vec::with_capacity(addresses.len());
    for (at, &address) in addresses.iter().enumerate() {
        if !allowed(address, prefer) || addresses[..at].contains(&address) {
            continue;
        }
        let state = health.state(address, now);
        let family = address.is_ipv4();
        // A failing IPv6 address loses its preference: otherwise every session would wait for it.
        let always = prefer == PreferIpv6::Always;
        let group = (always && state >= HealthState::Probation, always && family, state);
        let key = (group, health.weight(address, now), family, address);
        keyed.push(key);
    }
    // A stable sort keeps the table's order among equals.
    keyed.sort_by_key(|&(group, weight, family, _)| (group, weight, family));
    let groups = keyed.chunk_by(|one, other| one.0 == other.0);
    groups
        .flat_map(|group| interleave(group.iter().map(|&(.., address)| address)))
        .collect()
}

/// Alternates the families, beginning with that of the first address.
fn interleave(addresses: impl Iterator<Item = SocketAddr>) -> impl Iterator<Item = SocketAddr> {
    let mut addresses = addresses.peekable();
    let ipv4_first = addresses.peek().is_some_and(SocketAddr::is_ipv4);
    let (mut this, mut other): (VecDeque<_>, VecDeque<_>) =
        addresses.partition(|address| address.is_ipv4() == ipv4_first);
    std::iter::from_fn(move || {
        if this.is_empty() {
            return other.pop_front();
        }
        let next = this.pop_front();
        if !other.is_empty() {
            std::mem::swap(&mut this, &mut other);
        }
        next
    })
}

/// What a session does next to get a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextDial {
    /// Dial after a wait.
    Dial {
        /// The wait; zero until every address was tried in this round.
        after: Duration,
    },
    /// Give up: every address refused.
    Refused,
    /// Give up: all rounds are used up.
    Exhausted,
}

#[derive(Clone, Copy)]
struct Trial {
    address: SocketAddr,
    in_this_round: bool,
    refused: bool,
    connected: bool,
}

/// A session's schedule of dialings: the next address at once, a wait only after a round over all addresses, and a last round.
///
/// Before each dialing call [`RetrySchedule::poll_next`], give [`RetrySchedule::tried`] to the `Race`, and report the outcome
/// of its attempts. Each dialing tries at least one address, so the schedule ends.
#[derive(Default)]
pub struct RetrySchedule {
    trials: Vec<Trial>,
    round: usize,
    served: bool,
}

impl RetrySchedule {
    /// The next step. `addresses` are the allowed ones.
    pub fn poll_next(&mut self, addresses: &[SocketAddr], random: u32) -> NextDial {
        let trials = |done: fn(&Trial) -> bool| {
            addresses.iter().all(|address| {
                self.trials
                    .iter()
                    .any(|trial| trial.address == *address && done(trial))
            })
        };
        if trials(|trial| trial.in_this_round) {
            if trials(|trial| trial.refused) {
                return NextDial::Refused;
            }
            let Some(&backoff) = BACKOFF.get(self.round) else {
                return NextDial::Exhausted;
            };
            self.next_round();
            return NextDial::Dial {
                after: jittered(backoff, random),
            };
        }
        if self.round > BACKOFF.len() {
            return NextDial::Exhausted;
        }
        NextDial::Dial {
            after: Duration::ZERO,
        }
    }

    /// The addresses that were tried in this round.
    #[must_use]
    pub fn tried(&self) -> Vec<SocketAddr> {
        let trials = self.trials.iter().filter(|trial| trial.in_this_round);
        trials.map(|trial| trial.address).collect()
    }

    /// Notes that the session got a connection to this address.
    pub fn handle_connected(&mut self, address: SocketAddr) {
        self.served = true;
        if self.trial(address).in_this_round {
            // A tried address won the race, after its delay: that begins the next round, without another wait.
            self.next_round();
        }
        let trial = self.trial(address);
        (trial.in_this_round, trial.refused, trial.connected) = (true, false, true);
    }

    /// Notes that the session got a prewarmed connection. It may be stale, so its address does not count as tried.
    pub fn handle_warm(&mut self) {
        self.served = true;
    }

    /// Notes that an attempt at this address failed.
    pub fn handle_failed(&mut self, address: SocketAddr, kind: ConnectFailure) {
        let trial = self.trial(address);
        (trial.in_this_round, trial.refused) = (true, kind == ConnectFailure::Refused);
    }

    /// Whether the session has tried nothing yet.
    #[must_use]
    pub fn is_first(&self) -> bool {
        !self.served && self.trials.is_empty()
    }

    /// Whether an address is left to which the session has not been connected: it may answer where another one is silent.
    #[must_use]
    pub fn has_other(&self, addresses: &[SocketAddr]) -> bool {
        addresses.iter().any(|address| {
            !self
                .trials
                .iter()
                .any(|trial| trial.address == *address && trial.connected)
        })
    }

    fn next_round(&mut self) {
        self.round += 1;
        for trial in &mut self.trials {
            trial.in_this_round = false;
        }
    }

    fn trial(&mut self, address: SocketAddr) -> &mut Trial {
        let known = self.trials.iter().position(|trial| trial.address == address);
        let at = known.unwrap_or_else(|| {
            self.trials.push(Trial {
                address,
                in_this_round: false,
                refused: false,
                connected: false,
            });
            self.trials.len() - 1
        });
        &mut self.trials[at]
    }
}

#[cfg(test)]
mod tests;
