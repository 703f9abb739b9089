//! How many requests may be in flight at one data centre: permits, given out over several connections.
//!
//! The limit grows with every answer, as a TCP congestion window does; a slow answer halves it and makes the growth careful. The
//! next request goes to the connection that will answer it first at its measured rate. If that connection is at its limit,
//! another one gets the request unless it needs more than twice as long: the reader would wait for this one answer. So a
//! connection much slower than the best one gets nothing, except a trial now and then.
//!
//! Promises: during a flood wait there is no permit, and none a moment too early; after it the limit is half of what it was;
//! one request may always be in flight.

mod connection_pace;
#[cfg(test)]
mod tests;

use connection_pace::{BEHIND, ConnectionPace, INITIAL_LIMIT, MAX_LIMIT, RequestLimit};
use std::time::{Duration, Instant};

/// The permission to send one request over the connection in a slot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    /// The slot of the connection.
    pub(crate) slot: usize,
    generation: u32,
    since: Instant,
}

/// Whether a request may leave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// It may.
    Go(Permit),
    /// Not before this moment; without one, not before an answer or a change of the connections.
    Wait(Option<Instant>),
}

/// The pace of one data centre.
#[derive(Debug)]
pub(crate) struct Pace {
    slots: Vec<ConnectionPace>,
    /// For all connections together.
    limit: RequestLimit,
    /// The duration of the quickest answer so far: about one round trip.
    latency: Option<Duration>,
    /// The end of the last flood wait.
    wait_until: Option<Instant>,
}

impl Pace {
    /// A pace for this many connections, none of which is open.
    pub(crate) fn new(slots: usize) -> Pace {
        Pace {
            slots: (0..slots.max(1)).map(|_| ConnectionPace::new()).collect(),
            limit: RequestLimit::new(slots.max(1) as u32 * INITIAL_LIMIT),
            latency: None,
            wait_until: None,
        }
    }

    /// A permit for the next request, if it may leave now.
    pub(crate) fn poll_permit(&mut self, now: Instant) -> Grant {
        if let Some(until) = self.waits_until(now) {
            return Grant::Wait(Some(until));
        }
        if self.in_flight() >= self.limit.get() {
            return Grant::Wait(None);
        }
        let best_rate = self.best_rate().unwrap_or(1);
        let open = self.slots.iter().enumerate().filter(|(_, pace)| pace.open);
        let ready = open.map(|(slot, pace)| (pace.ready_in(best_rate, now), slot));
        let first = ready.clone().map(|(ready, _)| ready).min().unwrap_or_default();
        let free = ready.filter(|(_, slot)| self.slots[*slot].has_room());
        let Some((_, slot)) = free
            .min()
            .filter(|(ready, _)| *ready <= first.saturating_mul(BEHIND))
        else {
            return Grant::Wait(None);
        };
        let pace = &mut self.slots[slot];
        pace.begin(now);
        Grant::Go(Permit {
            slot,
            generation: pace.generation,
            since: now,
        })
    }

    /// The request was answered with this many bytes.
    pub(crate) fn handle_answer(&mut self, permit: &Permit, bytes: usize, now: Instant) {
        let took = now.saturating_duration_since(permit.since);
        let latency = self.latency.map_or(took, |latency| latency.min(took));
        self.latency = Some(latency);
        let Some(pace) = self.pace_of(permit) else { return };
        // Even the quickest answer took some transfer time: three quarters of it count as latency.
        if pace.end(bytes, permit.since, latency / 4 * 3, now) {
            self.limit.grow(self.slots.len() as u32 * MAX_LIMIT);
        }
    }

    /// The request failed or was withdrawn.
    pub(crate) fn handle_failed(&mut self, permit: &Permit) {
        if let Some(pace) = self.pace_of(permit) {
            pace.forget();
        }
    }

    /// The server demands a flood wait. It ends after `wait` and `jitter`.
    pub(crate) fn handle_wait(&mut self, wait: Duration, jitter: Duration, now: Instant) {
        let until = now.checked_add(wait.saturating_add(jitter));
        // All requests in flight get the same error; it halves the limit once.
        if self.waits_until(now).is_none() {
            self.limit.halve();
            self.slots.iter_mut().for_each(|pace| pace.limit.halve());
        }
        self.wait_until = self.wait_until.max(until);
    }

    /// The end of the flood wait, if one is running.
    pub(crate) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.wait_until.filter(|until| *until > now)
    }

    /// The connection in this slot is open.
    pub(crate) fn handle_opened(&mut self, slot: usize) {
        if let Some(pace) = self.slots.get_mut(slot) {
            pace.open();
        }
    }

    /// The connection in this slot has ended, with all its requests.
    pub(crate) fn handle_closed(&mut self, slot: usize) {
        if let Some(pace) = self.slots.get_mut(slot) {
            pace.close();
        }
    }

    /// Whether one more connection would help: every open one has a request in flight and another behind it. A full limit is not
    /// the condition: the limit grows with the answers, so a single connection would never reach it.
    pub(crate) fn wants_connection(&self) -> bool {
        let busy = |pace: &ConnectionPace| !pace.open || pace.is_busy();
        self.in_flight() < self.limit.get() && self.slots.iter().all(busy)
    }

    /// How long an answer on this connection may take: four times the usual duration, within bounds.
    pub(crate) fn answer_timeout(&self, slot: usize) -> Duration {
        const MIN: Duration = Duration::from_secs(5);
        const MAX: Duration = Duration::from_secs(30);
        const UNMEASURED: Duration = Duration::from_secs(10);
        let usual = self.slots.get(slot).and_then(|pace| pace.usual);
        usual.map_or(UNMEASURED, |usual| (usual * 4).clamp(MIN, MAX))
    }

    /// When an answer of this many bytes, requested at `since`, is so late that a hedged request is due.
    pub(crate) fn hedge_at(&self, slot: usize, since: Instant, bytes: u64) -> Option<Instant> {
        /// Late is twice as long as on the best connection.
        const LATE: u64 = 2;
        /// A pause of the whole network that hedges nothing.
        const PAUSE: Duration = Duration::from_millis(200);
        /// The limit before any rate is measured.
        const UNMEASURED: Duration = Duration::from_secs(2);
        let pace = self.slots.get(slot)?;
        if self.slots.iter().filter(|pace| pace.open).count() < 2 {
            // The same connection would only have twice the work.
            return since.checked_add(self.answer_timeout(slot));
        }
        let (Some(best_rate), Some(latency)) = (self.best_rate(), self.latency) else {
            return since.checked_add(UNMEASURED);
        };
        // On a connection of good rate, the requests before this one take their time first.
        let begun = match pace.rate {
            Some(rate) if rate < best_rate / BEHIND => since,
            _ => pace.silent_since().map_or(since, |silent| silent.max(since)),
        };
        let usual = Duration::from_micros(bytes.saturating_mul(LATE * 1_000_000) / best_rate);
        begun.checked_add(latency + usual + PAUSE)
    }

    fn best_rate(&self) -> Option<u64> {
        let open = self.slots.iter().filter(|pace| pace.open);
        open.filter_map(|pace| pace.rate).max()
    }

    fn in_flight(&self) -> u32 {
        self.slots.iter().map(|pace| pace.in_flight).sum()
    }

    fn pace_of(&mut self, permit: &Permit) -> Option<&mut ConnectionPace> {
        self.slots
            .get_mut(permit.slot)
            .filter(|pace| pace.generation == permit.generation)
    }
}
