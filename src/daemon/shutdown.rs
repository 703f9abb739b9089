//! Signals, and the orderly end of the daemon.

use super::instance::Daemon;
use super::sweep::SWEEP_INTERVAL;
use mtrelay_core::close::CloseReason;
use mtrelay_core::reactor::{Async, Interest, Timer};
use mtrelay_core::sys::signal::Signals;
use rustix::process::Signal;
use smol::future::FutureExt as _;
use std::rc::Rc;
use std::time::Duration;

/// Interval at which a drain looks whether the last session has ended.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits for the next signal. True for SIGHUP, false for a signal that ends the daemon.
async fn is_hup(signals: &Async<Signals>) -> bool {
    let signal = signals.try_io(Interest::Read, Signals::read).await;
    // A signal descriptor that cannot be read ends the daemon too: no later signal could reach it.
    matches!(signal, Ok(Some(Signal::HUP)))
}

impl Daemon {
    /// Handles signals until the last session has ended after SIGTERM.
    pub(super) async fn serve(self: &Rc<Self>, signals: Async<Signals>) {
        while is_hup(&signals).await {
            // `reload` logs its own errors.
            let _ = self.reload();
        }
        let second_stop = async {
            while is_hup(&signals).await {}
            log::info!("second stop signal: exiting now");
        };
        self.drain().or(second_stop).await;
        let shared = &self.relay.shared;
        shared.sessions.end(CloseReason::Shutdown, |_| true);
        self.wait_for_sessions(SWEEP_INTERVAL).await;
        if let Some(state) = &self.state {
            state.save(shared);
        }
        log::info!("mtrelay ends");
    }

    /// Stops accepting, and gives the live sessions at most `drain_timeout`.
    async fn drain(&self) {
        self.listeners.take().close().await;
        let shared = &self.relay.shared;
        shared.pending.close_all();
        let timeout = self.relay.active().config.drain_timeout;
        let sessions = shared.stats.sessions_active();
        let Some(timeout) = timeout.filter(|_| sessions > 0) else {
            return;
        };
        log::info!("draining {sessions} sessions, at most {} s", timeout.as_secs());
        self.wait_for_sessions(timeout).await;
    }

    /// Waits until no session is left, for at most `timeout`.
    async fn wait_for_sessions(&self, timeout: Duration) {
        let ended = async {
            while self.relay.shared.stats.sessions_active() > 0 {
                Timer::after(DRAIN_POLL_INTERVAL).await;
            }
        };
        let timed_out = async {
            Timer::after(timeout).await;
        };
        ended.or(timed_out).await;
    }
}
