//! The reactor: which descriptors are ready, and which timers have fired.
//!
//! One interface over two backends: the relay's own, on epoll, and the crate `async-io` (feature `async-io`). A backend has a `Source`,
//! which is a registered descriptor, a [`Timer`] and [`block_on`]; [`Async`] is the same over both.

mod interest;
mod io;

#[cfg(feature = "async-io")]
mod async_io;
#[cfg(not(feature = "async-io"))]
mod epoll;

#[cfg(feature = "async-io")]
use async_io as backend;
#[cfg(not(feature = "async-io"))]
use epoll as backend;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests are their own peers")]
mod tests;

pub use backend::{Timer, block_on};
pub use interest::Interest;
pub use io::{Async, Step};
