//! What people paste: links of messages.
//!
//! Read first: <https://core.telegram.org/api/links>, "Message links" and "Public username links". All of it is text: no page is
//! ever asked, and nothing here knows whether the message is there.
//!
//! Promises: any text is read without a panic, in time proportional to its length; what [`Link`] prints, it reads again as
//! the same link; and no message quotes more than a short piece of the text, on one line.

use mtrelay_core::quote::Quoted;
use std::fmt;
use std::str::FromStr;

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

/// Why a text is no link of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// There is nothing.
    Empty,
    /// It is longer than any link.
    TooLong,
    /// It leads elsewhere. Says where.
    NotTelegram(String),
    /// It names something of Telegram that is no message. Says what.
    NoMessage(&'static str),
    /// It names a chat, and no message there.
    NoNumber,
    /// No name looks like this one.
    BadName(String),
    /// No number looks like this one. Says of what.
    BadNumber(&'static str, String),
    /// There is more in it than a link of a message has.
    TooMuch(String),
}

/// The longest text that is looked at: the longest true link has about 100 bytes.
const MAX_LEN: usize = 512;
/// A public name's letters. The shortest in use have three.
const NAME_LEN: std::ops::RangeInclusive<usize> = 3..=32;
/// The highest number of a channel (<https://core.telegram.org/api/bots/ids>).
const MAX_CHANNEL: i64 = 997_852_516_352;

/// The hosts whose paths are links.
const HOSTS: [&str; 3] = ["t.me", "telegram.me", "telegram.dog"];

/// First pieces of paths that are no chats, and what they are.
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
            return of_command(command.trim_start_matches('/').trim_end_matches('/'), query);
        }
        let place = ["https://", "http://"]
            .iter()
            .find_map(|scheme| strip_scheme(before, scheme))
            .unwrap_or(before);
        let (host, path) = place.split_once('/').unwrap_or((place, ""));
        let host = host.to_ascii_lowercase();
        let host = host.strip_prefix("www.").unwrap_or(&host);
        let mut pieces: Vec<String> = Vec::new();
        // A public name may stand before the host, too.
        if let Some(name) = host.strip_suffix(".t.me") {
            pieces.push(name.to_owned());
        } else if !HOSTS.contains(&host) {
            return Err(LinkError::NotTelegram(host.to_owned()));
        }
        pieces.extend(path.split('/').filter(|piece| !piece.is_empty()).map(decoded));
        of_path(&pieces, query)
    }
}

/// `https://t.me/…`
fn of_path(pieces: &[String], query: &str) -> Result<Link, LinkError> {
    let mut pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    // The preview of a channel for people without Telegram.
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

/// `tg://resolve?domain=…&post=…` and `tg://privatepost?channel=…&post=…`
fn of_command(command: &str, query: &str) -> Result<Link, LinkError> {
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

/// Digits only: the standard library takes a sign, too.
fn digits(text: &str) -> Option<i64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The first value of a name. One without `=` is empty.
fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| decoded(value))
    })
}

/// Without its percent signs (RFC 3986 §2.1). One that begins nothing stands for itself.
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

/// A piece for a message.
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
                "{} is no name of a chat (3 to 32 letters, digits and _, a letter first)",
                quoted(name)
            ),
            LinkError::BadNumber(what, text) => {
                write!(f, "{} is no number of a {what}", quoted(text))
            }
            LinkError::TooMuch(piece) => write!(
                f,
                "{} is too much for a link of a message (t.me/NAME/NUMBER)",
                quoted(piece)
            ),
        }
    }
}

