//! The server's clock, taken from its messages.

use std::time::Instant;

/// The server's clock.
pub(super) struct ServerClock {
    at: Instant,
    unix: i64,
    is_set: bool,
}

impl ServerClock {
    /// An estimate in Unix seconds, until a message of the server sets the clock.
    pub(super) fn estimated(unix: u32, now: Instant) -> ServerClock {
        ServerClock {
            at: now,
            unix: i64::from(unix),
            is_set: false,
        }
    }

    /// Sets the clock by the id of a message that the server has just sent.
    pub(super) fn set(&mut self, msg_id: i64, now: Instant) {
        *self = ServerClock {
            at: now,
            unix: msg_id >> 32,
            is_set: true,
        };
    }

    /// Whether a message of the server has set the clock.
    pub(super) fn is_set(&self) -> bool {
        self.is_set
    }

    /// The time in Unix seconds.
    pub(super) fn read(&self, now: Instant) -> i64 {
        self.unix + now.saturating_duration_since(self.at).as_secs() as i64
    }
}
