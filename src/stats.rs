//! The counters of the relay, and the one place where each event is counted.
//!
//! Every output reads the same cells through a [`crate::metrics::Snapshot`]; the names stand in [`crate::metrics::table`]. Everything lives on one
//! thread, so a counter is a `Cell<u64>`: 32-bit MIPS has no 64-bit atomics.
//!
//! Promises: counting never panics and never blocks; a session counts its end exactly once, even when its task is dropped in the
//! middle; for each DC `created = active + ended` at any moment; and no peer can make the tables grow beyond what the config lists.

mod close_line;
mod counters;
mod dc;
mod live;
mod session;
mod total;
mod user;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub use crate::metrics::{DcMetric, RelayMetric};
pub use session::SessionStats;
pub use total::{Raised, SnapshotInputs, Stats};
pub use user::UserStats;
