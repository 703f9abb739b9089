//! What the data centres can be told to do wrong, at any moment of a test.

use std::time::Duration;

/// Everything that is wrong now. The default is a quick, honest server.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A round trip: half of it passes before a message is looked at, half before its answer goes out.
    pub latency: Duration,
    /// Bytes a second that a connection sends at most.
    pub rate: Option<u32>,
    /// The connection with this number (counted over all data centres) sends at most so many bytes a second.
    pub slow: Option<(usize, u32)>,
    /// Waits that are still to be imposed.
    pub floods: Vec<Flood>,
    /// Every connection is cut, in the middle of a message, after so many bytes.
    pub kill_after_bytes: Option<u64>,
    /// Every so many requests for a part, the connection is cut instead of an answer.
    pub kill_every: Option<u64>,
    /// Every so many requests for a part, the answer is damaged.
    pub corrupt_every: Option<(u64, Corruption)>,
    /// Every so many requests for a part that come with a reference in force, all references expire, this request's included.
    pub expire_every: Option<u64>,
    /// Every so many requests for a part, it is never answered.
    pub swallow_every: Option<u64>,
    /// A connection answers no more after so many requests for a part, without being closed.
    pub stall_after: Option<u64>,
    /// So many of the next messages are answered with this transport error, and the connection is closed.
    pub transport_errors: Option<(u32, i32)>,
    /// So many of the next requests for a part are answered with this error.
    pub errors: Option<(u32, i32, String)>,
    /// How the key exchange goes wrong.
    pub hostile: Option<Hostile>,
    /// Answers, except for files, are compressed.
    pub gzip: bool,
    /// Seconds that the servers' clock is ahead.
    pub clock_ahead: i64,
}

/// A wait to be imposed.
#[derive(Clone, Debug)]
pub struct Flood {
    /// Where.
    pub dc: i32,
    /// After so many more requests for parts there.
    pub after: u64,
    /// How long.
    pub seconds: u32,
    /// As `FLOOD_PREMIUM_WAIT_X`.
    pub premium: bool,
    /// The data centre keeps all answers to itself until no request has come for so long; then all that wait are refused at
    /// once. So nothing is under way any more when the wait begins, and whatever comes during it is the client's fault.
    pub quiet: Duration,
}

impl Flood {
    /// `FLOOD_WAIT_X` after so many requests for parts.
    #[must_use]
    pub fn new(dc: i32, after: u64, seconds: u32) -> Flood {
        Flood {
            dc,
            after,
            seconds,
            premium: false,
            quiet: Duration::from_millis(500),
        }
    }
}

/// How an answer is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// A bit of the ciphertext is another one.
    Bit,
    /// The last block is missing.
    Truncated,
    /// It says to belong to another session.
    Session,
    /// It says to be longer than it is.
    Length,
    /// It names another key.
    Key,
    /// Inside a valid envelope stands what no schema knows.
    Garbage,
    /// The file's bytes are fewer than asked for, and not the last ones.
    ShortPart,
    /// The file's bytes are more than asked for.
    LongPart,
}

/// How the key exchange goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostile {
    /// pq is a prime.
    PrimePq,
    /// pq is 0.
    ZeroPq,
    /// pq is 1.
    OnePq,
    /// pq has no bytes.
    EmptyPq,
    /// pq has 64 bytes.
    LongPq,
    /// `resPQ` is cut short.
    ShortPq,
    /// `resPQ` has no bytes.
    EmptyAnswer,
    /// `resPQ` says to have four billion keys.
    HugeVector,
    /// An answer of another type.
    OtherAnswer,
    /// `resPQ` with another nonce.
    OtherNonce,
    /// Keys that nobody knows.
    UnknownKey,
    /// No key.
    NoKey,
    /// No answer ever.
    Silence,
    /// `server_DH_params_fail`.
    DhFail,
    /// Another number as prime, one bit away.
    OtherPrime,
    /// A prime of one byte.
    ShortPrime,
    /// A prime without bytes.
    EmptyPrime,
    /// g is 1.
    OtherGenerator,
    /// g_a is 1.
    GaIsOne,
    /// g_a has no bytes.
    GaIsZero,
    /// g_a is the prime less one.
    GaIsPrimeMinusOne,
    /// Another nonce in the encrypted answer.
    OtherInnerNonce,
    /// Another nonce of the server's around the encrypted answer.
    OtherServerNonce,
    /// The encrypted answer does not have its hash.
    OtherHash,
    /// The encrypted answer is one block.
    ShortParams,
    /// The encrypted answer is no number of blocks.
    OddParams,
    /// The encrypted answer has no bytes.
    EmptyParams,
    /// `dh_gen_retry`, whatever comes.
    EndlessRetry,
    /// `dh_gen_fail`.
    GenFail,
    /// `dh_gen_ok` with another hash.
    OtherNewNonceHash,
}

impl Hostile {
    /// All of them.
    pub const ALL: [Hostile; 30] = [
        Hostile::PrimePq,
        Hostile::ZeroPq,
        Hostile::OnePq,
        Hostile::EmptyPq,
        Hostile::LongPq,
        Hostile::ShortPq,
        Hostile::EmptyAnswer,
        Hostile::HugeVector,
        Hostile::OtherAnswer,
        Hostile::OtherNonce,
        Hostile::UnknownKey,
        Hostile::NoKey,
        Hostile::Silence,
        Hostile::DhFail,
        Hostile::OtherPrime,
        Hostile::ShortPrime,
        Hostile::EmptyPrime,
        Hostile::OtherGenerator,
        Hostile::GaIsOne,
        Hostile::GaIsZero,
        Hostile::GaIsPrimeMinusOne,
        Hostile::OtherInnerNonce,
        Hostile::OtherServerNonce,
        Hostile::OtherHash,
        Hostile::ShortParams,
        Hostile::OddParams,
        Hostile::EmptyParams,
        Hostile::EndlessRetry,
        Hostile::GenFail,
        Hostile::OtherNewNonceHash,
    ];
}
