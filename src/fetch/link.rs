//! Links of messages: t.me and tg: links as text.
//!
//! Read first: <https://core.telegram.org/api/links>, "Message links" and "Public username links". Parsing only: no web page is
//! requested, and whether the message exists is not known here.
//!
//! Promises: any text is parsed without a panic, in time proportional to its length; a printed [`Link`] parses to the same link;
//! an error message quotes at most a short piece of the text, on one line.

use mtrelay_core::quote::Quoted;
use std::fmt;
use std::str::FromStr;

/// A link of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The chat of the message.
    pub chat: Chat,
    /// The number of the message in the chat.
    pub message: i32,
    /// The number of a comment on that message.
    pub comment: Option<i32>,
    /// Only this message of an album.
    pub single: bool,
}

/// The chat of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Chat {
    /// A public name, in lower case.
    Name(String),
    /// The number of a channel that the account has joined.
    Channel(i64),
}

/// Why a text is not the link of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// The text is empty.
    Empty,
    /// The text is longer than any link.
    TooLong,
    /// The host is not Telegram's.
    NotTelegram(String),
    /// The link is Telegram's, but leads to something else than a message.
    NoMessage(&'static str),
    /// The link names a chat but no message.
    NoNumber,
    /// The name of the chat is invalid.
    BadName(String),
    /// A number is invalid: which one, and its text.
    BadNumber(&'static str, String),
    /// The path has more segments than a message link.
    TooMuch(String),
}

/// Upper bound of a link in bytes. The longest real one has about 100.
const MAX_LEN: usize = 512;
/// Characters of a public name. The shortest in use have three.
const NAME_LEN: std::ops::RangeInclusive<usize> = 3..=32;
/// The highest number of a channel (<https://core.telegram.org/api/bots/ids>).
const MAX_CHANNEL: i64 = 997_852_516_352;

/// The hosts whose paths are links.
const HOSTS: [&str; 3] = ["t.me", "telegram.me", "telegram.dog"];

/// First path segments that are not chats, and what they name.
const OTHERS: [(&str, &str); 26] = [
    ("addemoji", "a set of emoji"),
    ("addlist", "a folder of chats"),
    ("addstickers", "a set of stickers"),
    ("addstyle", "a style"),
    ("addtheme", "a theme"),
    ("auction", "an auction"),
    ("bg", "a wallpaper"),
    ("boost", "a boost"),
    ("call", "a call"),
    ("confirmphone", "a confirmation of a phone number"),
    ("contact", "a contact"),
    ("giftcode", "a gift"),
    ("invoice", "an invoice"),
    ("iv", "an instant view"),
    ("joinchat", "an invitation"),
    ("login", "a login code"),
    ("m", "a message to a business"),
    ("newbot", "a new bot"),
    ("nft", "a collectible"),
    ("passport", "a request for documents"),
    ("proxy", "a proxy"),
    ("setlanguage", "a language"),
    ("share", "something to share"),
    ("socks", "a proxy"),
    ("stickers", "a set of stickers"),
    ("web", "the web client"),
];

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Link, LinkError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(LinkError::Empty);
        }
        if text.len() > MAX_LEN {
            return Err(LinkError::TooLong);
        }
        let text = text.split('#').next().unwrap_or(text);
        let (before, query) = text.split_once('?').unwrap_or((text, ""));
        if let Some(command) = strip_scheme(before, "tg:") {
            return parse_command(command.trim_start_matches('/').trim_end_matches('/'), query);
        }
        let place = ["https://", "http://"]
            .iter()
            .find_map(|scheme| strip_scheme(before, scheme))
            .unwrap_or(before);
        let (host, path) = place.split_once('/').unwrap_or((place, ""));
        let host = host.to_ascii_lowercase();
        let host = host.strip_prefix("www.").unwrap_or(&host);
        let mut pieces: Vec<String> = Vec::new();
        // `NAME.t.me` is a form of `t.me/NAME`.
        if let Some(name) = host.strip_suffix(".t.me") {
            pieces.push(name.to_owned());
        } else if !HOSTS.contains(&host) {
            return Err(LinkError::NotTelegram(host.to_owned()));
        }
        pieces.extend(path.split('/').filter(|piece| !piece.is_empty()).map(decoded));
        parse_path(&pieces, query)
    }
}

/// Parses the path and query of `https://t.me/…`.
fn parse_path(pieces: &[String], query: &str) -> Result<Link, LinkError> {
    let mut pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    // `t.me/s/NAME` is the web preview of a channel.
    if pieces.len() > 1 && pieces[0].eq_ignore_ascii_case("s") {
        pieces.remove(0);
    }
    let Some((&first, rest)) = pieces.split_first() else {
        return Err(LinkError::NoMessage("Telegram itself"));
    };
    if first.starts_with('+') {
        return Err(LinkError::NoMessage("an invitation"));
    }
    if let Some((_, what)) = OTHERS.iter().find(|(word, _)| first.eq_ignore_ascii_case(word)) {
        return Err(LinkError::NoMessage(what));
    }
    let (chat, rest) = if first.eq_ignore_ascii_case("c") {
        let Some((&number, rest)) = rest.split_first() else {
            return Err(LinkError::NoNumber);
        };
        (channel(number)?, rest)
    } else {
        (name(first)?, rest)
    };
    let message = match rest {
        [] => return Err(LinkError::NoNumber),
        ["s" | "a" | "c", ..] => return Err(LinkError::NoMessage("a story or a gift")),
        [message] => message,
        // A topic of a forum: the message has a number of its own in the chat.
        [topic, message] => {
            number(topic, "topic")?;
            message
        }
        [.., more] => return Err(LinkError::TooMuch(short(more))),
    };
    with_query(chat, message, query)
}

