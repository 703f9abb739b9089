//! Policy: after which failures a data centre is asked again, and how soon. Events in, decisions out; no socket, no clock.

use crate::call_error::CallError;
use crate::route::OpenError;
use std::time::{Duration, Instant};

/// Failures in a row without an answer, after which waiting callers get the error.
const MAX_FAILURES: u32 = 6;
/// Base of the pause between two attempts. The pause doubles with each failure in a row: 0.5 s after the second failure
/// (a first one is followed by an attempt at once), 8 s from the sixth on.
pub(super) const INITIAL_PAUSE: Duration = Duration::from_millis(250);
/// Pause after transport error −429 (too many connections). It doubles with each further one, up to 16 s at the fourth.
const TOO_MANY_CONNECTIONS_PAUSE: Duration = Duration::from_secs(2);
/// Transport errors −404 (unknown key) in a row until the key is given up: proxies send a −404 of their own, too.
const MAX_UNKNOWN_KEY: u32 = 3;

/// The failures of a data centre's connections since its last answer.
#[derive(Default)]
pub(super) struct Failures {
    count: u32,
    unknown_key: u32,
    /// An unknown key was already replaced once.
    key_replaced: bool,
    too_many_connections: u32,
    /// The next attempt starts no earlier.
    not_before: Option<Instant>,
    /// When the last open connection was lost.
    lost_at: Option<Instant>,
    last: Option<CallError>,
}

impl Failures {
    /// The server answered: nothing counts any more.
    pub(super) fn handle_answer(&mut self) {
        if self.count > 0 || self.too_many_connections > 0 || self.unknown_key > 0 {
            *self = Failures::default();
        }
    }

    /// A connection was lost or did not open. Returns whether the data centre's key is to be forgotten; the key of the `home`
    /// data centre never is, since only a login makes another one.
    pub(super) fn handle_error(&mut self, error: &OpenError, home: bool, now: Instant) -> bool {
        self.count += 1;
        let mut pause = INITIAL_PAUSE * (1 << self.count.min(6)) / 2;
        let mut forget_key = false;
        match error {
            OpenError::Wrong(_) => self.count = MAX_FAILURES,
            OpenError::Transport(-404) => {
                self.unknown_key += 1;
                if self.unknown_key >= MAX_UNKNOWN_KEY {
                    self.unknown_key = 0;
                    if home {
                        self.count = MAX_FAILURES;
                    } else {
                        forget_key = true;
                        // The first new key starts with a fresh count, later ones do not.
                        if !std::mem::replace(&mut self.key_replaced, true) {
                            self.count = 1;
                        }
                    }
                }
            }
            OpenError::Transport(-429) => {
                self.too_many_connections += 1;
                pause = TOO_MANY_CONNECTIONS_PAUSE * (1 << self.too_many_connections.min(4)) / 2;
            }
            OpenError::Transport(_) | OpenError::Lost(_) => {}
        }
        // A single loss is usually an accident: the second attempt follows at once.
        if self.count > 1 || matches!(error, OpenError::Transport(-429)) {
            self.not_before = now.checked_add(pause);
        }
        self.last = Some(error.clone().into());
        forget_key
    }

    /// The server refused to authorize the key: no connection will be of use.
    pub(super) fn handle_refusal(&mut self, error: CallError) {
        self.count = MAX_FAILURES;
        self.last = Some(error);
    }

    /// A connection that had been open since `opened` was lost. Returns whether this counts as a failure: connections that were
    /// open together are lost together when the network fails, which is one failure.
    pub(super) fn handle_loss(&mut self, opened: Instant, now: Instant) -> bool {
        let counts = self.lost_at.is_none_or(|at| at < opened);
        if counts {
            self.lost_at = Some(now);
        }
        counts
    }

    /// Whether callers should get the error instead of waiting on.
    pub(super) fn is_hopeless(&self) -> bool {
        self.count >= MAX_FAILURES
    }

    /// The last failure, if callers should get it. The next caller starts with a fresh count.
    pub(super) fn take_hopeless(&mut self) -> Option<CallError> {
        let error = self.last.clone().filter(|_| self.is_hopeless())?;
        *self = Failures::default();
        Some(error)
    }

    /// Starts a fresh count for the next caller.
    pub(super) fn reset(&mut self) {
        *self = Failures::default();
    }

    /// The end of the pause before the next attempt, if one is running.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| *at > now)
    }

    /// How many failures there were since the last answer.
    pub(super) fn count(&self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_from_the_second_failure_on() {
        let now = mtrelay_core::sys::clock::now();
        let mut failures = Failures::default();
        let lost = OpenError::Lost("reset".into());
        let pauses = [0, 500, 1000, 2000, 4000, 8000, 8000];
        for (at, pause) in pauses.into_iter().enumerate() {
            assert_eq!(failures.is_hopeless(), at >= 6);
            assert!(!failures.handle_error(&lost, false, now));
            let until = failures.paused_until(now).unwrap_or(now);
            assert_eq!(until - now, Duration::from_millis(pause));
        }
        failures.handle_answer();
        assert!(!failures.is_hopeless() && failures.paused_until(now).is_none());
    }

    #[test]
    fn an_unknown_key_is_forgotten_unless_it_is_the_account_s_own() {
        let now = mtrelay_core::sys::clock::now();
        for home in [false, true] {
            let mut failures = Failures::default();
            let unknown = OpenError::Transport(-404);
            let forgotten = [0; 3].map(|_| failures.handle_error(&unknown, home, now));
            assert_eq!(forgotten, [false, false, !home]);
            assert_eq!(failures.is_hopeless(), home);
        }
    }

    #[test]
    fn connections_that_are_lost_together_are_one_failure() {
        let now = mtrelay_core::sys::clock::now();
        let later = now + Duration::from_secs(1);
        let mut failures = Failures::default();
        assert!(failures.handle_loss(now, later));
        assert!(!failures.handle_loss(now, later));
        assert!(failures.handle_loss(later + Duration::from_secs(1), later + Duration::from_secs(2)));
    }
}
