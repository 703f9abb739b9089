//! Fake TLS: to whoever looks on, the connection is a TLS 1.3 handshake and its application data (RFC 8446).
//!
//! [`client_hello`] recognises our clients among strangers, [`server_hello`] answers them, [`record`] carries the bytes
//! from then on; [`flight`] finds out how long a real site's answer is. [`x25519`] only serves to make the answer's key share indistinguishable from a real one.

pub mod client_hello;
pub mod flight;
pub mod record;
pub mod server_hello;
pub mod x25519;