/// Parses `tg://resolve?domain=…&post=…` and `tg://privatepost?channel=…&post=…`.
fn parse_command(command: &str, query: &str) -> Result<Link, LinkError> {
    let chat = match command.to_ascii_lowercase().as_str() {
        "resolve" => match parameter(query, "domain") {
            Some(domain) => name(&domain)?,
            None => return Err(LinkError::NoMessage("a phone number, or nothing")),
        },
        "privatepost" => channel(&parameter(query, "channel").unwrap_or_default())?,
        "join" => return Err(LinkError::NoMessage("an invitation")),
        "" => return Err(LinkError::NoMessage("Telegram itself")),
        _ => return Err(LinkError::NoMessage("a command to the app")),
    };
    let message = match parameter(query, "post") {
        Some(post) => post,
        None if parameter(query, "story").is_some() => return Err(LinkError::NoMessage("a story")),
        None => return Err(LinkError::NoNumber),
    };
    with_query(chat, &message, query)
}

fn with_query(chat: Chat, message: &str, query: &str) -> Result<Link, LinkError> {
    if let Some(thread) = parameter(query, "thread") {
        number(&thread, "thread")?;
    }
    Ok(Link {
        chat,
        message: number(message, "message")?,
        comment: parameter(query, "comment")
            .map(|comment| number(&comment, "comment"))
            .transpose()?,
        single: parameter(query, "single").is_some(),
    })
}

fn name(text: &str) -> Result<Chat, LinkError> {
    let text = text.strip_prefix('@').unwrap_or(text);
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    if begins && letters && NAME_LEN.contains(&text.len()) {
        Ok(Chat::Name(text.to_ascii_lowercase()))
    } else {
        Err(LinkError::BadName(short(text)))
    }
}

fn channel(text: &str) -> Result<Chat, LinkError> {
    match digits(text) {
        Some(number @ 1..=MAX_CHANNEL) => Ok(Chat::Channel(number)),
        _ => Err(LinkError::BadNumber("channel", short(text))),
    }
}

fn number(text: &str, what: &'static str) -> Result<i32, LinkError> {
    digits(text)
        .and_then(|number| i32::try_from(number).ok())
        .filter(|&number| number > 0)
        .ok_or_else(|| LinkError::BadNumber(what, short(text)))
}

/// A number of digits only. The standard library would accept a sign.
fn digits(text: &str) -> Option<i64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The first value of a query parameter, decoded. Empty without `=`.
fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| decoded(value))
    })
}

/// Decodes percent-encoding (RFC 3986 §2.1). An invalid escape stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let hex = |at: usize| behind.get(at).and_then(|&b| char::from(b).to_digit(16));
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &behind[2..];
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// The first 40 characters, for an error message.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.chat {
            Chat::Name(name) => write!(f, "t.me/{name}/{}", self.message)?,
            Chat::Channel(number) => write!(f, "t.me/c/{number}/{}", self.message)?,
        }
        if let Some(comment) = self.comment {
            write!(f, "?comment={comment}")?;
        }
        match (self.single, self.comment) {
            (false, _) => Ok(()),
            (true, None) => f.write_str("?single"),
            (true, Some(_)) => f.write_str("&single"),
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text| Quoted { mark: '\'', text };
        match self {
            LinkError::Empty => f.write_str("no link"),
            LinkError::TooLong => write!(f, "too long for a link (at most {MAX_LEN} bytes)"),
            LinkError::NotTelegram(host) => {
                write!(f, "{} is not Telegram (t.me/NAME/NUMBER)", quoted(&short(host)))
            }
            LinkError::NoMessage(what) => {
                write!(f, "the link is of {what}, not of a message (t.me/NAME/NUMBER)")
            }
            LinkError::NoNumber => f.write_str("the link names no message (t.me/NAME/NUMBER)"),
            LinkError::BadName(name) => write!(
                f,
                "{} is not the name of a chat (3 to 32 letters, digits and _, a letter first)",
                quoted(name)
            ),
            LinkError::BadNumber(what, text) => {
                write!(f, "{} is not the number of a {what}", quoted(text))
            }
            LinkError::TooMuch(piece) => write!(
                f,
                "{} is one segment too many for the link of a message (t.me/NAME/NUMBER)",
                quoted(piece)
            ),
        }
    }
}

impl std::error::Error for LinkError {}

#[cfg(test)]
mod tests;
