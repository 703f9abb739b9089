//! The world in the words of Telegram's schema.
//!
//! Users, channels and messages have some forty fields that are nearly always absent. So they are read from their shortest
//! bytes, and the few that matter set after that.

use crate::world::{Account, Channel, File, Kind, Message};
use grammers_tl_types::{Deserializable, Serializable as _, enums, types};

/// When everything in this world happened.
const DATE: i32 = 1_700_000_000;

/// The value that these bytes are.
fn shortest<T: Deserializable>(parts: &[&[u8]]) -> T {
    T::from_bytes(&parts.concat()).expect("bytes as the schema says")
}

pub(super) fn user(account: &Account, is_self: bool) -> enums::User {
    let mut user: types::User = shortest(&[&[0; 8], &account.id.to_le_bytes()]);
    user.is_self = is_self;
    user.access_hash = Some(!account.id);
    user.first_name = Some("Somebody".into());
    user.phone.clone_from(&account.phone);
    if account.token.is_some() {
        user.bot = true;
        user.bot_info_version = Some(1);
        user.username = Some(format!("bot{}_bot", account.id));
    }
    user.into()
}

pub(super) fn chat(channel: &Channel, has_left: bool) -> enums::Chat {
    let photo = enums::ChatPhoto::Empty.to_bytes();
    let mut chat: types::Channel = shortest(&[
        &[0; 8],
        &channel.id.to_le_bytes(),
        &channel.title.to_bytes(),
        &photo,
        &DATE.to_le_bytes(),
    ]);
    chat.left = has_left;
    chat.broadcast = !channel.group;
    chat.megagroup = channel.group;
    chat.noforwards = channel.noforwards;
    chat.access_hash = Some(channel.access_hash);
    chat.username.clone_from(&channel.username);
    chat.into()
}

pub(super) fn peer(channel: i64) -> enums::Peer {
    types::PeerChannel { channel_id: channel }.into()
}

pub(super) fn message(
    channel: &Channel,
    id: i32,
    message: &Message,
    media: Option<enums::MessageMedia>,
) -> enums::Message {
    let mut out: types::Message = shortest(&[
        &[0; 8],
        &id.to_le_bytes(),
        &peer(channel.id).to_bytes(),
        &DATE.to_le_bytes(),
        &message.text.to_bytes(),
    ]);
    out.post = !channel.group;
    out.noforwards = message.noforwards;
    out.media = media;
    out.grouped_id = message.album;
    out.replies = message.comments.map(|(group, _)| {
        types::MessageReplies {
            comments: true,
            replies: 1,
            replies_pts: 1,
            recent_repliers: None,
            channel_id: Some(group),
            max_id: None,
            read_max_id: None,
        }
        .into()
    });
    out.reply_to = message.thread.map(reply_to);
    out.into()
}

fn reply_to(top: i32) -> enums::MessageReplyHeader {
    types::MessageReplyHeader {
        reply_to_scheduled: false,
        forum_topic: false,
        quote: false,
        reply_to_ephemeral: false,
        reply_to_msg_id: Some(top),
        reply_to_peer_id: None,
        reply_from: None,
        reply_media: None,
        reply_to_top_id: None,
        quote_text: None,
        quote_entities: None,
        quote_offset: None,
        todo_item_id: None,
        poll_option: None,
    }
    .into()
}

pub(super) fn no_message(channel: i64, id: i32) -> enums::Message {
    types::MessageEmpty {
        id,
        peer_id: Some(peer(channel)),
    }
    .into()
}

/// A file's reference of a generation.
pub(super) fn reference(file: i64, generation: u32) -> Vec<u8> {
    [&generation.to_le_bytes()[..], &file.to_le_bytes(), b"reference"].concat()
}

pub(super) fn media(file: &File, generation: u32) -> enums::MessageMedia {
    match file.kind {
        Kind::Photo => types::MessageMediaPhoto {
            spoiler: false,
            live_photo: false,
            photo: Some(photo(file, generation)),
            ttl_seconds: None,
            video: None,
        }
        .into(),
        Kind::Document | Kind::Video => types::MessageMediaDocument {
            nopremium: false,
            spoiler: false,
            video: file.kind == Kind::Video,
            round: false,
            voice: false,
            document: Some(document(file, generation)),
            alt_documents: None,
            video_cover: None,
            video_timestamp: None,
            ttl_seconds: None,
        }
        .into(),
    }
}

fn photo(file: &File, generation: u32) -> enums::Photo {
    let size = file.size as i32;
    types::Photo {
        has_stickers: false,
        id: file.id,
        access_hash: file.access_hash,
        file_reference: reference(file.id, generation),
        date: DATE,
        sizes: vec![
            types::PhotoStrippedSize {
                r#type: "i".into(),
                bytes: vec![1, 40, 40],
            }
            .into(),
            types::PhotoSize {
                r#type: "m".into(),
                w: 320,
                h: 320,
                size: size / 4,
            }
            .into(),
            types::PhotoSizeProgressive {
                r#type: "y".into(),
                w: 1280,
                h: 1280,
                sizes: vec![size / 3, size / 2, size],
            }
            .into(),
        ],
        video_sizes: None,
        dc_id: file.said_dc,
    }
    .into()
}

fn document(file: &File, generation: u32) -> enums::Document {
    let mut attributes = Vec::new();
    if file.kind == Kind::Video {
        let video = types::DocumentAttributeVideo {
            round_message: false,
            supports_streaming: true,
            nosound: false,
            duration: 60.0,
            w: 1280,
            h: 720,
            preload_prefix_size: None,
            video_start_ts: None,
            video_codec: None,
        };
        attributes.push(video.into());
    }
    if !file.name.is_empty() {
        let file_name = file.name.clone();
        attributes.push(types::DocumentAttributeFilename { file_name }.into());
    }
    types::Document {
        id: file.id,
        access_hash: file.access_hash,
        file_reference: reference(file.id, generation),
        date: DATE,
        mime_type: file.mime.clone(),
        size: file.size as i64,
        thumbs: None,
        video_thumbs: None,
        dc_id: file.said_dc,
        attributes,
    }
    .into()
}
