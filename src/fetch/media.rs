//! From a link to what can be fetched: the chat, the message, its album, its media.
//!
//! Everything is asked of Telegram's API; no page is read. A chat that forbids saving is refused, as is a message that does.

use crate::center::{As, fetch_error};
use crate::connection::CallError;
use crate::link::{Chat as LinkChat, Link};
use crate::source::{FetchError, Media};
use crate::telegram::Inner;
use grammers_tl_types::{Serializable as _, enums, functions, types};
use std::collections::BTreeMap;

/// An album has at most ten messages, one after another.
const ALBUM: i32 = 10;
/// So many chats are remembered.
const MOST_CHATS: usize = 256;
/// Chats in one answer of the list of dialogs, and how many answers are asked for.
const DIALOGS: i32 = 100;
const MOST_PAGES: u32 = 20;
/// The longest name that file systems take, with room for a number.
const MOST_NAME_BYTES: usize = 200;

/// Chats that were looked up.
#[derive(Default)]
pub(crate) struct Chats {
    names: BTreeMap<String, i64>,
    channels: BTreeMap<i64, Channel>,
}

/// What opens a channel or a group.
#[derive(Clone, Copy)]
struct Channel {
    id: i64,
    access_hash: i64,
    noforwards: bool,
}

impl Channel {
    fn input(self) -> enums::InputChannel {
        enums::InputChannel::Channel(types::InputChannel {
            channel_id: self.id,
            access_hash: self.access_hash,
        })
    }
}

/// The messages of an answer, and the chats that they name.
struct Found {
    messages: Vec<enums::Message>,
    chats: Vec<enums::Chat>,
}

impl Inner {
    /// The media behind a link, in the order of their messages.
    pub(crate) async fn find(&self, link: &Link) -> Result<Vec<Media>, FetchError> {
        let channel = self.channel(&link.chat).await?;
        let (channel, number) = match link.comment {
            None => (channel, link.message),
            Some(comment) => (self.discussion(channel, link.message).await?, comment),
        };
        let wanted: Vec<i32> = if link.single {
            vec![number]
        } else {
            let first = number.saturating_sub(ALBUM - 1).max(1);
            (first..=number.saturating_add(ALBUM - 1)).collect()
        };
        let found = self.messages(channel, &wanted).await?;
        let channel = self.remember(&found.chats, channel.id).unwrap_or(channel);
        let messages: Vec<types::Message> = found
            .messages
            .into_iter()
            .filter_map(|message| match message {
                enums::Message::Message(message) => Some(message),
                enums::Message::Empty(_) | enums::Message::Service(_) => None,
            })
            .collect();
        let meant = messages.iter().find(|message| message.id == number);
        let meant = meant.ok_or_else(|| FetchError::NotFound(format!("there is no message {number}")))?;
        if channel.noforwards || meant.noforwards {
            return Err(FetchError::NoForwards);
        }
        let album = meant.grouped_id.filter(|_| !link.single);
        let mut of_album: Vec<&types::Message> = messages
            .iter()
            .filter(|message| message.id == number || album.is_some() && message.grouped_id == album)
            .collect();
        of_album.sort_by_key(|message| message.id);
        if of_album.iter().any(|message| message.noforwards) {
            return Err(FetchError::NoForwards);
        }
        let media: Vec<Media> = of_album
            .iter()
            .filter_map(|message| media(message, &origin(link, message.id)))
            .collect();
        if media.is_empty() {
            return Err(FetchError::NotFound(format!("message {number} has no media")));
        }
        Ok(media)
    }

    async fn channel(&self, chat: &LinkChat) -> Result<Channel, FetchError> {
        match chat {
            LinkChat::Name(name) => self.named(name).await,
            LinkChat::Channel(id) => self.joined(*id).await,
        }
    }

