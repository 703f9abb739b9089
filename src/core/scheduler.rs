//! The scheduler: after each `epoll_wait`, the tasks that I/O has woken, then one bulk transfer of the fair queue.
//!
//! `LocalExecutor::run` would poll 200 tasks between two looks at the reactor. With a few tasks only, a new event is answered soon even
//! when every other task has work, and a bulk transfer that queues ([`Ticket`]) delays it by one turn at most.

mod fair_queue;

pub use fair_queue::{Kind, Ticket};

use crate::reactor;
use crate::sys::clock;
use smol::LocalExecutor;
use smol::future;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Tasks polled between two looks at the reactor. A look costs one system call, a task usually several.
const TASKS_PER_LOOK: usize = 8;
/// Time after which no further task is polled before the next look. Without AES instructions one task alone can take this long.
const TIME_PER_LOOK: Duration = Duration::from_millis(2);

/// Runs the tasks of `executor` on this thread until `main` ends. `main` is polled before the tasks.
///
/// # Errors
/// When the system has no descriptors for the reactor.
pub fn block_on<T>(executor: &LocalExecutor<'_>, main: impl Future<Output = T>) -> io::Result<T> {
    reactor::block_on(async {
        let mut main = pin!(main);
        let mut tasks = pin!(poll_tasks(executor));
        // The reactor looks at its events between two polls of this future.
        poll_fn(|context| {
            fair_queue::advance();
            if let Poll::Ready(value) = main.as_mut().poll(context) {
                return Poll::Ready(value);
            }
            if let Poll::Ready(never) = tasks.as_mut().poll(context) {
                match never {}
            }
            if fair_queue::is_waiting() {
                // The next look does not block.
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await
    })
}

async fn poll_tasks(executor: &LocalExecutor<'_>) -> Infallible {
    loop {
        executor.tick().await;
        let begun = clock::now();
        let mut more = true;
        for _ in 1..TASKS_PER_LOOK {
            more = executor.try_tick();
            if !more || clock::now().saturating_duration_since(begun) > TIME_PER_LOOK {
                break;
            }
        }
        if more {
            future::yield_now().await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests are their own peers")]
mod tests;
