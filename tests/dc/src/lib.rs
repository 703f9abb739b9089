//! Data centres for the tests of mtfetch: they speak MTProto from the first header to the last byte of a file.
//!
//! Nothing here uses the client's code: the server's side of everything is written from Telegram's documentation, and where
//! two implementations exist (sealing, opening, the password's proof), the tests hold it against the other one. Only the schema
//! and AES-IGE are the grammers crates'.
//!
//! | file | what it is |
//! |---|---|
//! | [`cluster`] | the data centres 1 to 5, started and asked by tests |
//! | [`world`] | accounts, channels, messages, files |
//! | [`faults`] | everything that can go wrong on demand |
//! | [`counters`] | what was seen |
//! | `link` | a connection: header, frames, delays, rates |
//! | `exchange`, `rsa`, `crypt` | the key exchange and the sealing of messages |
//! | `session`, `gzip` | ids, salts, containers, acknowledgements |
//! | `rpc` | the methods of the API |
//! | `srp` | the password's proof |
//! | [`thread`] | what a busy machine takes from them |
//! | [`envelope`] | single messages, for fuzz targets |
//! | `state` | what all of them share |
#![allow(
    clippy::disallowed_methods,
    reason = "the ban on clocks and raw connects is for the relay; tests are the outside world"
)]

pub mod cluster;
pub mod counters;
mod crypt;
pub mod envelope;
mod exchange;
pub mod faults;
mod gzip;
mod link;
mod rpc;
mod rsa;
mod session;
mod srp;
mod state;
pub mod thread;
pub mod world;

pub use cluster::Cluster;
pub use counters::Counters;
pub use faults::{Corruption, Faults, Flood, Hostile};
pub use rsa::PUBLIC_KEY_PEM;
pub use world::World;
