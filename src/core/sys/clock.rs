//! The real clocks. Everywhere else time is an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks the monotonic clock"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Unix seconds; zero for a clock before 1970, the last second of `u32` for one beyond 2106.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that asks the wall clock")]
pub fn unix_now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Whether the kernel holds its clock for synchronised (adjtimex(2), `STA_UNSYNC` clear). A router has no clock of its
/// own: until NTP has set it, it may be months behind.
#[must_use]
#[expect(unsafe_code, reason = "adjtimex has no safe wrapper")]
pub fn is_synchronised() -> bool {
    // SAFETY: a zeroed timex is a valid one (plain integers) and asks only to read; the kernel writes within it.
    let (state, status) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex.status)
    };
    state >= 0 && status & libc::STA_UNSYNC == 0
}