impl std::error::Error for LinkError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, message: i32) -> Link {
        Link {
            chat: Chat::Name(name.into()),
            message,
            comment: None,
            single: false,
        }
    }

    fn joined(channel: i64, message: i32) -> Link {
        Link {
            chat: Chat::Channel(channel),
            ..named("", message)
        }
    }

    fn read(text: &str) -> Result<Link, LinkError> {
        text.parse()
    }

    #[test]
    fn a_public_message_in_every_form() {
        for text in [
            "t.me/durov/123",
            "https://t.me/durov/123",
            "http://t.me/durov/123",
            "HTTPS://T.ME/Durov/123",
            "  https://t.me/durov/123\n",
            "https://t.me/durov/123/",
            "https://t.me//durov//123",
            "https://www.t.me/durov/123",
            "https://telegram.me/durov/123",
            "https://telegram.dog/durov/123",
            "https://t.me/s/durov/123",
            "https://durov.t.me/123",
            "https://t.me/@durov/123",
            "https://t.me/du%72ov/123",
            "https://t.me/durov/123?t=1m30s",
            "https://t.me/durov/123#top",
            "https://t.me/durov/7/123",
            "https://t.me/durov/123?thread=7",
            "tg://resolve?domain=durov&post=123",
            "tg:resolve?domain=durov&post=123",
            "TG://Resolve/?post=123&domain=Durov&thread=7",
            "tg://resolve?domain=durov&post=123&t=90",
        ] {
            assert_eq!(read(text), Ok(named("durov", 123)), "{text:?}");
        }
    }

    #[test]
    fn a_message_of_a_joined_channel() {
        for text in [
            "https://t.me/c/1234567890/42",
            "t.me/C/1234567890/42",
            "t.me/c/1234567890/9/42",
            "t.me/c/1234567890/42?thread=9",
            "tg://privatepost?channel=1234567890&post=42",
            "tg://privatepost?channel=1234567890&post=42&thread=9",
        ] {
            assert_eq!(read(text), Ok(joined(1_234_567_890, 42)), "{text:?}");
        }
        assert_eq!(
            read("t.me/c/997852516352/2147483647"),
            Ok(joined(997_852_516_352, i32::MAX))
        );
    }

    #[test]
    fn one_of_an_album_and_a_comment() {
        let single = Link {
            single: true,
            ..named("news", 5)
        };
        for text in [
            "t.me/news/5?single",
            "t.me/news/5?single=",
            "t.me/news/5?x=1&single=1",
            "tg://resolve?domain=news&post=5&single",
        ] {
            assert_eq!(read(text), Ok(single.clone()), "{text:?}");
        }
        let comment = Link {
            comment: Some(88),
            ..named("news", 5)
        };
        for text in [
            "t.me/news/5?comment=88",
            "t.me/news/5?comment=88&comment=89",
            "tg://resolve?domain=news&post=5&comment=88",
        ] {
            assert_eq!(read(text), Ok(comment.clone()), "{text:?}");
        }
        let both = Link {
            single: true,
            comment: Some(88),
            ..joined(10, 5)
        };
        assert_eq!(read("t.me/c/10/5?single&comment=88"), Ok(both));
    }

    #[test]
    fn what_a_link_prints_it_reads() {
        for text in [
            "t.me/news/5",
            "t.me/news/5?single",
            "t.me/news/5?comment=88",
            "t.me/news/5?comment=88&single",
            "t.me/c/10/5",
            "t.me/c/10/5?comment=1&single",
        ] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_link_of_a_message_is_said() {
        let no = LinkError::NoMessage;
        let bad = |what, text: &str| LinkError::BadNumber(what, text.into());
        let cases = [
            ("", LinkError::Empty),
            (" \n", LinkError::Empty),
            ("durov", LinkError::NotTelegram("durov".into())),
            (
                "https://example.org/durov/1",
                LinkError::NotTelegram("example.org".into()),
            ),
            (
                "https://t.me.example.org/durov/1",
                LinkError::NotTelegram("t.me.example.org".into()),
            ),
            (
                "https://t.me:443/durov/1",
                LinkError::NotTelegram("t.me:443".into()),
            ),
            ("ftp://t.me/durov/1", LinkError::NotTelegram("ftp:".into())),
            (
                "https://t.me@evil.example/durov/1",
                LinkError::NotTelegram("t.me@evil.example".into()),
            ),
            ("https://t.me", no("Telegram itself")),
            ("https://t.me/", no("Telegram itself")),
            ("https://t.me/durov", LinkError::NoNumber),
            ("https://t.me/s/durov", LinkError::NoNumber),
            ("https://t.me/durov?single", LinkError::NoNumber),
            ("https://t.me/c/12", LinkError::NoNumber),
            ("https://t.me/c", LinkError::NoNumber),
            ("https://t.me/s", LinkError::BadName("s".into())),
            ("https://t.me/+AbCdEf", no("an invitation")),
            ("https://t.me/joinchat/AbCdEf", no("an invitation")),
            ("https://t.me/addstickers/Animals", no("a set of stickers")),
            ("https://t.me/proxy?server=a&port=1&secret=00", no("a proxy")),
            ("https://t.me/durov/s/5", no("a story or a gift")),
            ("https://t.me/durov/0", bad("message", "0")),
            ("https://t.me/durov/-5", bad("message", "-5")),
            ("https://t.me/durov/+5", bad("message", "+5")),
            ("https://t.me/durov/5.", bad("message", "5.")),
            ("https://t.me/durov/2147483648", bad("message", "2147483648")),
            ("https://t.me/durov/five", bad("message", "five")),
            ("https://t.me/durov/x/5", bad("topic", "x")),
            ("https://t.me/durov/1/2/3", LinkError::TooMuch("3".into())),
            ("https://t.me/durov/5?comment=", bad("comment", "")),
            ("https://t.me/durov/5?comment=x", bad("comment", "x")),
            ("https://t.me/durov/5?thread=0", bad("thread", "0")),
            ("https://t.me/c/0/5", bad("channel", "0")),
            ("https://t.me/c/-1001234/5", bad("channel", "-1001234")),
            ("https://t.me/c/997852516353/5", bad("channel", "997852516353")),
            (
                "https://t.me/c/99999999999999999999/5",
                bad("channel", "99999999999999999999"),
            ),
            ("https://t.me/1abc/5", LinkError::BadName("1abc".into())),
            ("https://t.me/ab/5", LinkError::BadName("ab".into())),
            ("https://t.me/dürov/5", LinkError::BadName("dürov".into())),
            ("https://a.b.t.me/5", LinkError::BadName("a.b".into())),
            ("tg://", no("Telegram itself")),
            ("tg://join?invite=x", no("an invitation")),
            ("tg://settings", no("a command to the app")),
            ("tg://resolve?phone=123", no("a phone number, or nothing")),
            ("tg://resolve?domain=durov", LinkError::NoNumber),
            ("tg://resolve?domain=durov&story=5", no("a story")),
            ("tg://resolve?domain=durov&post=", bad("message", "")),
            ("tg://privatepost?post=5", bad("channel", "")),
        ];
        for (text, error) in cases {
            assert_eq!(read(text), Err(error), "{text:?}");
        }
        let long = format!("https://t.me/{}/5", "a".repeat(33));
        assert!(matches!(read(&long), Err(LinkError::BadName(_))));
        assert_eq!(
            read(&format!("t.me/durov/5?q={}", "x".repeat(600))),
            Err(LinkError::TooLong)
        );
    }

    #[test]
    fn errors_are_one_short_line() {
        let nasty = format!("https://t.me/durov/\u{1b}[31m\u{202e}{}", "é".repeat(200));
        for text in ["https://x\n/1", nasty.as_str(), "t.me/a%0ab/5", "t.me/durov/'"] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.len() < 300, "{message}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
    }

    #[test]
    fn no_text_panics() {
        let pieces = [
            "t.me", "/", "c", "tg:", "resolve", "?", "&", "=", "domain", "post", "%", "%4", "%41", "é", "5",
            "-", "\0", "#", "https://", "@", ".", " ", "single", "comment", "durov",
        ];
        let mut state = 0x2545_f491_u32;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..10 {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                text.push_str(pieces[state as usize % pieces.len()]);
            }
            if let Ok(link) = read(&text) {
                assert_eq!(read(&link.to_string()), Ok(link), "{text:?}");
            }
        }
    }
}
