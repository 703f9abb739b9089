//! Who has the next turn: a few tasks, then a look at the reactor, then the main task, and so on.
//!
//! The executor's own `run` would look at the reactor after every 200 turns. Whoever has much to do waits in the reactor's line, and
//! there goes on only one for each look.

use mtrelay_core::sys::clock;
use smol::LocalExecutor;
use smol::future::{self, FutureExt as _};
use std::time::Duration;

/// Turns of tasks between two looks; a look costs a system call, a turn usually several.
const TURNS: usize = 8;
/// No further turn once this has passed: where there are no AES instructions a single one can take as long.
const SLICE: Duration = Duration::from_millis(2);

/// Runs the tasks until `main` ends, which comes before all of them.
pub(super) async fn run<T>(executor: &LocalExecutor<'_>, main: impl Future<Output = T>) -> T {
    let tasks = async {
        loop {
            executor.tick().await;
            let begun = clock::now();
            let mut more = true;
            for _ in 1..TURNS {
                more = executor.try_tick();
                if !more || clock::now().saturating_duration_since(begun) > SLICE {
                    break;
                }
            }
            if more {
                future::yield_now().await;
            }
        }
    };
    main.or(tasks).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtrelay_core::reactor::{self, Timer};
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn busy_tasks_hold_up_the_main_one_for_a_few_turns_only() {
        let executor = LocalExecutor::new();
        let turns = Rc::new(Cell::new(0));
        for _ in 0..100 {
            let turns = turns.clone();
            let busy = async move {
                loop {
                    turns.set(turns.get() + 1);
                    future::yield_now().await;
                }
            };
            executor.spawn(busy).detach();
        }
        let main = async {
            for _ in 0..100 {
                let before = turns.get();
                future::yield_now().await;
                assert!(turns.get() - before <= TURNS, "{} turns", turns.get() - before);
            }
            // And what the reactor wakes is heard, too.
            Timer::after(Duration::from_millis(1)).await;
        };
        reactor::block_on(run(&executor, main)).expect("descriptors are left");
        assert!(turns.get() >= 100, "the others have their turns: {}", turns.get());
    }
}
