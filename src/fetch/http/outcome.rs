//! How a request ended: the fields of its log line, and the early ends.

use super::response::Refusal;
use std::io;

/// The outcome of a request, for its log line.
#[derive(Default)]
pub(super) struct Outcome {
    /// The link, or another name of what was requested.
    pub(super) target: String,
    pub(super) status: u16,
    /// Bytes of the body.
    pub(super) bytes: u64,
    /// The connection ends with this response.
    pub(super) close: bool,
}

/// The early end of a response.
pub(super) enum Interrupt {
    /// Before the head: a refusal is sent in its place.
    Refuse(Refusal),
    /// After the head, or the client has left: the connection ends.
    Cut(io::Error),
}

impl From<Refusal> for Interrupt {
    fn from(refusal: Refusal) -> Interrupt {
        Interrupt::Refuse(refusal)
    }
}

impl From<io::Error> for Interrupt {
    fn from(error: io::Error) -> Interrupt {
        Interrupt::Cut(error)
    }
}
