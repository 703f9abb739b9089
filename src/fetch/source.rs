//! The source of media: Telegram, or media from memory in tests.

use crate::link::Link;
use std::future::Future;
use std::ops::Range;
use std::time::Duration;

/// Resolves links, and reads media.
pub trait Source: 'static {
    /// Reads a range of one medium.
    type Reader: MediaReader;

    /// The media of a message: one, or those of its album in order.
    fn find(&self, link: &Link) -> impl Future<Output = Result<Vec<Media>, FetchError>>;

    /// Starts to download a range of a medium. The range lies within its size.
    fn open(&self, media: &Media, range: Range<u64>) -> Self::Reader;
}

/// The bytes of a range, in order. Dropping the reader ends the download at once. While `next` is not called, at most the window
/// is requested.
pub trait MediaReader {
    /// The next bytes, or `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Vec<u8>>, FetchError>>;
}

/// A document, a video or a photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The id of the file.
    pub id: i64,
    /// The data centre that serves the file.
    pub dc: i32,
    /// The access hash, which belongs to the id.
    pub access_hash: i64,
    /// The file reference, a token that expires. A new one comes with the message [`Media::origin`].
    pub file_reference: Vec<u8>,
    /// The type of a photo's largest size. Empty for documents.
    pub thumb_size: String,
    /// The size in bytes.
    pub size: u64,
    /// A file name without directories.
    pub name: String,
    /// The media type.
    pub mime: String,
    /// The message with this file.
    pub origin: Link,
}

/// Why a lookup or a download failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The chat, the message or its media do not exist, or the account may not see them.
    NotFound(String),
    /// The chat forbids saving (`noforwards`).
    NoForwards,
    /// No account is logged in, or Telegram has ended its session.
    LoggedOut,
    /// Telegram demands a flood wait of this duration.
    Wait(Duration),
    /// Telegram refused with this error.
    Refused(String),
    /// The connection failed, and further attempts did, too. Holds the last failure.
    Connection(String),
    /// The server breaks the protocol.
    Protocol(String),
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FetchError::NotFound(what) => write!(f, "not found: {what}"),
            FetchError::NoForwards => write!(f, "noforwards: this chat forbids saving"),
            FetchError::LoggedOut => write!(f, "not logged in"),
            FetchError::Wait(time) => write!(f, "Telegram demands a wait of {} s", time.as_secs()),
            FetchError::Refused(words) => write!(f, "Telegram refuses: {words}"),
            FetchError::Connection(what) => write!(f, "no connection: {what}"),
            FetchError::Protocol(what) => write!(f, "protocol error: {what}"),
        }
    }
}

impl std::error::Error for FetchError {}
