//! From a link to media: the chat, the message, its album, its files.
//!
//! Everything comes from Telegram's API; no web page is read. A chat or a message that forbids saving is refused.

use crate::call_error::CallError;
use crate::chats::{Chats, KnownChannel};
use crate::dc::DataCenters;
use crate::link::{Chat, Link};
use crate::media_name::{clean_mime, clean_name, extension};
use crate::source::{FetchError, Media};
use grammers_tl_types::{Serializable as _, enums, functions, types};
use std::rc::Rc;

/// Messages of the largest album. Their numbers are consecutive.
const MAX_ALBUM: i32 = 10;

/// Finds the media behind links.
pub(crate) struct MediaFinder {
    dcs: Rc<DataCenters>,
    chats: Chats,
}

/// The messages of an answer, and the chats that they name.
struct FoundMessages {
    messages: Vec<enums::Message>,
    chats: Vec<enums::Chat>,
}

impl MediaFinder {
    pub(crate) fn new(dcs: Rc<DataCenters>) -> MediaFinder {
        let chats = Chats::new(dcs.clone());
        MediaFinder { dcs, chats }
    }

    /// Forgets the chats of the account.
    pub(crate) fn clear(&self) {
        self.chats.clear();
    }

    /// The media behind a link, in the order of their messages.
    pub(crate) async fn find(&self, link: &Link) -> Result<Vec<Media>, FetchError> {
        let channel = match &link.chat {
            Chat::Name(name) => self.chats.by_name(name).await?,
            Chat::Channel(id) => self.chats.joined(*id).await?,
        };
        let (channel, number) = match link.comment {
            None => (channel, link.message),
            Some(comment) => (self.chats.discussion(channel, link.message).await?, comment),
        };
        let wanted: Vec<i32> = if link.single {
            vec![number]
        } else {
            let first = number.saturating_sub(MAX_ALBUM - 1).max(1);
            (first..=number.saturating_add(MAX_ALBUM - 1)).collect()
        };
        let found = self.messages(channel, &wanted).await?;
        let channel = self.chats.remember(&found.chats, channel.id).unwrap_or(channel);
        let messages: Vec<types::Message> = found
            .messages
            .into_iter()
            .filter_map(|message| match message {
                enums::Message::Message(message) => Some(message),
                enums::Message::Empty(_) | enums::Message::Service(_) => None,
            })
            .collect();
        let linked = messages.iter().find(|message| message.id == number);
        let linked = linked.ok_or_else(|| FetchError::NotFound(format!("there is no message {number}")))?;
        if channel.noforwards || linked.noforwards {
            return Err(FetchError::NoForwards);
        }
        let album = linked.grouped_id.filter(|_| !link.single);
        let mut chosen: Vec<&types::Message> = messages
            .iter()
            .filter(|message| message.id == number || album.is_some() && message.grouped_id == album)
            .collect();
        chosen.sort_by_key(|message| message.id);
        if chosen.iter().any(|message| message.noforwards) {
            return Err(FetchError::NoForwards);
        }
        let media: Vec<Media> = chosen
            .iter()
            .filter_map(|message| message_media(message, &origin(link, message.id)))
            .collect();
        if media.is_empty() {
            return Err(FetchError::NotFound(format!("message {number} has no media")));
        }
        Ok(media)
    }

    async fn messages(&self, channel: KnownChannel, numbers: &[i32]) -> Result<FoundMessages, FetchError> {
        let request = functions::channels::GetMessages {
            channel: channel.input(),
            id: numbers
                .iter()
                .map(|id| enums::InputMessage::Id(types::InputMessageId { id: *id }))
                .collect(),
        };
        let answer = match self.dcs.call_home(&request.to_bytes()).await {
            Err(CallError::Rpc(error))
                if matches!(error.message.as_str(), "CHANNEL_INVALID" | "CHANNEL_PRIVATE") =>
            {
                self.chats.forget(channel);
                return Err(FetchError::NotFound(
                    "this account may not see that channel".into(),
                ));
            }
            other => other?,
        };
        let wrong = |_| FetchError::Protocol("the answer has another type".into());
        let (messages, chats) = match answer.decode().map_err(wrong)? {
            enums::messages::Messages::Messages(found) => (found.messages, found.chats),
            enums::messages::Messages::Slice(found) => (found.messages, found.chats),
            enums::messages::Messages::ChannelMessages(found) => (found.messages, found.chats),
            enums::messages::Messages::NotModified(_) => (Vec::new(), Vec::new()),
        };
        Ok(FoundMessages { messages, chats })
    }
}

/// The link of one message of an album.
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

/// The file that a message carries.
fn message_media(message: &types::Message, origin: &Link) -> Option<Media> {
    match message.media.as_ref()? {
        enums::MessageMedia::Document(media) => match media.document.as_ref()? {
            enums::Document::Document(document) => document_media(document, origin),
            enums::Document::Empty(_) => None,
        },
        enums::MessageMedia::Photo(media) => match media.photo.as_ref()? {
            enums::Photo::Photo(photo) => photo_media(photo, origin),
            enums::Photo::Empty(_) => None,
        },
        _ => None,
    }
}

fn document_media(document: &types::Document, origin: &Link) -> Option<Media> {
    let stated_name = document.attributes.iter().find_map(|attribute| match attribute {
        enums::DocumentAttribute::Filename(name) => Some(name.file_name.as_str()),
        _ => None,
    });
    let mime = clean_mime(&document.mime_type);
    let name = clean_name(stated_name.unwrap_or_default());
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

fn photo_media(photo: &types::Photo, origin: &Link) -> Option<Media> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
            chat: Chat::Name("a".into()),
            message: 1,
            comment: None,
            single: true,
        };
        let media = photo_media(&photo, &origin).unwrap();
        assert_eq!((media.thumb_size.as_str(), media.size), ("y", 200_000));
        assert_eq!(media.name, "18446744073709551615.jpg");
        let none = types::Photo {
            sizes: vec![],
            ..photo
        };
        assert!(photo_media(&none, &origin).is_none());
    }
}