    /// A public channel or group.
    async fn named(&self, name: &str) -> Result<Channel, FetchError> {
        let known = {
            let chats = self.chats.borrow();
            chats
                .names
                .get(name)
                .and_then(|id| chats.channels.get(id))
                .copied()
        };
        if let Some(channel) = known {
            return Ok(channel);
        }
        let request = functions::contacts::ResolveUsername {
            username: name.to_owned(),
            referer: None,
        };
        let none = || FetchError::NotFound(format!("there is no channel {name}"));
        let enums::contacts::ResolvedPeer::Peer(resolved) = match self.ask(&request.to_bytes()).await {
            Err(FetchError::Refused(words)) if words.starts_with("USERNAME_") => return Err(none()),
            other => other?,
        };
        let enums::Peer::Channel(peer) = resolved.peer else {
            return Err(none());
        };
        let channel = self.remember(&resolved.chats, peer.channel_id).ok_or_else(none)?;
        self.chats.borrow_mut().names.insert(name.to_owned(), channel.id);
        Ok(channel)
    }

    /// A channel that the account has joined. A bot may name it without its hash; others find that in their dialogs.
    async fn joined(&self, id: i64) -> Result<Channel, FetchError> {
        let known = self.chats.borrow().channels.get(&id).copied();
        if let Some(channel) = known {
            return Ok(channel);
        }
        let none = || FetchError::NotFound(format!("this account has not joined channel {id}"));
        if self.contents().account.is_some_and(|account| account.bot) {
            let bare = Channel {
                id,
                access_hash: 0,
                noforwards: false,
            };
            let request = functions::channels::GetChannels {
                id: vec![bare.input()],
            };
            let chats = match self.ask(&request.to_bytes()).await {
                Ok(enums::messages::Chats::Chats(chats)) => chats.chats,
                Ok(enums::messages::Chats::Slice(slice)) => slice.chats,
                Err(FetchError::Refused(words)) if words.starts_with("CHANNEL_") => return Err(none()),
                Err(error) => return Err(error),
            };
            return self.remember(&chats, id).ok_or_else(none);
        }
        let mut page = Page::default();
        for _ in 0..MOST_PAGES {
            let Some(chats) = self.dialogs(&mut page).await? else {
                break;
            };
            if let Some(channel) = self.remember(&chats, id) {
                return Ok(channel);
            }
        }
        Err(none())
    }

    /// The chats of the next page of the account's dialogs.
    async fn dialogs(&self, page: &mut Page) -> Result<Option<Vec<enums::Chat>>, FetchError> {
        if page.is_last {
            return Ok(None);
        }
        let request = functions::messages::GetDialogs {
            exclude_pinned: page.peer.is_some(),
            folder_id: None,
            offset_date: page.date,
            offset_id: page.id,
            offset_peer: page.peer.clone().unwrap_or(enums::InputPeer::Empty),
            limit: DIALOGS,
            hash: 0,
        };
        let (messages, chats) = match self.ask(&request.to_bytes()).await? {
            enums::messages::Dialogs::Dialogs(all) => {
                page.is_last = true;
                (all.messages, all.chats)
            }
            enums::messages::Dialogs::Slice(slice) => (slice.messages, slice.chats),
            enums::messages::Dialogs::NotModified(_) => return Ok(None),
        };
        page.is_last |= !page.turn(&messages, &chats);
        Ok(Some(chats))
    }

    /// Where the comments of a channel's message stand.
    async fn discussion(&self, channel: Channel, message: i32) -> Result<Channel, FetchError> {
        let none = || FetchError::NotFound(format!("message {message} has no comments"));
        let request = functions::messages::GetDiscussionMessage {
            peer: enums::InputPeer::Channel(types::InputPeerChannel {
                channel_id: channel.id,
                access_hash: channel.access_hash,
            }),
            msg_id: message,
        };
        let enums::messages::DiscussionMessage::Message(found) = match self.ask(&request.to_bytes()).await {
            Err(FetchError::Refused(words)) if words == "MSG_ID_INVALID" => return Err(none()),
            other => other?,
        };
        let peers = found.messages.iter().filter_map(|message| match message {
            enums::Message::Message(message) => Some(&message.peer_id),
            _ => None,
        });
        let groups = peers.filter_map(|peer| match peer {
            enums::Peer::Channel(peer) => Some(peer.channel_id),
            _ => None,
        });
        let group = groups.into_iter().next().ok_or_else(none)?;
        // Who forbids saving forbids it for what stands below, too.
        if self
            .remember(&found.chats, channel.id)
            .unwrap_or(channel)
            .noforwards
        {
            return Err(FetchError::NoForwards);
        }
        self.remember(&found.chats, group).ok_or_else(none)
    }

