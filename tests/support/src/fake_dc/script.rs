//! What a data centre can be told to do.

use crate::rng::Payload;

/// What a data centre does with a connection. All of them read the header first, except `Stall` and `Refuse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// Sends back what it gets; ends after the other side did.
    Echo,
    /// Sends the payload and then ends at once, as `then` says: nothing is read before that.
    Source {
        /// What it sends.
        payload: Payload,
        /// What comes after the last byte was written.
        then: Then,
    },
    /// Reads until the end, then answers with the count (8 bytes, little-endian) and the SHA-256 of what came, and closes.
    Sink {
        /// What should come.
        expect: Option<Payload>,
    },
    /// Sends and reads at the same time; ends its direction after the payload, and the connection after the other side did.
    Both {
        /// What it sends. If it is asked for, `expect` uses the same seed's complement.
        send: Payload,
        /// What should come.
        expect: Option<Payload>,
    },
    /// Sends the payload, ends its direction, goes on reading until the end.
    HalfCloseFirst {
        /// What it sends.
        payload: Payload,
        /// What should come.
        expect: Option<Payload>,
    },
    /// Accepts and reads nothing, not even the header. If the gate opens it becomes `Silent`.
    Stall,
    /// Reads until the end and says nothing.
    Silent,
    /// Does not listen; connecting is refused.
    Refuse,
    /// Reads this many bytes beyond the header, then cuts the connection.
    ResetAt(u64),
    /// Answers every `req_pq` and `req_pq_multi` with a valid `resPQ`, ignores other messages.
    ResPq,
    /// Answers the first frame with a transport error (−404, −429, −444), then closes.
    TransportError(i32),
    /// Steps, one after another; after the last one it reads until the end.
    Play(Vec<Step>),
}

impl Script {
    /// Sends `bytes` of the stream `seed` and then ends as `then` says.
    pub fn source(seed: u64, bytes: u64, then: Then) -> Script {
        Script::Source {
            payload: Payload::new(seed, bytes),
            then,
        }
    }

    /// Reads `bytes` of the stream `seed`, and answers with a digest.
    pub fn sink(seed: u64, bytes: u64) -> Script {
        Script::Sink {
            expect: Some(Payload::new(seed, bytes)),
        }
    }
}

/// What comes after the last byte was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Closes. What the other side sent and nobody read is thrown away first, else the kernel would make it a reset.
    Close,
    /// Ends its own direction, reads until the other side ends too.
    HalfClose,
    /// Cuts the connection; the kernel may throw away what it has not sent yet.
    Reset,
    /// Keeps the connection until the other side ends it.
    Stay,
}

/// One step of a play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends the payload.
    Stream(Payload),
    /// Reads exactly this many bytes.
    Read(u64),
    /// Reads until the other side ends.
    ReadToEnd,
    /// Waits for `FakeDc::open_gate`.
    Gate,
    /// Ends its own direction.
    HalfClose,
    /// Cuts the connection.
    Reset,
    /// Closes.
    Close,
}

/// How fast, and in which pieces. The default is as fast as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// At most this many bytes a write (TCP_NODELAY is always set).
    pub chunk: Option<usize>,
    /// Bytes written a second.
    pub write_rate: Option<u32>,
    /// Bytes read a second.
    pub read_rate: Option<u32>,
}
