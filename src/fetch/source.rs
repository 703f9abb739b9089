//! Where media comes from: Telegram, and in tests whatever stands in for it.

use crate::link::Link;
use std::future::Future;
use std::ops::Range;
use std::time::Duration;

/// Something that resolves links and hands out bytes.
pub trait Source: 'static {
    /// Hands out the bytes of one medium.
    type Reader: Reader;

    /// The media of a message: one, or an album's, in its order.
    fn find(&self, link: &Link) -> impl Future<Output = Result<Vec<Media>, FetchError>>;

    /// Begins to fetch a part of a medium. The part lies within its size.
    fn open(&self, media: &Media, part: Range<u64>) -> Self::Reader;
}

/// The bytes of a part, in order. Dropping it ends its work at once; while nobody asks, no more is requested than its window.
pub trait Reader {
    /// The next bytes, or nothing after the last ones.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, FetchError>>;
}

/// A document, a video or a photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Telegram's own number of it.
    pub id: i64,
    /// The data centre that has it.
    pub dc: i32,
    /// What opens it beside its number.
    pub access_hash: i64,
    /// What opens it for some time only; a new one is asked for by [`Media::origin`].
    pub file_reference: Vec<u8>,
    /// The size of a photo that is meant; empty for documents.
    pub thumb_size: String,
    /// Bytes.
    pub size: u64,
    /// A file name without directories.
    pub name: String,
    /// Its type.
    pub mime: String,
    /// The message that carries it.
    pub origin: Link,
}

/// Why there are no bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// There is no such chat, message or medium, or this account may not see it. Says which.
    NotFound(String),
    /// The chat forbids saving (`noforwards`).
    NoForwards,
    /// There is no account yet, or Telegram no longer knows it.
    LoggedOut,
    /// Telegram says to wait so long.
    Wait(Duration),
    /// Telegram refuses in these words.
    Refused(String),
    /// No connection, or it went, and going on did not help. Says what happened last.
    Connection(String),
    /// The other side breaks the protocol. Says how.
    Protocol(String),
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FetchError::NotFound(what) => write!(f, "not found: {what}"),
            FetchError::NoForwards => write!(f, "noforwards: this chat forbids saving"),
            FetchError::LoggedOut => write!(f, "not logged in"),
            FetchError::Wait(time) => write!(f, "Telegram says to wait {} s", time.as_secs()),
            FetchError::Refused(words) => write!(f, "Telegram refuses: {words}"),
            FetchError::Connection(what) => write!(f, "no connection: {what}"),
            FetchError::Protocol(what) => write!(f, "the protocol is broken: {what}"),
        }
    }
}

impl std::error::Error for FetchError {}
