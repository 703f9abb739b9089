//! The relay as its users meet it: the real daemon, real sockets, a fake data centre, one file per behaviour.
//!
//! Nothing sleeps, no port is fixed, everything that waits has a deadline. `MTRELAY_BIN` names another build of the
//! daemon, and `MTRELAY_RUNNER` a program to run it with.
#![allow(
    clippy::disallowed_methods,
    reason = "tests are the outside world: they have clocks and connect"
)]

mod admission;
#[path = "../bugs/mod.rs"]
mod bugs;
mod check_net;
mod client_side;
mod daemon;
mod docs;
mod endings;
mod fuzz_seeds;
mod house;
mod kernel;
mod lists;
mod luci;
mod netns;
mod openings;
mod privileges;
mod probes;
mod retry;
mod robustness;
mod secrets;
mod shapes;
mod soak;
mod stalls;
mod transfers;
mod ubus;
mod users;
mod vectors;

use mtrelay_test_support::{Mode, Relay, RelayConfig, Tag};

const SECRET: [u8; 16] = *b"\x0f\x1e\x2d\x3c\x4b\x5a\x69\x78\x87\x96\xa5\xb4\xc3\xd2\xe1\xf0";

/// The daemon with this configuration.
fn start(config: &RelayConfig) -> Relay {
    Relay::start(env!("CARGO_BIN_EXE_mtrelay"), config)
}

/// One of each: plain in its two transports, dd, ee.
fn modes() -> [Mode; 4] {
    [
        Mode::Plain(Tag::ABRIDGED),
        Mode::Plain(Tag::INTERMEDIATE),
        Mode::Dd,
        Mode::ee("example.org"),
    ]
}
