//! One connection as the pace sees it: what it may have under way, what it has, and how fast it is.

use std::time::{Duration, Instant};

/// A connection begins with so many requests,
pub(super) const FIRST_ALLOWED: u32 = 2;
/// and gets to this at most: what the window has is less anyhow.
pub(super) const MOST_ALLOWED: u32 = 8;
/// A connection that takes more than so many times as long as the best one is behind.
pub(super) const BEHIND: u64 = 2;
/// After so long without a request one that is behind is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(10);
/// An answer that takes so many times longer than usual is slow,
const SLOW: u32 = 3;
/// if it also takes this long.
const SLOW_AT_LEAST: Duration = Duration::from_millis(500);
/// A speed is measured over so much time of work: two answers that arrive together say nothing.
const MEASURE: Duration = Duration::from_millis(250);
/// What a request weighs before its answer is there.
const PART: u64 = 256 << 10;

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) open: bool,
    /// How often it was opened: permits of another time mean nothing.
    pub(super) opened: u32,
    pub(super) allowed: Allowed,
    pub(super) under_way: u32,
    /// Bytes a second, once they were measured.
    pub(super) rate: Option<u64>,
    /// How long an answer usually takes.
    pub(super) usual: Option<Duration>,
    last_permit: Option<Instant>,
    /// Since when there is always something under way,
    busy_since: Option<Instant>,
    /// and when the last answer came.
    heard: Option<Instant>,
    /// What is measured: so much time in which it was at work,
    busy: Duration,
    /// and so many bytes in it.
    bytes: u64,
    /// It is tried again: what was measured before is forgotten with the next answer.
    on_trial: bool,
}

/// How many requests there may be.
#[derive(Debug)]
pub(super) struct Allowed {
    count: u32,
    /// It was too much before: from now on it takes as many answers as are allowed to allow one more, until then each does.
    careful: bool,
    answers: u32,
}

impl Allowed {
    pub(super) fn new(count: u32) -> Allowed {
        Allowed {
            count,
            careful: false,
            answers: 0,
        }
    }

    /// Never less than one.
    pub(super) fn get(&self) -> u32 {
        self.count
    }

    /// After an answer.
    pub(super) fn grow(&mut self, most: u32) {
        self.answers += 1;
        if !self.careful || self.answers >= self.count {
            self.answers = 0;
            self.count = (self.count + 1).min(most);
        }
    }

    /// After a sign that it is too much.
    pub(super) fn halve(&mut self) {
        *self = Allowed {
            count: (self.count / 2).max(1),
            careful: true,
            answers: 0,
        };
    }
}

impl Line {
    /// One that is not open yet.
    pub(super) fn new() -> Line {
        Line {
            open: false,
            opened: 0,
            allowed: Allowed::new(FIRST_ALLOWED),
            under_way: 0,
            rate: None,
            usual: None,
            last_permit: None,
            busy_since: None,
            heard: None,
            busy: Duration::ZERO,
            bytes: 0,
            on_trial: false,
        }
    }

    /// It is open, for the first time or anew.
    pub(super) fn open(&mut self) {
        *self = Line {
            open: true,
            opened: self.opened.wrapping_add(1),
            allowed: Allowed {
                count: self.allowed.count.min(FIRST_ALLOWED),
                careful: self.allowed.careful,
                answers: 0,
            },
            ..Line::new()
        };
    }

    /// It is gone, and what was under way on it.
    pub(super) fn close(&mut self) {
        self.open = false;
        self.opened = self.opened.wrapping_add(1);
        self.under_way = 0;
    }

    /// A request goes out.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.under_way == 0 {
            self.busy_since = Some(now);
        }
        if self.rate.is_some() && self.has_rested(now) {
            self.on_trial = true;
            self.busy = Duration::ZERO;
            self.bytes = 0;
        }
        self.under_way += 1;
        self.last_permit = Some(now);
    }

    /// An answer has come, to a request that went out `since` then. It could not take less than `latency`, however fast the
    /// connection is. Whether it came in good time.
    pub(super) fn end(&mut self, bytes: usize, since: Instant, latency: Duration, now: Instant) -> bool {
        self.under_way = self.under_way.saturating_sub(1);
        self.measure(bytes, since + latency, now);
        let took = now.saturating_duration_since(since);
        let usual = self.usual.unwrap_or(took);
        self.usual = Some(usual / 4 * 3 + took / 4);
        let slow = took > SLOW_AT_LEAST && took > usual * SLOW;
        if slow {
            self.allowed.halve();
        } else {
            self.allowed.grow(MOST_ALLOWED);
        }
        !slow
    }

    /// Nothing has come of a request.
    pub(super) fn forget(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    pub(super) fn has_room(&self) -> bool {
        self.under_way < self.allowed.get()
    }

    /// Whether it has something under way and something behind it.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way >= self.allowed.get().min(FIRST_ALLOWED)
    }

    /// Since when it owes an answer and has given none, if it does.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.heard.max(self.busy_since).filter(|_| self.under_way > 0)
    }

    /// In how many microseconds it would have answered one more request. `best` is the speed of the best connection.
    pub(super) fn ready_in(&self, best: u64, now: Instant) -> u64 {
        let rate = match self.rate {
            Some(rate) if rate >= best / BEHIND || !self.has_rested(now) => rate,
            // It may be as good as the best one.
            _ => best,
        };
        let silent = self
            .silent_since()
            .map(|since| now.saturating_duration_since(since));
        let silent = silent.map_or(0, |silent| u64::try_from(silent.as_micros()).unwrap_or(u64::MAX));
        // While it is silent it is no faster than one part in this time.
        let part = (PART * 1_000_000 / rate.max(1)).max(silent);
        part.saturating_mul(u64::from(self.under_way + 1))
    }

    fn has_rested(&self, now: Instant) -> bool {
        let for_long = |last| now.saturating_duration_since(last) >= TRY_AGAIN;
        self.last_permit.is_none_or(for_long)
    }

    fn measure(&mut self, bytes: usize, earliest: Instant, now: Instant) {
        let begun = self.heard.map_or(earliest, |heard| heard.max(earliest));
        self.busy += now.saturating_duration_since(begun);
        self.bytes += bytes as u64;
        self.heard = Some(now);
        if self.busy < MEASURE && !self.on_trial {
            return;
        }
        let rate = u128::from(self.bytes) * 1_000_000 / self.busy.as_micros().max(1);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX).max(1);
        // Up slowly, down at once: whoever overrates a connection waits for it.
        let before = self.rate.filter(|_| !self.on_trial);
        self.rate = Some(before.map_or(rate, |before| rate.min(before / 2 + rate / 2)));
        self.on_trial = false;
        self.busy = Duration::ZERO;
        self.bytes = 0;
    }
}
