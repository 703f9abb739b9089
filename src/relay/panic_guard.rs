//! Containment of panics: a panic ends the task in which it happens, and no other.
//!
//! No input of a peer is known to make the relay panic. If one does, its sender loses the connection. What the task held (its slot, its
//! blocks, its gauges) is released as it is dropped. Router builds abort on panic instead, and procd starts the process again.

use crate::stats::Stats;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A task that a panic in it ends, and counts. It stands alone in the executor, with its own task boxed.
pub(crate) struct Guarded<T> {
    stats: Rc<Stats>,
    task: T,
}

impl<T: Future<Output = ()> + Unpin> Guarded<T> {
    /// Guards `task`.
    pub(crate) fn new(stats: Rc<Stats>, task: T) -> Guarded<T> {
        Guarded { stats, task }
    }
}

impl<T: Future<Output = ()> + Unpin> Future for Guarded<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let polled = poll(&mut self.task, context);
        polled.unwrap_or_else(|_| {
            self.stats.panicked();
            Poll::Ready(())
        })
    }
}

/// Unwind safety: after a panic the task is not polled again. What it shares with other tasks are counters and lists that it changes in
/// single steps.
fn poll<T: Future<Output = ()> + Unpin>(
    task: &mut T,
    context: &mut Context<'_>,
) -> std::thread::Result<Poll<()>> {
    catch_unwind(AssertUnwindSafe(|| Pin::new(task).poll(context)))
}

/// Logs panics through the log facade from now on. Where panics abort, the standard library's message on stderr remains.
pub fn log_panics() {
    if cfg!(panic = "unwind") {
        std::panic::set_hook(Box::new(|info| log::error!("panic: {info}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::BufferPool;
    use crate::stats::{DcMetric, RelayMetric, SessionStats};
    use mtrelay_core::close::CloseReason;
    use mtrelay_core::dc::DcId;
    use smol::LocalExecutor;
    use smol::future::yield_now;
    use std::cell::Cell;

    #[test]
    fn panic_ends_its_session_as_error_releases_everything_and_leaves_other_sessions() {
        let (executor, stats) = (Rc::new(LocalExecutor::new()), Stats::new());
        let pool = Rc::new(BufferPool::new(1, 64));
        let dc = DcId::new(2).expect("not 0");
        let session = |panics: bool, turns: &Rc<Cell<u32>>| {
            let (stats, pool, turns) = (stats.clone(), pool.clone(), turns.clone());
            let begun = mtrelay_core::sys::clock::now();
            let session = SessionStats::begin(
                &stats,
                stats.user("a"),
                stats.dc(dc),
                [192, 0, 2, 1].into(),
                begun,
            );
            session.connected("192.0.2.2:443".parse().expect("an address"));
            executor.spawn(async move {
                let whole = async {
                    for _ in 0..10 {
                        turns.set(turns.get() + 1);
                        let block = pool.take().await;
                        assert!(!panics || turns.get() < 3, "as if something of ours were wrong");
                        drop(block);
                        yield_now().await;
                    }
                    session.end(CloseReason::ClientClosed, mtrelay_core::sys::clock::now());
                };
                Guarded::new(stats, Box::pin(whole)).await;
            })
        };
        let (one, other) = (Rc::default(), Rc::default());
        let tasks = [session(true, &one), session(false, &other)];
        smol::future::block_on(executor.run(async {
            for task in tasks {
                task.await;
            }
        }));
        assert_eq!((one.get(), other.get()), (3, 10));
        let snapshot = stats.snapshot(crate::stats::SnapshotInputs::default());
        let closes = |reason: CloseReason| snapshot.relay.of(RelayMetric::Closes, reason.index());
        assert_eq!(
            (
                closes(CloseReason::Error),
                closes(CloseReason::ClientClosed),
                stats.get(RelayMetric::Panics)
            ),
            (1, 1, 1)
        );
        assert_eq!(
            (stats.sessions_active(), snapshot.dc.get(DcMetric::Active)),
            (0, 0)
        );
        assert_eq!(pool.levels().in_use, 0);
    }
}
