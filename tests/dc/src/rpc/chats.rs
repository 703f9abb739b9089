//! Channels, their messages, their comments.

use super::{Answer, done, refuse, schema};
use crate::state::{From, State};
use crate::world::Channel;
use grammers_tl_types::{enums, functions as f, types};

/// More messages are not asked for at once.
const MOST_MESSAGES: usize = 100;

impl State {
    pub(super) fn users(&mut self, from: &From, request: &f::users::GetUsers) -> Answer {
        let own = self.user(from).and_then(|id| self.world.account(id));
        let asked = |user: &enums::InputUser| matches!(user, enums::InputUser::UserSelf);
        let users: Vec<enums::User> = match own {
            Some(account) if request.id.iter().any(asked) => vec![schema::user(account, true)],
            _ => Vec::new(),
        };
        done(users)
    }

    pub(super) fn resolve(&mut self, request: &f::contacts::ResolveUsername) -> Answer {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if request.username.is_empty() || !request.username.chars().all(is_allowed) {
            return refuse(400, "USERNAME_INVALID");
        }
        let found = self.world.channels.iter().find(|channel| {
            let name = channel.username.as_deref();
            name.is_some_and(|name| name.eq_ignore_ascii_case(&request.username))
        });
        let Some(channel) = found else {
            return refuse(400, "USERNAME_NOT_OCCUPIED");
        };
        done(enums::contacts::ResolvedPeer::Peer(
            types::contacts::ResolvedPeer {
                peer: schema::peer(channel.id),
                chats: vec![schema::chat(channel, !channel.joined)],
                users: Vec::new(),
            },
        ))
    }

    /// The channel that is meant. Bots may leave the hash out.
    fn meant(&self, from: &From, id: i64, hash: i64) -> Result<&Channel, (i32, String)> {
        let bot = self.user(from).and_then(|id| self.world.account(id));
        let is_bot = bot.is_some_and(|account| account.token.is_some());
        let Some(channel) = self.world.channel(id) else {
            return refuse(400, "CHANNEL_INVALID");
        };
        if hash != channel.access_hash && !(is_bot && hash == 0 && channel.joined) {
            return refuse(400, "CHANNEL_INVALID");
        }
        if channel.username.is_none() && !channel.joined {
            return refuse(400, "CHANNEL_PRIVATE");
        }
        Ok(channel)
    }

    fn at_home(&self, from: &From) -> Result<(), (i32, String)> {
        let home = self
            .user(from)
            .and_then(|id| self.world.account(id))
            .map(|account| account.home);
        match home {
            Some(home) if home != from.dc => refuse(303, format!("USER_MIGRATE_{home}")),
            _ => Ok(()),
        }
    }

    pub(super) fn messages(&mut self, from: &From, request: &f::channels::GetMessages) -> Answer {
        self.at_home(from)?;
        let enums::InputChannel::Channel(asked) = &request.channel else {
            return refuse(400, "CHANNEL_INVALID");
        };
        if request.id.is_empty() {
            return refuse(400, "MESSAGE_IDS_EMPTY");
        }
        if request.id.len() > MOST_MESSAGES {
            return refuse(400, "MESSAGE_ID_INVALID");
        }
        let channel = self.meant(from, asked.channel_id, asked.access_hash)?;
        let ids = request.id.iter().filter_map(|id| match id {
            enums::InputMessage::Id(id) => Some(id.id),
            _ => None,
        });
        done(self.listed(channel, ids))
    }

    fn listed(&self, channel: &Channel, ids: impl Iterator<Item = i32>) -> enums::messages::Messages {
        let messages: Vec<enums::Message> = ids.map(|id| self.one(channel, id)).collect();
        types::messages::ChannelMessages {
            inexact: false,
            pts: 1,
            count: messages.len() as i32,
            offset_id_offset: None,
            messages,
            topics: Vec::new(),
            chats: vec![schema::chat(channel, !channel.joined)],
            users: Vec::new(),
        }
        .into()
    }

    fn one(&self, channel: &Channel, id: i32) -> enums::Message {
        let Some(message) = channel.messages.get(&id) else {
            return schema::no_message(channel.id, id);
        };
        let file = message.file.and_then(|id| self.world.file(id));
        let media = file.map(|file| schema::media(file, self.generation));
        schema::message(channel, id, message, media)
    }