    async fn messages(&self, channel: Channel, numbers: &[i32]) -> Result<Found, FetchError> {
        let request = functions::channels::GetMessages {
            channel: channel.input(),
            id: numbers
                .iter()
                .map(|id| enums::InputMessage::Id(types::InputMessageId { id: *id }))
                .collect(),
        };
        let answer = self
            .center(self.home())
            .call(&request.to_bytes(), As::Account)
            .await;
        let answer = match answer {
            Err(CallError::Rpc(error))
                if matches!(error.message.as_str(), "CHANNEL_INVALID" | "CHANNEL_PRIVATE") =>
            {
                // What was remembered of it may be of no use any more.
                let mut chats = self.chats.borrow_mut();
                chats.channels.remove(&channel.id);
                chats.names.retain(|_, id| *id != channel.id);
                return Err(FetchError::NotFound(
                    "this account may not see that channel".into(),
                ));
            }
            other => other.map_err(fetch_error)?,
        };
        let wrong = |_| FetchError::Protocol("an answer of another kind".into());
        Ok(match answer.decode().map_err(wrong)? {
            enums::messages::Messages::Messages(found) => Found {
                messages: found.messages,
                chats: found.chats,
            },
            enums::messages::Messages::Slice(found) => Found {
                messages: found.messages,
                chats: found.chats,
            },
            enums::messages::Messages::ChannelMessages(found) => Found {
                messages: found.messages,
                chats: found.chats,
            },
            enums::messages::Messages::NotModified(_) => Found {
                messages: Vec::new(),
                chats: Vec::new(),
            },
        })
    }

    /// Remembers these chats; the one with this number, if it is among them.
    fn remember(&self, chats: &[enums::Chat], id: i64) -> Option<Channel> {
        let mut known = self.chats.borrow_mut();
        let mut meant = None;
        for chat in chats {
            let enums::Chat::Channel(channel) = chat else {
                continue;
            };
            // What is only mentioned comes without all its fields.
            let Some(access_hash) = channel.access_hash.filter(|_| !channel.min) else {
                continue;
            };
            let channel = Channel {
                id: channel.id,
                access_hash,
                noforwards: channel.noforwards,
            };
            if channel.id == id {
                meant = Some(channel);
            }
            if known.channels.len() >= MOST_CHATS {
                known.channels.clear();
                known.names.clear();
            }
            known.channels.insert(channel.id, channel);
        }
        meant
    }
}

/// Where the next page of dialogs begins.
#[derive(Default)]
struct Page {
    date: i32,
    id: i32,
    peer: Option<enums::InputPeer>,
    is_last: bool,
}

