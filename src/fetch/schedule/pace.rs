//! How much may be under way at one data centre: permits, given out over several connections.
//!
//! What is allowed grows with every answer and shrinks with slow ones. A connection gets the next request if it would answer
//! it first, as far as its speed so far tells; one that is much slower than the best gets none, except now and then to see
//! whether it has recovered.
//!
//! Promises: while the server says to wait there is no permit for anybody, and never a moment too early; after it half as
//! much is allowed as before; and at least one request may always be under way.

use std::time::{Duration, Instant};

/// A connection begins with so many requests,
const FIRST_ALLOWED: u32 = 2;
/// and gets to this at most: what the window has is less anyhow.
const MOST_ALLOWED: u32 = 8;
/// An answer that takes so many times longer than usual is slow,
const SLOW: u32 = 3;
/// if it also takes this long.
const SLOW_AT_LEAST: Duration = Duration::from_millis(500);
/// A connection with less than this part of the best one's speed gets nothing more.
const LAGGING: u64 = 4;
/// After so long without a request it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// What a request weighs before its answer is there.
const PART: u64 = 256 << 10;

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
    allowed: u32,
    answers: u32,
    until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Line {
    open: bool,
    /// How often it was opened: permits of another time mean nothing.
    opened: u32,
    allowed: u32,
    answers: u32,
    under_way: u32,
    /// Bytes a second, once there was an answer.
    rate: Option<u64>,
    /// How long an answer usually takes.
    usual: Option<Duration>,
    last_answer: Option<Instant>,
    last_permit: Option<Instant>,
}

impl Pace {
    /// For so many connections, none of which is open yet.
    #[must_use]
    pub fn new(lines: usize) -> Pace {
        Pace {
            lines: (0..lines.max(1)).map(|_| Line::default()).collect(),
            allowed: lines.max(1) as u32 * FIRST_ALLOWED,
            answers: 0,
            until: None,
        }
    }

    /// The next request, if it may go out now.
    pub fn poll_permit(&mut self, now: Instant) -> Grant {
        if let Some(until) = self.waits_until(now) {
            return Grant::Wait(Some(until));
        }
        if self.under_way() >= self.allowed.max(1) {
            return Grant::Wait(None);
        }
        let best_rate = self
            .lines
            .iter()
            .filter(|line| line.open)
            .filter_map(|line| line.rate)
            .max();
        let idle = self.under_way() == 0;
        let mut again: Option<Instant> = None;
        let mut best: Option<(u64, usize)> = None;
        for (number, line) in self.lines.iter().enumerate() {
            if !line.open || line.under_way >= line.allowed.max(1) {
                continue;
            }
            if let (Some(rate), Some(best_rate)) = (line.rate, best_rate)
                && rate.saturating_mul(LAGGING) < best_rate
                && !idle
            {
                let retry = line.last_permit.and_then(|at| at.checked_add(TRY_AGAIN));
                if let Some(retry) = retry.filter(|retry| *retry > now) {
                    again = Some(again.map_or(retry, |again| again.min(retry)));
                    continue;
                }
            }
            let rate = line.rate.or(best_rate).unwrap_or(1).max(1);
            let ready = u64::from(line.under_way + 1)
                .saturating_mul(PART)
                .saturating_mul(1000)
                / rate;
            if best.is_none_or(|(first, _)| ready < first) {
                best = Some((ready, number));
            }
        }
        let Some((_, number)) = best else {
            return Grant::Wait(again);
        };
        let line = &mut self.lines[number];
        line.under_way += 1;
        line.last_permit = Some(now);
        Grant::Go(Permit {
            line: number,
            opened: line.opened,
            since: now,
        })
    }

