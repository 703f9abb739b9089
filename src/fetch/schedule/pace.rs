//! How much may be under way at one data centre: permits, given out over several connections.
//!
//! What is allowed grows with every answer; a slow one halves it and makes the growth careful. The next request goes to the
//! connection that would answer it first, as far as its speed so far tells. If that one has as much as it may have, another
//! one gets the request unless it would take more than twice as long: then it would only hold up all that come behind it. So
//! a connection that is much slower than the best gets nothing, except now and then to see whether it has recovered.
//!
//! Promises: while the server says to wait there is no permit for anybody, and never a moment too early; after it half as
//! much is allowed as before; and at least one request may always be under way.

mod line;
#[cfg(test)]
mod tests;

use line::{Allowed, BEHIND, FIRST_ALLOWED, Line, MOST_ALLOWED};
use std::time::{Duration, Instant};

/// The right to send one request, over the connection with this number.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    /// The connection.
    pub line: usize,
    opened: u32,
    since: Instant,
}

/// The answer to who wants to ask.
#[derive(Debug, PartialEq, Eq)]
pub enum Grant {
    /// Ask.
    Go(Permit),
    /// Not before this moment, and not before something happens if there is none.
    Wait(Option<Instant>),
}

/// The pace of one data centre.
#[derive(Debug)]
pub struct Pace {
    lines: Vec<Line>,
    /// For all lines together.
    allowed: Allowed,
    /// What the quickest answer so far took: the way there and back, and little more.
    latency: Option<Duration>,
    until: Option<Instant>,
}

impl Pace {
    /// For so many connections, none of which is open yet.
    #[must_use]
    pub fn new(lines: usize) -> Pace {
        Pace {
            lines: (0..lines.max(1)).map(|_| Line::new()).collect(),
            allowed: Allowed::new(lines.max(1) as u32 * FIRST_ALLOWED),
            latency: None,
            until: None,
        }
    }

    /// The next request, if it may go out now.
    pub fn poll_permit(&mut self, now: Instant) -> Grant {
        if let Some(until) = self.waits_until(now) {
            return Grant::Wait(Some(until));
        }
        if self.under_way() >= self.allowed.get() {
            return Grant::Wait(None);
        }
        let best_rate = self.best_rate().unwrap_or(1);
        let open = self.lines.iter().enumerate().filter(|(_, line)| line.open);
        let ready = open.map(|(number, line)| (line.ready_in(best_rate, now), number));
        let first = ready.clone().map(|(ready, _)| ready).min().unwrap_or_default();
        let free = ready.filter(|(_, number)| self.lines[*number].has_room());
        let Some((_, number)) = free
            .min()
            .filter(|(ready, _)| *ready <= first.saturating_mul(BEHIND))
        else {
            return Grant::Wait(None);
        };
        let line = &mut self.lines[number];
        line.begin(now);
        Grant::Go(Permit {
            line: number,
            opened: line.opened,
            since: now,
        })
    }

    /// An answer of so many bytes has come.
    pub fn handle_answer(&mut self, permit: &Permit, bytes: usize, now: Instant) {
        let took = now.saturating_duration_since(permit.since);
        let latency = self.latency.map_or(took, |latency| latency.min(took));
        self.latency = Some(latency);
        let Some(line) = self.line(permit) else { return };
        // Some of it was work even then.
        if line.end(bytes, permit.since, latency / 4 * 3, now) {
            self.allowed.grow(self.lines.len() as u32 * MOST_ALLOWED);
        }
    }

    /// The request has come to nothing, or nobody wants its answer any more.
    pub fn handle_failed(&mut self, permit: &Permit) {
        if let Some(line) = self.line(permit) {
            line.forget();
        }
    }

    /// The server says to wait for so long. `jitter` is added to that.
    pub fn handle_wait(&mut self, wait: Duration, jitter: Duration, now: Instant) {
        let until = now.checked_add(wait.saturating_add(jitter));
        // Those that were under way get the same answer; it counts once.
        if self.waits_until(now).is_none() {
            self.allowed.halve();
            self.lines.iter_mut().for_each(|line| line.allowed.halve());
        }
        self.until = self.until.max(until);
    }

    /// Until when nobody may ask.
    #[must_use]
    pub fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// This connection is open.
    pub fn handle_opened(&mut self, line: usize) {
        if let Some(line) = self.lines.get_mut(line) {
            line.open();
        }
    }

    /// This connection is gone, and what was under way on it.
    pub fn handle_closed(&mut self, line: usize) {
        if let Some(line) = self.lines.get_mut(line) {
            line.close();
        }
    }

    /// Whether one more connection would help: all that are open have something under way and something behind it. What they
    /// may have beyond that grows with their answers, and would keep a single one busy for ever.
    #[must_use]
    pub fn wants_line(&self) -> bool {
        let busy = |line: &Line| !line.open || line.is_busy();
        self.under_way() < self.allowed.get() && self.lines.iter().all(busy)
    }

    /// How long an answer on this connection may take before something is wrong with it.
    #[must_use]
    pub fn patience(&self, line: usize) -> Duration {
        const LEAST: Duration = Duration::from_secs(5);
        const MOST: Duration = Duration::from_secs(30);
        let usual = self.lines.get(line).and_then(|line| line.usual);
        usual.map_or(Duration::from_secs(10), |usual| (usual * 4).clamp(LEAST, MOST))
    }

    /// When an answer of so many bytes, asked for on this connection `since` then, is so late that another one may be quicker.
    #[must_use]
    pub fn late_at(&self, line: usize, since: Instant, bytes: u64) -> Option<Instant> {
        /// So many times as long as on the best one,
        const LATE: u64 = 2;
        /// and not because of a moment's pause of the whole network.
        const PAUSE: Duration = Duration::from_millis(200);
        /// Nothing is known yet.
        const UNKNOWN: Duration = Duration::from_secs(2);
        let known = self.lines.get(line)?;
        if self.lines.iter().filter(|line| line.open).count() < 2 {
            // The same connection would only have twice the work.
            return since.checked_add(self.patience(line));
        }
        let (Some(best_rate), Some(latency)) = (self.best_rate(), self.latency) else {
            return since.checked_add(UNKNOWN);
        };
        // One that is behind anyhow is not waited for; others may have had much to do before.
        let begun = match known.rate {
            Some(rate) if rate < best_rate / BEHIND => since,
            _ => known.silent_since().map_or(since, |silent| silent.max(since)),
        };
        let usual = Duration::from_micros(bytes.saturating_mul(LATE * 1_000_000) / best_rate);
        begun.checked_add(latency + usual + PAUSE)
    }

    fn best_rate(&self) -> Option<u64> {
        let open = self.lines.iter().filter(|line| line.open);
        open.filter_map(|line| line.rate).max()
    }

    fn under_way(&self) -> u32 {
        self.lines.iter().map(|line| line.under_way).sum()
    }

    fn line(&mut self, permit: &Permit) -> Option<&mut Line> {
        self.lines
            .get_mut(permit.line)
            .filter(|line| line.opened == permit.opened)
    }
}