impl Page {
    /// Goes on behind the last message of a page. Returns whether there is a next page.
    fn turn(&mut self, messages: &[enums::Message], chats: &[enums::Chat]) -> bool {
        let mut last: Option<(i32, i32, &enums::Peer)> = None;
        for message in messages {
            let (date, id, peer) = match message {
                enums::Message::Message(message) => (message.date, message.id, &message.peer_id),
                enums::Message::Service(message) => (message.date, message.id, &message.peer_id),
                enums::Message::Empty(_) => continue,
            };
            if last.is_none_or(|(earliest, ..)| date < earliest) {
                last = Some((date, id, peer));
            }
        }
        let Some((date, id, peer)) = last else {
            return false;
        };
        let peer = match peer {
            enums::Peer::Channel(peer) => chats.iter().find_map(|chat| match chat {
                enums::Chat::Channel(channel) if channel.id == peer.channel_id => {
                    Some(enums::InputPeer::Channel(types::InputPeerChannel {
                        channel_id: channel.id,
                        access_hash: channel.access_hash.unwrap_or_default(),
                    }))
                }
                _ => None,
            }),
            enums::Peer::Chat(peer) => Some(enums::InputPeer::Chat(types::InputPeerChat {
                chat_id: peer.chat_id,
            })),
            enums::Peer::User(_) => None,
        };
        let moved = (date, id) != (self.date, self.id);
        (self.date, self.id) = (date, id);
        self.peer = Some(peer.unwrap_or(enums::InputPeer::Empty));
        moved
    }
}

/// The link of just this message.
fn origin(link: &Link, message: i32) -> Link {
    Link {
        chat: link.chat.clone(),
        message: if link.comment.is_some() {
            link.message
        } else {
            message
        },
        comment: link.comment.map(|_| message),
        single: true,
    }
}

fn media(message: &types::Message, origin: &Link) -> Option<Media> {
    match message.media.as_ref()? {
        enums::MessageMedia::Document(media) => match media.document.as_ref()? {
            enums::Document::Document(document) => of_document(document, origin),
            enums::Document::Empty(_) => None,
        },
        enums::MessageMedia::Photo(media) => match media.photo.as_ref()? {
            enums::Photo::Photo(photo) => of_photo(photo, origin),
            enums::Photo::Empty(_) => None,
        },
        _ => None,
    }
}

fn of_document(document: &types::Document, origin: &Link) -> Option<Media> {
    let said = document.attributes.iter().find_map(|attribute| match attribute {
        enums::DocumentAttribute::Filename(name) => Some(name.file_name.as_str()),
        _ => None,
    });
    let mime = clean_mime(&document.mime_type);
    let name = clean_name(said.unwrap_or_default());
    Some(Media {
        id: document.id,
        dc: document.dc_id,
        access_hash: document.access_hash,
        file_reference: document.file_reference.clone(),
        thumb_size: String::new(),
        size: u64::try_from(document.size).ok()?,
        name: name.unwrap_or_else(|| format!("{}.{}", document.id.cast_unsigned(), extension(&mime))),
        mime,
        origin: origin.clone(),
    })
}

