//! Time limits of the probe's steps.

use mtrelay_core::reactor::Timer;
use smol::future::{self, FutureExt as _};
use std::io::{self, ErrorKind};
use std::time::Duration;

/// Runs `work` for at most `time`.
///
/// # Errors
/// As `work`, and `TimedOut`.
pub(super) async fn within<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let timed_out = async {
        Timer::after(time).await;
        Err(ErrorKind::TimedOut.into())
    };
    future::or(work, timed_out).boxed_local().await
}
