//! mtfetch against data centres that speak MTProto: real sockets, real keys, every byte compared.
//!
//! The client runs on the test's own thread, the data centres on another. Round trips are a delay that the fake data centre adds,
//! rates a bound that it keeps on each connection. Ports are chosen by the system. Every wait is for an event and has a deadline;
//! no test sleeps in order to wait. `tests/README.md` lists the files.
#![allow(
    clippy::disallowed_methods,
    reason = "tests are the outside world: they have clocks and connect"
)]

mod client;
mod faults;
mod flood_wait;
mod fuzz_seeds;
mod gateway;
mod hostile_servers;
mod links;
mod login;
mod memory;
mod program;
mod program_fixture;
mod speed;
mod transfers;
