//! A time limit around a future.

use mtrelay_core::reactor::Timer;
use smol::future::FutureExt as _;
use std::future::Future;
use std::time::Duration;

/// The output of `future`, or `None` if it is not ready after `limit`.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::after(limit).await;
        None
    };
    async { Some(future.await) }.or(late).await
}
