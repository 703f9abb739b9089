//! Deadlines, so that no test ever hangs.
//!
//! Promises: everything in this crate that waits gives up after [`patience`], which one variable stretches for slow
//! machines and emulators.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a test waits for something that should come at once: 20 seconds, times `MTRELAY_TEST_PATIENCE`.
pub fn patience() -> Duration {
    static PATIENCE: LazyLock<Duration> = LazyLock::new(|| {
        let times = std::env::var("MTRELAY_TEST_PATIENCE")
            .ok()
            .and_then(|v| v.parse().ok());
        Duration::from_secs(20) * times.unwrap_or(1)
    });
    *PATIENCE
}

/// The wall clock, as clients write it into a hello.
pub fn unix_time() -> u32 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock stands after 1970");
    since.as_secs() as u32
}

/// A moment after which waiting is over.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// `patience()` from now.
    pub fn patient() -> Deadline {
        Deadline::after(patience())
    }

    /// `delay` from now.
    pub fn after(delay: Duration) -> Deadline {
        Deadline(Instant::now() + delay)
    }

    /// What is left, `None` when it has passed.
    pub fn remaining(self) -> Option<Duration> {
        self.0
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }
}

/// Sets it however a scope is left: the threads that look at it end even when the test fails.
#[derive(Debug)]
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A value that threads change and others wait on.
#[derive(Debug, Default)]
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    pub(crate) fn new(value: T) -> Self {
        Watched {
            value: Mutex::new(value),
            changed: Condvar::new(),
        }
    }

    /// Looks at the value without telling anyone. A poisoned lock is taken anyway: a test that failed must not hide why.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value and wakes who waits.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `found` gives something; `None` when the deadline passed first.
    pub(crate) fn wait<R>(
        &self,
        deadline: Deadline,
        mut found: impl FnMut(&mut T) -> Option<R>,
    ) -> Option<R> {
        let mut value = self.lock();
        loop {
            if let Some(result) = found(&mut value) {
                return Some(result);
            }
            let left = deadline.remaining()?;
            value = self
                .changed
                .wait_timeout(value, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
