//! What a dialing gives: a connection, or the reason for none.

use crate::close::ConnectFailure;
use crate::reactor::Async;
use std::fmt;
use std::net::{SocketAddr, TcpStream};

/// A callback for each attempt that failed.
pub(super) type OnFailure<'a> = dyn FnMut(SocketAddr, ConnectFailure) + 'a;

/// An established connection.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub connection: Async<TcpStream>,
    /// The remote address.
    pub address: SocketAddr,
    /// The connection is IPv4 because an IPv6 address is failing.
    pub ipv6_fallback: bool,
    /// The connection was prewarmed. It may be stale, so its failure says nothing about its address.
    pub warm: bool,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialError {
    /// No address is of an allowed family.
    NoAddress,
    /// Every address refused the connection.
    Refused,
    /// All rounds of the retry schedule are used up.
    Exhausted,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "no address of an allowed family",
            Self::Refused => "every address refused",
            Self::Exhausted => "no address answered in any round",
        })
    }
}

impl std::error::Error for DialError {}
