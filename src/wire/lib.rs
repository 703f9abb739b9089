//! The wire formats of MTProto proxies: bytes in, values out.
//!
//! Time and random bytes are arguments, and no code here reads a socket, so that everything can be tested with fixed vectors
//! and fuzzed. No input of a peer makes this crate panic.
//!
//! - [`secret`] — the 16-byte keys and their written forms
//! - [`cipher`] — AES-256-CTR, the only code that runs for every relayed byte
//! - [`obfuscated2`] — the 64-byte header that opens every connection, from the client and to the DC
//! - [`faketls`] — fake TLS 1.3: hello, answer, records
//! - [`proxy_protocol`] — the client's address in a load balancer's header
//! - [`transport`] — where a frame ends, and which frames are errors
//! - [`client`] — the client's side: handshake and framing
//! - [`accept`] — the server's side: from a connection's first bytes to a user, a mode and a DC

#![no_std]
#![forbid(unsafe_code)]
// Input of a peer must not panic: the release builds check for overflow.
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

/// The allowed modes. One listener serves any set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// Obfuscated2 with the abridged or the intermediate transport.
    pub plain: bool,
    /// Obfuscated2 with the padded intermediate transport.
    pub dd: bool,
    /// Fake TLS: the padded transport inside TLS 1.3 records.
    pub ee: bool,
}

/// The mode of one client.
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

    /// Whether `mode` is allowed.
    #[must_use]
    pub fn allow(self, mode: Mode) -> bool {
        match mode {
            Mode::Plain => self.plain,
            Mode::Dd => self.dd,
            Mode::Ee => self.ee,
        }
    }
}
