//! What people paste: links of messages.

/// A link of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// Where the message stands.
    pub chat: Chat,
    /// Its number there.
    pub message: i32,
    /// A comment under that message.
    pub comment: Option<i32>,
    /// This one only, of an album.
    pub single: bool,
}

/// Where a message stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Chat {
    /// A public name, in lower case.
    Name(String),
    /// The number of a channel that the account has joined.
    Channel(i64),
}
