//! Looks up the chats that links name: public channels, joined channels, discussion groups.

use crate::dc::DataCenters;
use crate::source::FetchError;
use grammers_tl_types::{Serializable as _, enums, functions, types};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Upper bound of remembered chats, some 100 bytes each.
const MAX_CHATS: usize = 256;
/// Chats per page of the dialog list.
const DIALOGS_PER_PAGE: i32 = 100;
/// Pages of the dialog list that are searched.
const MAX_DIALOG_PAGES: u32 = 20;

/// A channel or a group as the API addresses it.
#[derive(Clone, Copy)]
pub(crate) struct KnownChannel {
    pub(crate) id: i64,
    access_hash: i64,
    /// The channel forbids saving its content.
    pub(crate) noforwards: bool,
}

impl KnownChannel {
    pub(crate) fn input(self) -> enums::InputChannel {
        enums::InputChannel::Channel(types::InputChannel {
            channel_id: self.id,
            access_hash: self.access_hash,
        })
    }
}

/// Looks up chats, and remembers them.
pub(crate) struct Chats {
    dcs: Rc<DataCenters>,
    known: RefCell<Known>,
}

#[derive(Default)]
struct Known {
    names: BTreeMap<String, i64>,
    channels: BTreeMap<i64, KnownChannel>,
}

impl Chats {
    pub(crate) fn new(dcs: Rc<DataCenters>) -> Chats {
        Chats {
            dcs,
            known: RefCell::default(),
        }
    }

