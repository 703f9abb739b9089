//! Integration tests: the real daemon, real sockets, a fake data centre. One file per behaviour; `tests/README.md` lists them.
//!
//! Ports are chosen by the system. Every wait is for an event and has a deadline; no test sleeps in order to wait. Where a test is
//! about a stretch of time (CPU use, memory, silence), it watches for that stretch with `mtrelay_test_support::measure::watch`.
//! `MTRELAY_BIN` names another build of the daemon, and `MTRELAY_RUNNER` a program to run it with.
#![allow(
    clippy::disallowed_methods,
    reason = "tests are the outside world: they have clocks and connect"
)]

mod access_lists;
mod active_probing;
mod admission;
mod backpressure;
#[path = "../bugs/mod.rs"]
mod bugs;
mod check_net;
mod daemon;
mod dialing;
mod docs;
mod fuzz_seeds;
mod handshake;
mod house;
mod luci;
mod metrics_page;
mod options;
mod privileges;
mod proc_net;
mod retry;
mod robustness;
mod secrets;
mod segmentation;
mod session_end;
mod soak;
mod transfers;
mod ubus;
mod users;
mod vectors;
mod wire_client;

use mtrelay_test_support::{Mode, Relay, RelayConfig, Tag};

const SECRET: [u8; 16] = *b"\x0f\x1e\x2d\x3c\x4b\x5a\x69\x78\x87\x96\xa5\xb4\xc3\xd2\xe1\xf0";

/// Starts the daemon with this configuration.
fn start(config: &RelayConfig) -> Relay {
    Relay::start(env!("CARGO_BIN_EXE_mtrelay"), config)
}

/// Every client mode: plain with both of its transports, dd, ee.
fn modes() -> [Mode; 4] {
    [
        Mode::Plain(Tag::ABRIDGED),
        Mode::Plain(Tag::INTERMEDIATE),
        Mode::Dd,
        Mode::ee("example.org"),
    ]
}
