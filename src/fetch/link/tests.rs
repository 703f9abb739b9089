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
    ];
    for (text, error) in cases {
        assert_eq!(read(text), Err(error), "{text:?}");
    }
}

#[test]
fn invalid_numbers_names_and_commands_are_said() {
    let no = LinkError::NoMessage;
    let bad = |what, text: &str| LinkError::BadNumber(what, text.into());
    let cases = [
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
        "t.me", "/", "c", "tg:", "resolve", "?", "&", "=", "domain", "post", "%", "%4", "%41", "é", "5", "-",
        "\0", "#", "https://", "@", ".", " ", "single", "comment", "durov",
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
