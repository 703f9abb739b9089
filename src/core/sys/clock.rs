//! The system's clocks. In all other modules time is an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the only place that reads the monotonic clock"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Unix time in seconds, limited to `u32`: zero before 1970, the highest value after 2106.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the only place that reads the wall clock"
)]
pub fn unix_now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Whether the kernel says that its clock is synchronised (adjtimex(2), `STA_UNSYNC` clear). A router has no battery-backed clock:
/// before NTP has set it, the time may be months behind.
#[must_use]
#[expect(unsafe_code, reason = "adjtimex has no safe wrapper")]
pub fn is_synchronised() -> bool {
    // SAFETY: a zeroed timex is valid (plain integers) and requests a read only; the kernel writes within it.
    let (state, status) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex.status)
    };
    state >= 0 && status & libc::STA_UNSYNC == 0
}
