//! Fake TLS: to an observer the connection is a TLS 1.3 handshake and its application data (RFC 8446).
//!
//! [`client_hello`] distinguishes the proxy's clients from unauthenticated ones, [`server_hello`] answers them, and [`record`] carries the
//! bytes after that. [`flight`] measures the length of a real site's answer. [`x25519`] makes key shares that look genuine.

pub mod client_hello;
pub mod flight;
pub(crate) mod handshake;
pub mod record;
pub mod server_hello;
pub mod x25519;
