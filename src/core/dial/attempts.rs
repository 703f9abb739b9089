//! Which address is tried when: RFC 8305 (happy eyeballs) without sockets, clock or randomness of its own.
//!
//! [`Race`] is one dialing: several addresses, the next one begun 250 ms after the last or at once when one fails, and
//! the first that connects wins. [`RetrySchedule`] is what a session remembers from one dialing to the next.
//!
//! Promise: a race has at most one winner, ends every attempt that it began, and never asks to wait for the past.

use super::PreferIpv6;
use super::health::{Health, HealthState, jittered};
use crate::close::ConnectFailure;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// RFC 8305, 5: the Connection Attempt Delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// An address that a session has tried already lets the others have this long.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// How long a session waits after each full round over all addresses. After the last of them comes the last round.
const BACKOFF: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
];

/// What a race asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begin to connect, then report [`Race::handle_connected`] or [`Race::handle_failed`].
    Start(SocketAddr),
    /// Close this one.
    End(SocketAddr, EndReason),
    /// Wait for an event, or for this moment.
    Wait(Option<Instant>),
    /// It is over, and this one has won.
    Done(Option<SocketAddr>),
}

/// Why an attempt is closed that neither failed nor won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// It took longer than one attempt may: it failed.
    TimedOut,
    /// One that was begun later has won.
    Overtaken,
    /// One that was begun earlier has won, which says nothing about this one.
    Unneeded,
}

struct Attempt {
    address: SocketAddr,
    started: Instant,
    deadline: Option<Instant>,
}

/// One dialing.
///
/// Call [`Race::poll_action`] and do what it says until it says `Wait`; wait until an attempt has an outcome or the
/// moment has come; report the outcome with a `handle_*`; begin again. `Done` is the last word.
pub struct Race {
    waiting: VecDeque<SocketAddr>,
    /// So many at the end of `waiting` were tried before, in this session.
    again: usize,
    running: Vec<Attempt>,
    last_start: Option<Instant>,
    failed_since: bool,
    connect_timeout: Option<Duration>,
    /// With the moment at which it was begun.
    winner: Option<(SocketAddr, Instant)>,
}

impl Race {
    /// A race of `addresses` in the order that [`order`] gives. Those in `tried` come last and are not hurried, unless
    /// there are no others.
    #[must_use]
    pub fn new(
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

    /// How long one attempt may take; without it, for as long as the kernel tries.
    #[must_use]
    pub fn with_timeout(self, connect_timeout: Option<Duration>) -> Race {
        Race {
            connect_timeout,
            ..self
        }
    }

    /// What is to be done now.
    pub fn poll_action(&mut self, now: Instant) -> Action {
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

    /// An attempt has connected. Returns how long that took; `None` for one that is not running.
    pub fn handle_connected(&mut self, address: SocketAddr, now: Instant) -> Option<Duration> {
        let at = self.position(address)?;
        let started = self.running[at].started;
        // One that comes second, before all others are ended, is ended like them.
        if self.winner.is_none() {
            self.running.remove(at);
            self.winner = Some((address, started));
        }
        Some(now.saturating_duration_since(started))
    }

    /// An attempt has failed.
    pub fn handle_failed(&mut self, address: SocketAddr) {
        if let Some(at) = self.position(address) {
            self.running.remove(at);
            self.failed_since = true;
        }
    }

    /// When the next attempt begins, if there is one.
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

/// Whether the owner lets an address be used at all.
#[must_use]
pub fn allowed(address: SocketAddr, prefer: PreferIpv6) -> bool {
    prefer != PreferIpv6::Never || address.is_ipv4()
}

/// The order in which addresses are tried: by [`HealthState`]; among equals the fastest first and IPv6 before IPv4,
/// families taking trials (RFC 8305, 4). If IPv6 is always preferred, all of it that is not in trouble comes first.
#[must_use]
pub fn order(addresses: &[SocketAddr], health: &Health, prefer: PreferIpv6, now: Instant) -> Vec<SocketAddr> {
    let mut keyed = Vec::with_capacity(addresses.len());
    for (at, &address) in addresses.iter().enumerate() {
        if !allowed(address, prefer) || addresses[..at].contains(&address) {
            continue;
        }
        let state = health.state(address, now);
        let family = address.is_ipv4();
        // What the owner prefers is no reason to wait for it in every session when it does not work.
        let always = prefer == PreferIpv6::Always;
        let group = (always && state >= HealthState::Probation, always && family, state);
        let key = (group, health.weight(address, now), family, address);
        keyed.push(key);
    }
    // The sort is stable: what the table has first stays first.
    keyed.sort_by_key(|&(group, weight, family, _)| (group, weight, family));
    let groups = keyed.chunk_by(|one, other| one.0 == other.0);
    groups
        .flat_map(|group| interleave(group.iter().map(|&(.., address)| address)))
        .collect()
}

/// Families take trials, the first one's family first.
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

/// What a session does next about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextDial {
    /// Dial, after this long.
    Dial {
        /// Zero until all addresses have had their trial.
        after: Duration,
    },
    /// Nothing: every address refused.
    Refused,
    /// Nothing: all rounds are used up.
    Exhausted,
}

#[derive(Clone, Copy)]
struct Trial {
    address: SocketAddr,
    in_this_round: bool,
    refused: bool,
    connected: bool,
}

/// What a session has tried so far: the next address at once, a wait only after a round over all of them, and an end.
///
/// Before each dialing ask [`RetrySchedule::poll_next`], give [`RetrySchedule::tried`] to the [`Race`], and report what becomes of
/// its attempts. Each dialing brings at least one address's trial, so that it cannot go on for ever.
#[derive(Default)]
pub struct RetrySchedule {
    trials: Vec<Trial>,
    round: usize,
    served: bool,
}

impl RetrySchedule {
    /// What is next. `addresses` are those that may be used.
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

    /// The addresses that had their trial in this round.
    #[must_use]
    pub fn tried(&self) -> Vec<SocketAddr> {
        let trials = self.trials.iter().filter(|trial| trial.in_this_round);
        trials.map(|trial| trial.address).collect()
    }

    /// The session was given a connection to this address.
    pub fn handle_connected(&mut self, address: SocketAddr) {
        self.served = true;
        if self.trial(address).in_this_round {
            // It won although it came last: that is the next round, and the race has waited enough.
            self.next_round();
        }
        let trial = self.trial(address);
        (trial.in_this_round, trial.refused, trial.connected) = (true, false, true);
    }

    /// The session was given a connection that had been made before it was needed. Such a one may be stale, which says
    /// nothing about its address.
    pub fn handle_warm(&mut self) {
        self.served = true;
    }

    /// An attempt at this address failed.
    pub fn handle_failed(&mut self, address: SocketAddr, kind: ConnectFailure) {
        let trial = self.trial(address);
        (trial.in_this_round, trial.refused) = (true, kind == ConnectFailure::Refused);
    }

    /// Whether this is a session's first attempt.
    #[must_use]
    pub fn is_first(&self) -> bool {
        !self.served && self.trials.is_empty()
    }

    /// Whether there is an address to which this session has not been connected yet: one that might answer where another
    /// is silent.
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
