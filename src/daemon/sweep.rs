//! The once-a-second work: idle sessions, limits, the clock, notifications, and memory that a quiet relay gives back.

use super::instance::Daemon;
use super::{build, limits};
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::process;
use std::time::Duration;

/// Interval of the sweep, which is also the resolution of idle timeouts.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Sweeps without a session, an accepted connection or a snapshot after which unused memory is given back.
const QUIET_SWEEPS: u32 = 5;

impl Daemon {
    /// Runs the sweep until the daemon ends.
    pub(super) async fn sweep(&self) {
        let shared = &self.relay.shared;
        let mut quiet = 0;
        loop {
            Timer::after(SWEEP_INTERVAL).await;
            let active = self.relay.active();
            let idle_s = active
                .config
                .idle_timeout
                .map_or(0, |idle| u32::try_from(idle.as_secs()).unwrap_or(u32::MAX));
            shared.sessions.sweep(idle_s);
            shared.front_connections.sweep(idle_s);
            shared.clock.set(build::clock(&active.config));
            shared.clock_trusted.set(build::is_clock_trusted(&active.config));
            limits::apply(&active, shared, &self.limits_changed);
            self.notifications
                .notify_changes(shared.dialer.take_changes(), &active.config.dcs);
            if shared.stats.sessions_active() > 0 {
                quiet = 0;
                continue;
            }
            shared.pipes.trim();
            quiet = if self.relay.was_busy.take() { 0 } else { quiet + 1 };
            // One above the threshold, so that a long quiet period gives memory back once and not at every sweep.
            quiet = quiet.min(QUIET_SWEEPS + 1);
            if quiet == QUIET_SWEEPS {
                shared.pool.trim();
                process::trim_heap();
                process::forget_code();
            }
        }
    }
}