    pub(super) fn channels(&mut self, from: &From, request: &f::channels::GetChannels) -> Answer {
        self.at_home(from)?;
        let mut chats = Vec::new();
        for asked in &request.id {
            let enums::InputChannel::Channel(asked) = asked else {
                return refuse(400, "CHANNEL_INVALID");
            };
            let channel = self.meant(from, asked.channel_id, asked.access_hash)?;
            chats.push(schema::chat(channel, !channel.joined));
        }
        done(enums::messages::Chats::Chats(types::messages::Chats { chats }))
    }

    pub(super) fn dialogs(&mut self, from: &From) -> Answer {
        self.at_home(from)?;
        let own = self.user(from).and_then(|id| self.world.account(id));
        if own.is_some_and(|account| account.token.is_some()) {
            return refuse(400, "BOT_METHOD_INVALID");
        }
        let joined: Vec<&Channel> = self
            .world
            .channels
            .iter()
            .filter(|channel| channel.joined)
            .collect();
        let top = |channel: &Channel| channel.messages.last_key_value().map_or(0, |(id, _)| *id);
        let dialog = |channel: &&Channel| {
            types::Dialog {
                pinned: false,
                unread_mark: false,
                view_forum_as_messages: false,
                peer: schema::peer(channel.id),
                top_message: top(channel),
                read_inbox_max_id: 0,
                read_outbox_max_id: 0,
                unread_count: 0,
                unread_mentions_count: 0,
                unread_reactions_count: 0,
                unread_poll_votes_count: 0,
                notify_settings: quiet(),
                pts: Some(1),
                draft: None,
                folder_id: None,
                ttl_period: None,
            }
            .into()
        };
        done(enums::messages::Dialogs::Dialogs(types::messages::Dialogs {
            dialogs: joined.iter().map(dialog).collect(),
            messages: joined
                .iter()
                .map(|channel| self.one(channel, top(channel)))
                .collect(),
            chats: joined
                .iter()
                .map(|channel| schema::chat(channel, false))
                .collect(),
            users: Vec::new(),
        }))
    }

    fn meant_peer(&self, from: &From, peer: &enums::InputPeer) -> Result<&Channel, (i32, String)> {
        match peer {
            enums::InputPeer::Channel(peer) => self.meant(from, peer.channel_id, peer.access_hash),
            _ => refuse(400, "PEER_ID_INVALID"),
        }
    }

    /// The group and the message there with which a post's comments begin.
    fn comments(
        &self,
        from: &From,
        peer: &enums::InputPeer,
        post: i32,
    ) -> Result<(&Channel, &Channel, i32), (i32, String)> {
        let channel = self.meant_peer(from, peer)?;
        let comments = channel.messages.get(&post).and_then(|message| message.comments);
        let Some((group, top)) = comments else {
            return refuse(400, "MSG_ID_INVALID");
        };
        match self.world.channel(group) {
            Some(group) => Ok((channel, group, top)),
            None => refuse(400, "MSG_ID_INVALID"),
        }
    }

    pub(super) fn discussion(&mut self, from: &From, request: &f::messages::GetDiscussionMessage) -> Answer {
        self.at_home(from)?;
        let (channel, group, top) = self.comments(from, &request.peer, request.msg_id)?;
        done(enums::messages::DiscussionMessage::Message(
            types::messages::DiscussionMessage {
                messages: vec![self.one(group, top)],
                max_id: group.messages.last_key_value().map(|(id, _)| *id),
                read_inbox_max_id: None,
                read_outbox_max_id: None,
                unread_count: 0,
                chats: [group, channel]
                    .map(|channel| schema::chat(channel, !channel.joined))
                    .to_vec(),
                users: Vec::new(),
            },
        ))
    }

    pub(super) fn replies(&mut self, from: &From, request: &f::messages::GetReplies) -> Answer {
        self.at_home(from)?;
        let (_, group, top) = self.comments(from, &request.peer, request.msg_id)?;
        let thread = group.messages.iter().rev().filter(|(id, message)| {
            message.thread == Some(top)
                && (request.offset_id == 0 || **id < request.offset_id)
                && (request.max_id == 0 || **id < request.max_id)
                && **id > request.min_id
        });
        let limit = request.limit.clamp(1, MOST_MESSAGES as i32) as usize;
        let ids: Vec<i32> = thread.map(|(id, _)| *id).take(limit).collect();
        done(self.listed(group, ids.into_iter()))
    }
}

fn quiet() -> enums::PeerNotifySettings {
    types::PeerNotifySettings {
        show_previews: None,
        silent: None,
        mute_until: None,
        ios_sound: None,
        android_sound: None,
        other_sound: None,
        stories_muted: None,
        stories_hide_sender: None,
        stories_ios_sound: None,
        stories_android_sound: None,
        stories_other_sound: None,
    }
    .into()
}
