//! What there is to be seen: accounts, channels, messages, files.

use mtrelay_test_support::rng::Stream;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// The world of one cluster.
#[derive(Clone, Debug)]
pub struct World {
    /// What the application must call itself.
    pub api_id: i32,
    /// And what proves it.
    pub api_hash: String,
    /// Who may log in.
    pub accounts: Vec<Account>,
    /// Where messages stand.
    pub channels: Vec<Channel>,
    /// What messages carry.
    pub files: Vec<File>,
}

/// Somebody who may log in: a person with a telephone, or a bot with a token.
#[derive(Clone, Debug)]
pub struct Account {
    /// The number of the user.
    pub id: i64,
    /// With its country's prefix, digits only.
    pub phone: Option<String>,
    /// What is sent to the telephone.
    pub code: String,
    /// The second factor.
    pub password: Option<String>,
    /// Of a bot.
    pub token: Option<String>,
    /// The account's own data centre.
    pub home: i32,
}

/// A channel or a group.
#[derive(Clone, Debug)]
pub struct Channel {
    /// The number in links without a name.
    pub id: i64,
    /// What opens it beside its number.
    pub access_hash: i64,
    /// A public name.
    pub username: Option<String>,
    /// What people see.
    pub title: String,
    /// Saving is forbidden.
    pub noforwards: bool,
    /// Everybody who can log in has joined it.
    pub joined: bool,
    /// A group, as the one with a channel's comments.
    pub group: bool,
    /// The messages.
    pub messages: BTreeMap<i32, Message>,
}

/// A message.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// What it says.
    pub text: String,
    /// The file that it carries, by its number.
    pub file: Option<i64>,
    /// The album to which it belongs.
    pub album: Option<i64>,
    /// Saving is forbidden.
    pub noforwards: bool,
    /// Where its comments stand: the group, and the message there that begins them.
    pub comments: Option<(i64, i32)>,
    /// In a group: the message that begins the comments among which it stands.
    pub thread: Option<i32>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A document.
    Document,
    /// A document with a picture's measures and a duration.
    Video,
    /// A photo: this is its largest size `y`; the size `m` has its first quarter.
    Photo,
}

/// A file, whose bytes a seed makes.
#[derive(Clone, Debug)]
pub struct File {
    /// Its number.
    pub id: i64,
    /// What opens it beside its number.
    pub access_hash: i64,
    /// Where it lies.
    pub dc: i32,
    /// Where messages say it lies; if that is elsewhere, it migrates.
    pub said_dc: i32,
    /// Bytes.
    pub size: u64,
    /// Whence its bytes come.
    pub seed: u64,
    /// Its name; empty for none.
    pub name: String,
    /// Its type.
    pub mime: String,
    /// What it is.
    pub kind: Kind,
}

impl File {
    /// A document of so many bytes at a data centre; number, seed and hash are all made of `id`.
    #[must_use]
    pub fn document(id: i64, dc: i32, size: u64) -> File {
        File {
            id,
            access_hash: !id,
            dc,
            said_dc: dc,
            size,
            seed: id as u64,
            name: format!("file-{id}.bin"),
            mime: "application/octet-stream".into(),
            kind: Kind::Document,
        }
    }

    /// A video.
    #[must_use]
    pub fn video(id: i64, dc: i32, size: u64) -> File {
        File {
            name: format!("film-{id}.mp4"),
            mime: "video/mp4".into(),
            kind: Kind::Video,
            ..File::document(id, dc, size)
        }
    }

    /// A photo.
    #[must_use]
    pub fn photo(id: i64, dc: i32, size: u64) -> File {
        File {
            name: String::new(),
            mime: "image/jpeg".into(),
            kind: Kind::Photo,
            ..File::document(id, dc, size)
        }
    }

    /// The bytes from `offset` on, at most `len`.
    #[must_use]
    pub fn bytes(&self, offset: u64, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.size.saturating_sub(offset).min(len) as usize];
        Stream::at(self.seed, offset).fill(&mut bytes);
        bytes
    }

    /// The digest of all of them.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for offset in (0..self.size).step_by(1 << 20) {
            hash.update(self.bytes(offset, 1 << 20));
        }
        hash.finalize().into()
    }
}

