//! Connections to data centres: several addresses are raced, and the first that connects wins.
//!
//! Read RFC 8305 (Happy Eyeballs) first, then `attempts`, which decides which address is tried when, and `health`, which remembers
//! how each address did. [`Dialer::connect`] supplies sockets, the clock and random numbers.
//!
//! Promises: a connection is closed as soon as it is no longer needed. An attempt that lost a race counts neither as a
//! connection nor as a failure. A local error (no descriptor, no right to use an interface) does not lower an address's
//! health.

mod attempts;
mod connecting;
mod dialer;
mod health;
mod options;
mod outcome;
mod prewarm;
mod racing;

pub use attempts::RetrySchedule;
pub use connecting::{classify, connect};
pub use dialer::Dialer;
pub use health::{AddressFailure, AddressHealth, HealthChange, HealthState};
pub use options::{DialOptions, PreferIpv6, allowed};
pub use outcome::{Connected, DialError};

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "the tests connect to their own listeners"
)]
mod tests;