    /// An answer of so many bytes has come.
    pub fn handle_answer(&mut self, permit: &Permit, bytes: usize, now: Instant) {
        let Some(line) = self.line(permit) else { return };
        line.under_way = line.under_way.saturating_sub(1);
        let took = now.saturating_duration_since(permit.since);
        // While several are under way, each has the line for itself only since the last answer.
        let begun = line
            .last_answer
            .map_or(permit.since, |last| last.max(permit.since));
        let alone = now.saturating_duration_since(begun).as_micros().max(1);
        let rate = u64::try_from(bytes as u128 * 1_000_000 / alone).unwrap_or(u64::MAX);
        line.rate = Some(line.rate.map_or(rate, |usual| usual / 4 * 3 + rate / 4).max(1));
        line.last_answer = Some(now);
        let slow = line
            .usual
            .is_some_and(|usual| took > SLOW_AT_LEAST && took > usual * SLOW);
        line.usual = Some(line.usual.map_or(took, |usual| usual / 4 * 3 + took / 4));
        if slow {
            line.allowed = (line.allowed / 2).max(1);
            line.answers = 0;
            return;
        }
        line.answers += 1;
        if line.answers >= line.allowed {
            line.answers = 0;
            line.allowed = (line.allowed + 1).min(MOST_ALLOWED);
        }
        self.answers += 1;
        if self.answers >= self.allowed {
            self.answers = 0;
            self.allowed = (self.allowed + 1).min(self.lines.len() as u32 * MOST_ALLOWED);
        }
    }

    /// The request has come to nothing, or nobody wants its answer any more.
    pub fn handle_failed(&mut self, permit: &Permit) {
        if let Some(line) = self.line(permit) {
            line.under_way = line.under_way.saturating_sub(1);
        }
    }

    /// The server says to wait for so long. `jitter` is added to that.
    pub fn handle_wait(&mut self, wait: Duration, jitter: Duration, now: Instant) {
        let until = now.checked_add(wait.saturating_add(jitter));
        // Those that were under way get the same answer; it counts once.
        if self.waits_until(now).is_none() {
            self.allowed = (self.allowed / 2).max(1);
            self.answers = 0;
            for line in &mut self.lines {
                line.allowed = (line.allowed / 2).max(1);
                line.answers = 0;
            }
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
            let allowed = if line.allowed == 0 {
                FIRST_ALLOWED
            } else {
                line.allowed.min(FIRST_ALLOWED)
            };
            *line = Line {
                open: true,
                opened: line.opened.wrapping_add(1),
                allowed,
                ..Line::default()
            };
        }
    }

    /// This connection is gone, and what was under way on it.
    pub fn handle_closed(&mut self, line: usize) {
        if let Some(line) = self.lines.get_mut(line) {
            line.open = false;
            line.opened = line.opened.wrapping_add(1);
            line.under_way = 0;
        }
    }

    /// Whether one more connection would help: all that are open have as much as they may have.
    #[must_use]
    pub fn wants_line(&self) -> bool {
        let full = |line: &Line| !line.open || line.under_way >= line.allowed;
        self.under_way() < self.allowed && self.lines.iter().all(full)
    }

    /// How long an answer on this connection may take before something is wrong with it.
    #[must_use]
    pub fn patience(&self, line: usize) -> Duration {
        const LEAST: Duration = Duration::from_secs(5);
        const MOST: Duration = Duration::from_secs(30);
        let usual = self.lines.get(line).and_then(|line| line.usual);
        usual.map_or(Duration::from_secs(10), |usual| (usual * 4).clamp(LEAST, MOST))
    }