impl Channel {
    /// A public channel that nobody has joined.
    #[must_use]
    pub fn public(id: i64, username: &str) -> Channel {
        Channel {
            id,
            access_hash: !id,
            username: Some(username.into()),
            title: format!("The channel {username}"),
            noforwards: false,
            joined: false,
            group: false,
            messages: BTreeMap::new(),
        }
    }

    /// A private channel that everybody has joined.
    #[must_use]
    pub fn private(id: i64) -> Channel {
        Channel {
            username: None,
            joined: true,
            title: format!("The private channel {id}"),
            ..Channel::public(id, "")
        }
    }
}

impl Message {
    /// A message with a file.
    #[must_use]
    pub fn with_file(file: i64) -> Message {
        Message {
            file: Some(file),
            ..Message::default()
        }
    }
}

impl World {
    /// Two accounts (one with a password), a bot, and no channel.
    #[must_use]
    pub fn new() -> World {
        let person = |id, phone: &str, password: Option<&str>| Account {
            id,
            phone: Some(phone.into()),
            code: "22222".into(),
            password: password.map(Into::into),
            token: None,
            home: 2,
        };
        World {
            api_id: 12_345,
            api_hash: "0123456789abcdef0123456789abcdef".into(),
            accounts: vec![
                person(1001, "9996621111", None),
                person(1002, "9996622222", Some("correct horse")),
                Account {
                    token: Some("7000:test-token".into()),
                    phone: None,
                    ..person(7000, "", None)
                },
            ],
            channels: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The usual one: a channel `media` with a text (1), a document at the other data centre (2), a video (3), an album of a
    /// photo, a video and a document (10 to 12), a post with comments (20), one that may not be saved (30), a file that
    /// migrates (40); a group `talk` with the comments; a channel `closed` that forbids saving; a private one (4004).
    #[must_use]
    pub fn sample() -> World {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        let mut world = World::new();
        world.files = vec![
            File::document(501, 4, 3 * MIB + 12_345),
            File::video(502, 2, 20 * MIB),
            File::photo(503, 4, 300 * KIB + 1),
            File::video(504, 1, 2 * MIB),
            File::document(505, 2, 0),
            File::document(506, 4, 700 * KIB),
            File {
                said_dc: 2,
                ..File::document(507, 5, MIB)
            },
            File::photo(508, 2, 100 * KIB),
        ];
        let text = |text: &str| Message {
            text: text.into(),
            ..Message::default()
        };
        let in_album = |file| Message {
            album: Some(77),
            ..Message::with_file(file)
        };
        let mut media = Channel::public(2001, "media");
        media.messages = [
            (1, text("only words")),
            (2, Message::with_file(501)),
            (3, Message::with_file(502)),
            (5, Message::with_file(505)),
            (10, in_album(503)),
            (11, in_album(504)),
            (12, in_album(506)),
            (
                20,
                Message {
                    comments: Some((2002, 3)),
                    ..Message::with_file(508)
                },
            ),
            (
                30,
                Message {
                    noforwards: true,
                    ..Message::with_file(501)
                },
            ),
            (40, Message::with_file(507)),
        ]
        .into();
        let mut talk = Channel {
            group: true,
            ..Channel::public(2002, "talk")
        };
        let comment = |file| Message {
            thread: Some(3),
            ..Message::with_file(file)
        };
        talk.messages = [(3, Message::with_file(508)), (4, comment(501)), (9, comment(506))].into();
        let mut closed = Channel {
            noforwards: true,
            ..Channel::public(2003, "closed")
        };
        closed.messages.insert(1, Message::with_file(501));
        let mut private = Channel::private(4004);
        private.messages.insert(7, Message::with_file(506));
        world.channels = vec![media, talk, closed, private];
        world
    }

    /// A file by its number.
    #[must_use]
    pub fn file(&self, id: i64) -> Option<&File> {
        self.files.iter().find(|file| file.id == id)
    }

    pub(crate) fn channel(&self, id: i64) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.id == id)
    }

    pub(crate) fn account(&self, id: i64) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}