    /// The public channel or group of this name.
    pub(crate) async fn by_name(&self, name: &str) -> Result<KnownChannel, FetchError> {
        let known = {
            let known = self.known.borrow();
            known
                .names
                .get(name)
                .and_then(|id| known.channels.get(id))
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
        let enums::contacts::ResolvedPeer::Peer(resolved) = match self.dcs.ask_home(&request.to_bytes()).await
        {
            Err(FetchError::Refused(words)) if words.starts_with("USERNAME_") => return Err(none()),
            other => other?,
        };
        let enums::Peer::Channel(peer) = resolved.peer else {
            return Err(none());
        };
        let channel = self.remember(&resolved.chats, peer.channel_id).ok_or_else(none)?;
        self.known.borrow_mut().names.insert(name.to_owned(), channel.id);
        Ok(channel)
    }

    /// A channel that the account has joined. A bot may address it without its access hash; a person's account finds the hash in
    /// the dialog list.
    pub(crate) async fn joined(&self, id: i64) -> Result<KnownChannel, FetchError> {
        let known = self.known.borrow().channels.get(&id).copied();
        if let Some(channel) = known {
            return Ok(channel);
        }
        let none = || FetchError::NotFound(format!("this account has not joined channel {id}"));
        if self.dcs.keyring().account().is_some_and(|account| account.bot) {
            let bare = KnownChannel {
                id,
                access_hash: 0,
                noforwards: false,
            };
            let request = functions::channels::GetChannels {
                id: vec![bare.input()],
            };
            let chats = match self.dcs.ask_home(&request.to_bytes()).await {
                Ok(enums::messages::Chats::Chats(chats)) => chats.chats,
                Ok(enums::messages::Chats::Slice(slice)) => slice.chats,
                Err(FetchError::Refused(words)) if words.starts_with("CHANNEL_") => return Err(none()),
                Err(error) => return Err(error),
            };
            return self.remember(&chats, id).ok_or_else(none);
        }
        let mut cursor = DialogCursor::default();
        for _ in 0..MAX_DIALOG_PAGES {
            let Some(chats) = self.next_dialogs(&mut cursor).await? else {
                break;
            };
            if let Some(channel) = self.remember(&chats, id) {
                return Ok(channel);
            }
        }
        Err(none())
    }

    /// The group with the comments on a channel's message.
    pub(crate) async fn discussion(
        &self,
        channel: KnownChannel,
        message: i32,
    ) -> Result<KnownChannel, FetchError> {
        let none = || FetchError::NotFound(format!("message {message} has no comments"));
        let request = functions::messages::GetDiscussionMessage {
            peer: enums::InputPeer::Channel(types::InputPeerChannel {
                channel_id: channel.id,
                access_hash: channel.access_hash,
            }),
            msg_id: message,
        };
        let enums::messages::DiscussionMessage::Message(found) =
            match self.dcs.ask_home(&request.to_bytes()).await {
                Err(FetchError::Refused(words)) if words == "MSG_ID_INVALID" => return Err(none()),
                other => other?,
            };
        let mut groups = found.messages.iter().filter_map(|message| match message {
            enums::Message::Message(message) => match &message.peer_id {
                enums::Peer::Channel(peer) => Some(peer.channel_id),
                _ => None,
            },
            _ => None,
        });
        let group = groups.next().ok_or_else(none)?;
        // A channel that forbids saving forbids it for its comments, too.
        let channel = self.remember(&found.chats, channel.id).unwrap_or(channel);
        if channel.noforwards {
            return Err(FetchError::NoForwards);
        }
        self.remember(&found.chats, group).ok_or_else(none)
    }

    /// Remembers these chats. Returns the one with this id, if it is among them.
    pub(crate) fn remember(&self, chats: &[enums::Chat], id: i64) -> Option<KnownChannel> {
        let mut known = self.known.borrow_mut();
        let mut wanted = None;
        for chat in chats {
            let enums::Chat::Channel(channel) = chat else {
                continue;
            };
            // A `min` channel comes without its usual access hash.
            let Some(access_hash) = channel.access_hash.filter(|_| !channel.min) else {
                continue;
            };
            let channel = KnownChannel {
                id: channel.id,
                access_hash,
                noforwards: channel.noforwards,
            };
            if channel.id == id {
                wanted = Some(channel);
            }
            if known.channels.len() >= MAX_CHATS {
                known.channels.clear();
                known.names.clear();
            }
            known.channels.insert(channel.id, channel);
        }
        wanted
    }

    /// Forgets a channel whose access hash the server no longer takes.
    pub(crate) fn forget(&self, channel: KnownChannel) {
        let mut known = self.known.borrow_mut();
        known.channels.remove(&channel.id);
        known.names.retain(|_, id| *id != channel.id);
    }

    /// Forgets all chats.
    pub(crate) fn clear(&self) {
        self.known.take();
    }

    /// The chats of the next page of the account's dialog list, or `None` after the last page.
    async fn next_dialogs(&self, cursor: &mut DialogCursor) -> Result<Option<Vec<enums::Chat>>, FetchError> {
        if cursor.at_end {
            return Ok(None);
        }
        let request = functions::messages::GetDialogs {
            exclude_pinned: cursor.peer.is_some(),
            folder_id: None,
            offset_date: cursor.date,
            offset_id: cursor.id,
            offset_peer: cursor.peer.clone().unwrap_or(enums::InputPeer::Empty),
            limit: DIALOGS_PER_PAGE,
            hash: 0,
        };
        let (messages, chats) = match self.dcs.ask_home(&request.to_bytes()).await? {
            enums::messages::Dialogs::Dialogs(all) => {
                cursor.at_end = true;
                (all.messages, all.chats)
            }
            enums::messages::Dialogs::Slice(slice) => (slice.messages, slice.chats),
            enums::messages::Dialogs::NotModified(_) => return Ok(None),
        };
        cursor.at_end |= !cursor.advance(&messages, &chats);
        Ok(Some(chats))
    }
}

/// The position in the dialog list where the next page begins.
#[derive(Default)]
struct DialogCursor {
    date: i32,
    id: i32,
    peer: Option<enums::InputPeer>,
    at_end: bool,
}

impl DialogCursor {
    /// Moves behind the earliest message of a page. Returns whether the position has changed.
    fn advance(&mut self, messages: &[enums::Message], chats: &[enums::Chat]) -> bool {
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