    /// After how long an answer on this connection is so late that another one may be quicker.
    #[must_use]
    pub fn late_after(&self, line: usize) -> Duration {
        const LEAST: Duration = Duration::from_millis(1500);
        const UNKNOWN: Duration = Duration::from_secs(5);
        if self.lines.iter().filter(|line| line.open).count() < 2 {
            // The same connection would only have twice the work.
            return self.patience(line);
        }
        let usual = self.lines.get(line).and_then(|line| line.usual);
        usual.map_or(UNKNOWN, |usual| (usual * SLOW).max(LEAST))
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn start() -> Instant {
        mtrelay::sys::clock::now()
    }

    fn open(lines: usize) -> Pace {
        let mut pace = Pace::new(lines);
        (0..lines).for_each(|line| pace.handle_opened(line));
        pace
    }

    fn take(pace: &mut Pace, now: Instant) -> Vec<Permit> {
        let next = || match pace.poll_permit(now) {
            Grant::Go(permit) => Some(permit),
            Grant::Wait(_) => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn what_is_allowed_grows_with_answers() {
        let (mut pace, mut now) = (open(2), start());
        assert_eq!(take(&mut pace, now).len(), 4);
        let mut pace = open(2);
        for _ in 0..100 {
            let permits = take(&mut pace, now);
            now += 100 * MS;
            permits
                .iter()
                .for_each(|permit| pace.handle_answer(permit, 1 << 18, now));
        }
        let permits = take(&mut pace, now);
        assert_eq!(permits.len(), 16);
        assert_eq!(permits.iter().filter(|permit| permit.line == 0).count(), 8);
    }

    #[test]
    fn slow_answers_shrink_it() {
        let (mut pace, mut now) = (open(1), start());
        let mut round = |pace: &mut Pace, took: Duration| {
            let permits = take(pace, now);
            now += took;
            permits
                .iter()
                .for_each(|permit| pace.handle_answer(permit, 1 << 18, now));
            permits.len()
        };
        for _ in 0..50 {
            round(&mut pace, 200 * MS);
        }
        assert_eq!(round(&mut pace, 200 * MS), 8);
        round(&mut pace, 5000 * MS);
        assert!(round(&mut pace, 200 * MS) < 8);
    }

    #[test]
    fn a_wait_holds_for_all_lines_and_halves_what_is_allowed_once() {
        let (mut pace, mut now) = (open(4), start());
        let permits = take(&mut pace, now);
        assert_eq!(permits.len(), 8);
        for (permit, secs) in permits.iter().zip([3, 2, 5, 1, 1, 1, 1, 1]) {
            pace.handle_wait(Duration::from_secs(secs), 250 * MS, now);
            pace.handle_failed(permit);
        }
        let until = now + 5250 * MS;
        assert_eq!(pace.poll_permit(now), Grant::Wait(Some(until)));
        assert_eq!(pace.poll_permit(until - MS), Grant::Wait(Some(until)));
        now = until;
        assert_eq!(take(&mut pace, now).len(), 4);
        // Down to one, and never to none.
        for _ in 0..10 {
            pace.handle_wait(Duration::from_secs(1), Duration::ZERO, now);
            now += Duration::from_secs(1);
        }
        let mut pace_at_one = pace;
        pace_at_one.lines.iter_mut().for_each(|line| line.under_way = 0);
        assert_eq!(take(&mut pace_at_one, now).len(), 1);
    }

    #[test]
    fn load_moves_off_a_slow_line_and_comes_back_to_try() {
        let (mut pace, mut now) = (open(2), start());
        for _ in 0..20 {
            for permit in take(&mut pace, now) {
                let bytes = if permit.line == 1 { 4 << 10 } else { 1 << 18 };
                pace.handle_answer(&permit, bytes, now + 50 * MS);
            }
            now += 100 * MS;
        }
        assert!(
            take(&mut pace, now)
                .iter()
                .filter(|permit| permit.line == 1)
                .count()
                <= 1
        );
        let more = take(&mut pace, now + TRY_AGAIN);
        assert!(more.iter().all(|permit| permit.line == 1), "{more:?}");
    }

    #[test]
    fn permits_of_a_lost_connection_mean_nothing() {
        let (mut pace, now) = (open(2), start());
        let permits = take(&mut pace, now);
        pace.handle_closed(0);
        assert!(take(&mut pace, now).is_empty());
        pace.handle_opened(0);
        assert_eq!(take(&mut pace, now).len(), 2);
        permits
            .iter()
            .filter(|permit| permit.line == 0)
            .for_each(|permit| pace.handle_failed(permit));
        assert!(take(&mut pace, now).is_empty());
        assert!(!pace.wants_line());
    }
}
