//! mtfetch against data centres that speak MTProto: real sockets, real keys, every byte compared.
//!
//! The client runs on the test's own thread, the data centres on another. What is measured is measured there: round trips are a
//! delay on loopback, rates a bound on each connection. Nothing sleeps, no port is fixed, everything that waits has a deadline.
#![allow(
    clippy::disallowed_methods,
    reason = "tests are the outside world: they have clocks and connect"
)]

mod bytes;
mod client;
mod faults;
mod find;
mod fuzz_seeds;
mod handshakes;
mod login;
mod memory;
mod pace;
mod place;
mod program;
mod serve;
mod waits;