fn of_photo(photo: &types::Photo, origin: &Link) -> Option<Media> {
    let sizes = photo.sizes.iter().filter_map(|size| match size {
        enums::PhotoSize::Size(size) => Some((size.w, size.h, size.size, &size.r#type)),
        enums::PhotoSize::Progressive(size) => {
            let whole = size.sizes.iter().copied().max()?;
            Some((size.w, size.h, whole, &size.r#type))
        }
        _ => None,
    });
    let (.., size, thumb_size) =
        sizes.max_by_key(|(w, h, size, _)| (i64::from(*w) * i64::from(*h), *size))?;
    Some(Media {
        id: photo.id,
        dc: photo.dc_id,
        access_hash: photo.access_hash,
        file_reference: photo.file_reference.clone(),
        thumb_size: thumb_size.clone(),
        size: u64::try_from(size).ok()?,
        name: format!("{}.jpg", photo.id.cast_unsigned()),
        mime: "image/jpeg".into(),
        origin: origin.clone(),
    })
}

/// A file name that names nothing but a file, if this text can be made one.
fn clean_name(said: &str) -> Option<String> {
    let last = said.rsplit(['/', '\\']).next().unwrap_or_default();
    // Marks that turn the direction of text make an end look like another one.
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut name: String = last.chars().filter(|c| !c.is_control() && !turns(*c)).collect();
    name = name.trim().trim_start_matches('.').to_owned();
    if name.len() > MOST_NAME_BYTES {
        let stem_end = name
            .rfind('.')
            .filter(|dot| name.len() - dot <= 16)
            .unwrap_or(name.len());
        let end = name.split_off(stem_end);
        let mut keep = MOST_NAME_BYTES - end.len();
        while !name.is_char_boundary(keep.min(name.len())) {
            keep -= 1;
        }
        name.truncate(keep);
        name.push_str(&end);
    }
    (!name.is_empty()).then_some(name)
}

/// A type as HTTP has it, or the one that says nothing.
fn clean_mime(said: &str) -> String {
    let token = |part: &str| {
        let is_allowed = |c: u8| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c);
        !part.is_empty() && part.len() <= 64 && part.bytes().all(is_allowed)
    };
    match said.split_once('/') {
        Some((kind, subtype)) if token(kind) && token(subtype) => said.to_ascii_lowercase(),
        _ => "application/octet-stream".into(),
    }
}

fn extension(mime: &str) -> &'static str {
    match mime {
        "video/mp4" => "mp4",
        "video/webm" => "webm",
        "video/x-matroska" => "mkv",
        "audio/mpeg" => "mp3",
        "audio/ogg" => "ogg",
        "audio/mp4" => "m4a",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/webp" => "webp",
        "image/gif" => "gif",
        "application/pdf" => "pdf",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_files_only() {
        let cases = [
            ("film.mp4", Some("film.mp4")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\temp\\a.exe", Some("a.exe")),
            ("..", None),
            ("", None),
            (" .hidden ", Some("hidden")),
            ("a\0b\nc.txt", Some("abc.txt")),
            ("photo\u{202e}gpj.exe", Some("photogpj.exe")),
            ("ночь.mkv", Some("ночь.mkv")),
        ];
        for (said, name) in cases {
            assert_eq!(clean_name(said).as_deref(), name, "{said:?}");
        }
        let long = clean_name(&format!("{}.mkv", "я".repeat(400))).unwrap();
        assert!(long.len() <= MOST_NAME_BYTES && long.ends_with("я.mkv"));
        assert!(clean_name(&"x".repeat(4000)).unwrap().len() <= MOST_NAME_BYTES);
    }

    #[test]
    fn types_are_of_http_or_say_nothing() {
        assert_eq!(clean_mime("Video/MP4"), "video/mp4");
        for said in ["", "video", "video/", "a/b/c", "video/mp4\r\nX: y", "video/mp 4"] {
            assert_eq!(clean_mime(said), "application/octet-stream", "{said:?}");
        }
    }

    #[test]
    fn the_largest_size_of_a_photo_is_meant() {
        let size = |name: &str, w, bytes| {
            enums::PhotoSize::Size(types::PhotoSize {
                r#type: name.into(),
                w,
                h: w,
                size: bytes,
            })
        };
        let photo = types::Photo {
            has_stickers: false,
            id: -1,
            access_hash: 2,
            file_reference: vec![3],
            date: 0,
            sizes: vec![
                enums::PhotoSize::Empty(types::PhotoSizeEmpty { r#type: "s".into() }),
                size("m", 320, 9_000),
                enums::PhotoSize::Progressive(types::PhotoSizeProgressive {
                    r#type: "y".into(),
                    w: 1280,
                    h: 1280,
                    sizes: vec![1000, 200_000, 50_000],
                }),
                size("x", 800, 70_000),
            ],
            video_sizes: None,
            dc_id: 4,
        };
        let origin = Link {
            chat: LinkChat::Name("a".into()),
            message: 1,
            comment: None,
            single: true,
        };
        let media = of_photo(&photo, &origin).unwrap();
        assert_eq!((media.thumb_size.as_str(), media.size), ("y", 200_000));
        assert_eq!(media.name, "18446744073709551615.jpg");
        let none = types::Photo {
            sizes: vec![],
            ..photo
        };
        assert!(of_photo(&none, &origin).is_none());
    }
}
