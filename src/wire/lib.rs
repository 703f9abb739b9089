//! The wire formats of MTProto proxies: bytes in, values out.
//!
//! No clock, no sockets, no randomness of its own: time and random bytes are arguments, so that everything here can be
//! tested with fixed vectors and fuzzed. Nothing in this crate panics on a peer's bytes.
//!
//! - [`secret`] — the 16-byte keys, and the forms in which people paste them
//! - [`cipher`] — AES-256-CTR, the one piece of code that runs for every relayed byte
//! - [`obfuscated2`] — the 64-byte header that opens every connection, towards the client and towards the DC
//! - [`faketls`] — the TLS 1.3 costume: hello, answer, records
//! - [`proxy_protocol`] — what a balancer says of the client behind it
//! - [`transport`] — where a frame ends, and which ones are errors
//! - [`client`] — the other side of all that: what a client sends and expects
//! - [`accept`] — the state machine that turns a connection's first bytes into a user, a mode and a DC

#![no_std]
#![forbid(unsafe_code)]
// No panic on a peer's bytes: the release build checks for overflow, as OpenWrt's does.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod accept;
pub use mtrelay_cipher as cipher;
pub mod client;
pub mod faketls;
pub mod obfuscated2;
pub mod proxy_protocol;
pub mod secret;
pub mod transport;

/// The ways in which a client may present itself. One listener serves any set of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// Obfuscated2 with the abridged or the intermediate transport.
    pub plain: bool,
    /// Obfuscated2 with the padded intermediate transport.
    pub dd: bool,
    /// The padded transport inside what looks like TLS 1.3.
    pub ee: bool,
}

/// The way in which one client did present itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Obfuscated2, abridged or intermediate.
    Plain,
    /// Obfuscated2, padded intermediate.
    Dd,
    /// Fake TLS.
    Ee,
}

impl Modes {
    /// Every mode.
    pub const ALL: Modes = Modes {
        plain: true,
        dd: true,
        ee: true,
    };

    /// Whether `mode` is among them.
    #[must_use]
    pub fn allow(self, mode: Mode) -> bool {
        match mode {
            Mode::Plain => self.plain,
            Mode::Dd => self.dd,
            Mode::Ee => self.ee,
        }
    }
}
