//! How long a thread has waited for a processor: what a busy machine takes away from a test that measures time.

use std::path::PathBuf;
use std::time::Duration;

/// A thread of this process, where the system tells of it.
#[derive(Clone, Debug)]
pub struct Thread(PathBuf);

impl Thread {
    /// The one that asks.
    #[must_use]
    pub fn current() -> Thread {
        let own = std::fs::read_link("/proc/thread-self").unwrap_or_default();
        Thread(PathBuf::from("/proc").join(own).join("schedstat"))
    }

    /// How long it was ready to run and did not, since it began. Nothing, if the system does not count that.
    #[must_use]
    pub fn starved(&self) -> Duration {
        let counted = std::fs::read_to_string(&self.0).unwrap_or_default();
        let nanoseconds = counted.split(' ').nth(1).and_then(|word| word.parse().ok());
        Duration::from_nanos(nanoseconds.unwrap_or_default())
    }
}
