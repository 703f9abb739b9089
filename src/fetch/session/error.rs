//! The errors of a session, and of the requests in it.

use std::fmt;

/// The server's error in place of a result (`rpc_error`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    /// A code in the manner of HTTP.
    pub code: i32,
    /// A word in capitals, often with a number at its end.
    pub message: String,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// A packet is truncated or has wrong lengths.
    Malformed,
    /// A packet does not decrypt: another key, or changed in transit.
    Decryption,
    /// A packet belongs to another session.
    Foreign,
    /// A packet has a salt that the server has not announced.
    Salt,
    /// A message id is not a server's, or its time is out of bounds.
    MessageId,
    /// The server rejects the session's messages with this code.
    Rejected(i32),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "session: a malformed packet",
            Self::Decryption => "session: a packet does not decrypt",
            Self::Foreign => "session: a packet of another session",
            Self::Salt => "session: an unknown salt",
            Self::MessageId => "session: an invalid message id",
            Self::Rejected(code) => return write!(f, "session: messages rejected with code {code}"),
        })
    }
}

impl std::error::Error for SessionError {}
