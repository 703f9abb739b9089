//! Measurements that other work on the machine disturbs: windows of time, and attempts that are repeated.
//!
//! Tests do not sleep in order to wait for an event. What they do is here, and each of it says how long it takes:
//! - [`watch`] looks at a value during a stated window, because the test is about that window: CPU time, memory, silence.
//! - [`poll`] asks again for what nothing announces: the size of a file, a counter of another thread. It has a deadline.
//! - [`attempts`] repeats a measurement that a busy machine can spoil, and prints how many attempts it took.

use std::thread;
use std::time::{Duration, Instant};

use crate::clock::Deadline;
use crate::require::report;

/// How long [`poll`] pauses between two looks.
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// Calls `look` every `pause` until `window` is over, with the time that has passed. It is called at least once.
pub fn watch(window: Duration, pause: Duration, mut look: impl FnMut(Duration)) {
    let begun = Instant::now();
    loop {
        look(begun.elapsed());
        let Some(left) = window.checked_sub(begun.elapsed()) else {
            return;
        };
        thread::sleep(pause.min(left));
    }
}

/// Calls `look` until it gives something.
///
/// # Panics
/// At the deadline of [`crate::clock::patience`].
#[track_caller]
pub fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::patient();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(deadline.remaining().is_some(), "waited in vain for {what}");
        thread::sleep(POLL_PAUSE);
    }
}

/// Repeats a measurement up to `limit` times until it is good. A bad one says what was measured. The number of attempts is
/// printed when one was not enough: a test that needs more and more of them has found something.
///
/// # Panics
/// When all are bad.
#[track_caller]
pub fn attempts<T>(what: &str, limit: usize, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let mut bad = Vec::new();
    while bad.len() < limit {
        match attempt() {
            Ok(good) => {
                if !bad.is_empty() {
                    report(
                        "REPEATED",
                        &format!("{what}: attempt {}, before it {bad:?}", bad.len() + 1),
                    );
                }
                return good;
            }
            Err(measured) => bad.push(measured),
        }
    }
    panic!("{what}: {limit} attempts, all bad: {bad:#?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_end_with_the_first_good_one() {
        let mut calls = 0;
        let good = attempts("a number", 3, || {
            calls += 1;
            if calls == 2 {
                Ok(calls)
            } else {
                Err(format!("{calls}"))
            }
        });
        assert_eq!((good, calls), (2, 2));
    }

    #[test]
    #[should_panic(expected = "2 attempts, all bad")]
    fn attempts_that_are_all_bad_fail() {
        attempts("a number", 2, || Err::<(), _>("bad".to_owned()));
    }

    #[test]
    fn watch_looks_at_least_once_and_for_the_whole_window() {
        let window = Duration::from_millis(20);
        let (begun, mut looks) = (Instant::now(), 0);
        watch(window, Duration::from_millis(5), |_| looks += 1);
        assert!(looks > 0 && begun.elapsed() >= window);
    }

    #[test]
    fn poll_gives_what_it_waited_for() {
        let mut calls = 0;
        let found = poll("the third call", || {
            calls += 1;
            (calls == 3).then_some(calls)
        });
        assert_eq!(found, 3);
    }
}
