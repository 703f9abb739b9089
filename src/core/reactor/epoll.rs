//! The relay's own reactor, on epoll(7).
//!
//! One per thread, nothing shared between threads. A descriptor is registered once, for both directions and edge-triggered: a further wait
//! costs no system call, and an idle descriptor 40 bytes. What is known of its readiness is a hint: an operation that would have blocked
//! clears it, and the next event sets it.

mod event_loop;
mod source;
mod timer;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests are their own peers")]
mod tests;

pub use event_loop::block_on;
pub(super) use source::Source;
pub use timer::Timer;
