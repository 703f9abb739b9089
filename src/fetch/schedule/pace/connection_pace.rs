//! The pace of one connection: its limit of requests, the requests in flight, and its rate.

use std::time::{Duration, Instant};

/// Requests that a new connection may have in flight.
pub(super) const INITIAL_LIMIT: u32 = 2;
/// The limit stops growing here. The window holds fewer parts than that anyway.
pub(super) const MAX_LIMIT: u32 = 8;
/// A connection is behind when it needs more than this many times as long as the best one.
pub(super) const BEHIND: u64 = 2;
/// A connection that is behind gets a trial request after this time without one.
pub(super) const TRIAL_INTERVAL: Duration = Duration::from_secs(10);
/// An answer is slow when it takes more than this many times the usual duration, and more than [`MIN_SLOW`].
const SLOW_FACTOR: u32 = 3;
/// No answer below this duration is slow.
const MIN_SLOW: Duration = Duration::from_millis(500);
/// The rate is measured over this much transfer time: two answers that arrive together give no rate.
const MEASURE: Duration = Duration::from_millis(250);
/// Bytes that a request in flight is expected to bring: half of the largest part.
const EXPECTED_PART: u64 = 256 << 10;

/// The pace of one connection.
#[derive(Debug)]
pub(super) struct ConnectionPace {
    pub(super) open: bool,
    /// Counts openings and closings: a permit of an earlier connection in this slot changes nothing.
    pub(super) generation: u32,
    pub(super) limit: RequestLimit,
    pub(super) in_flight: u32,
    /// Bytes per second, once measured.
    pub(super) rate: Option<u64>,
    /// The moving average of an answer's duration.
    pub(super) usual: Option<Duration>,
    last_permit: Option<Instant>,
    /// The start of the current period with requests in flight.
    busy_since: Option<Instant>,
    last_answer: Option<Instant>,
    /// Transfer time of the running measurement.
    measured_time: Duration,
    /// Bytes of the running measurement.
    measured_bytes: u64,
    /// The next answer replaces the measured rate.
    on_trial: bool,
}

/// An adaptive limit of requests in flight.
#[derive(Debug)]
pub(super) struct RequestLimit {
    count: u32,
    /// The limit was too high before. It then grows by one per `count` answers; until then by one per answer.
    careful: bool,
    answers: u32,
}

impl RequestLimit {
    pub(super) fn new(count: u32) -> RequestLimit {
        RequestLimit {
            count,
            careful: false,
            answers: 0,
        }
    }

    /// The limit; at least one.
    pub(super) fn get(&self) -> u32 {
        self.count
    }

    /// Raises the limit after an answer, up to `most`.
    pub(super) fn grow(&mut self, most: u32) {
        self.answers += 1;
        if !self.careful || self.answers >= self.count {
            self.answers = 0;
            self.count = (self.count + 1).min(most);
        }
    }

    /// Lowers the limit after a sign of overload.
    pub(super) fn halve(&mut self) {
        *self = RequestLimit {
            count: (self.count / 2).max(1),
            careful: true,
            answers: 0,
        };
    }
}

impl ConnectionPace {
    /// A slot without a connection.
    pub(super) fn new() -> ConnectionPace {
        ConnectionPace {
            open: false,
            generation: 0,
            limit: RequestLimit::new(INITIAL_LIMIT),
            in_flight: 0,
            rate: None,
            usual: None,
            last_permit: None,
            busy_since: None,
            last_answer: None,
            measured_time: Duration::ZERO,
            measured_bytes: 0,
            on_trial: false,
        }
    }

    /// A connection has opened. Of the one before only the caution stays.
    pub(super) fn open(&mut self) {
        *self = ConnectionPace {
            open: true,
            generation: self.generation.wrapping_add(1),
            limit: RequestLimit {
                count: self.limit.count.min(INITIAL_LIMIT),
                careful: self.limit.careful,
                answers: 0,
            },
            ..ConnectionPace::new()
        };
    }

    /// The connection has ended, with all its requests.
    pub(super) fn close(&mut self) {
        self.open = false;
        self.generation = self.generation.wrapping_add(1);
        self.in_flight = 0;
    }

    /// A request leaves.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.in_flight == 0 {
            self.busy_since = Some(now);
        }
        if self.rate.is_some() && self.has_rested(now) {
            self.on_trial = true;
            self.measured_time = Duration::ZERO;
            self.measured_bytes = 0;
        }
        self.in_flight += 1;
        self.last_permit = Some(now);
    }

    /// The request sent at `since` was answered. `latency` of its duration is not transfer time, however fast the connection.
    /// Returns whether the answer was in time.
    pub(super) fn end(&mut self, bytes: usize, since: Instant, latency: Duration, now: Instant) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.measure(bytes, since + latency, now);
        let took = now.saturating_duration_since(since);
        let usual = self.usual.unwrap_or(took);
        self.usual = Some(usual / 4 * 3 + took / 4);
        let slow = took > MIN_SLOW && took > usual * SLOW_FACTOR;
        if slow {
            self.limit.halve();
        } else {
            self.limit.grow(MAX_LIMIT);
        }
        !slow
    }

    /// A request failed or was withdrawn.
    pub(super) fn forget(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight < self.limit.get()
    }

    /// Whether a request is in flight and another one behind it.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight >= self.limit.get().min(INITIAL_LIMIT)
    }

    /// Since when no answer came although requests are in flight.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.last_answer
            .max(self.busy_since)
            .filter(|_| self.in_flight > 0)
    }

    /// Microseconds until one more request would be answered. `best` is the rate of the best connection.
    pub(super) fn ready_in(&self, best: u64, now: Instant) -> u64 {
        let rate = match self.rate {
            Some(rate) if rate >= best / BEHIND || !self.has_rested(now) => rate,
            // Not measured for some time: assumed as good as the best one.
            _ => best,
        };
        let silent = self
            .silent_since()
            .map(|since| now.saturating_duration_since(since));
        let silent = silent.map_or(0, |silent| u64::try_from(silent.as_micros()).unwrap_or(u64::MAX));
        // A silent connection is no faster than one part in the time of its silence.
        let part = (EXPECTED_PART * 1_000_000 / rate.max(1)).max(silent);
        part.saturating_mul(u64::from(self.in_flight + 1))
    }

    fn has_rested(&self, now: Instant) -> bool {
        let for_long = |last| now.saturating_duration_since(last) >= TRIAL_INTERVAL;
        self.last_permit.is_none_or(for_long)
    }

    fn measure(&mut self, bytes: usize, earliest: Instant, now: Instant) {
        let begun = self.last_answer.map_or(earliest, |last| last.max(earliest));
        self.measured_time += now.saturating_duration_since(begun);
        self.measured_bytes += bytes as u64;
        self.last_answer = Some(now);
        if self.measured_time < MEASURE && !self.on_trial {
            return;
        }
        let rate = u128::from(self.measured_bytes) * 1_000_000 / self.measured_time.as_micros().max(1);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX).max(1);
        // Up by halves, down at once: the reader would wait for an overrated connection.
        let before = self.rate.filter(|_| !self.on_trial);
        self.rate = Some(before.map_or(rate, |before| rate.min(before / 2 + rate / 2)));
        self.on_trial = false;
        self.measured_time = Duration::ZERO;
        self.measured_bytes = 0;
    }
}
