//! The common parts of mtrelay's tests, benches and fuzz targets.
//!
//! Nothing here uses the relay's own codecs. The clients and the fake data centre encode and decode by themselves,
//! straight on AES, SHA-256 and HMAC, so that the relay is checked by something other than its own encoder.
//!
//! # The map
//! - [`relay`]: the daemon itself, started with a configuration of the test's choosing
//! - [`client`]: Telegram's clients in the three modes, well-behaved or not
//! - [`fake_dc`]: a data centre that follows a script and remembers what it saw
//! - [`fake_front`]: the site that unauthenticated clients are sent to
//! - [`fake_ubusd`], [`ubus`]: OpenWrt's bus, and a caller of methods on it
//! - [`tcp`]: links that are slow, cut or dead, and ports that refuse or never answer
//! - [`frames`]: transport frames and the two messages that open every MTProto talk
//! - [`obfuscated2`], [`faketls`], [`curve`]: the codecs under the clients, for tests that want to bend them
//! - [`netns`]: a host of the test's own, with its own addresses and routes
//! - [`require`]: what a test needs from the machine, and what happens where that is missing
//! - [`measure`]: windows of time, and measurements that are repeated
//! - [`rng`], [`clock`]: seeds and deadlines
//!
//! # What holds everywhere
//! - Every wait has a deadline ([`clock::patience`]) and then panics saying what it waited for and what it saw.
//! - Sockets bind port 0 of 127.0.0.1 or ::1 only.
//! - A failure names its seed; `MTRELAY_TEST_SEED` sets it again.
//! - Streams are made and checked on the fly ([`rng::Stream`]); 64 MiB cost no memory.
#![allow(
    clippy::disallowed_methods,
    reason = "the ban on clocks and raw connects is for the relay; tests are the outside world"
)]

pub mod client;
pub mod clock;
pub mod curve;
pub mod fake_dc;
pub mod fake_front;
pub mod fake_ubusd;
pub mod faketls;
pub mod frames;
pub mod measure;
pub mod netns;
pub mod obfuscated2;
pub mod relay;
pub mod require;
pub mod rng;
pub mod tcp;
pub mod ubus;
mod worker;

pub use client::{Client, Mode};
pub use fake_dc::{FakeDc, Script, Then};
pub use fake_front::FakeFront;
pub use fake_ubusd::FakeUbusd;
pub use obfuscated2::Tag;
pub use relay::{Relay, RelayConfig};
pub use rng::{Payload, Seed};
pub use ubus::{UbusClient, Value};
