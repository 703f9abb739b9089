//! A session over one connection: requests become encrypted packets, packets become answers.
//!
//! Read <https://core.telegram.org/mtproto/description> and <https://core.telegram.org/mtproto/service_messages> first. No
//! sockets; time is an argument. The session layer of the grammers crates is not used: it panics at a foreign session id, at
//! some lengths and some messages, checks neither salt nor message ids, follows nested containers without a limit, reads the
//! clock itself, and copies each part of a file four times.
//!
//! Each packet carries one message, so that no container has to be remembered. Promises: any input gives events or an error; a
//! message is handled once; a request is sent again only if the server refused its message id or its salt, up to
//! `MAX_SENDINGS` times.

mod error;
mod message;
mod seen;
mod server_clock;

pub use error::{RpcError, SessionError};

use crate::answer::Answer;
use crate::salts::Salts;
use grammers_crypto::{AuthKey, DequeBuffer, decrypt_data_v2, encrypt_data_v2};
use grammers_tl_types::{
    Cursor, Deserializable as _, Identifiable as _, Serializable as _, functions, types,
};
use message::{Message, field, id, long, message_at, object, unpack, word};
use seen::{SEEN, SeenMessages};
use server_clock::ServerClock;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

/// Upper bound of sendings of one request. One more ends the session.
const MAX_SENDINGS: u8 = 5;
/// Seconds that a message may be old.
const MAX_AGE_SECS: i64 = 300;
/// Seconds that a message may be ahead of the clock.
const MAX_FUTURE_SECS: i64 = 30;
/// Upper bound of messages in a container, as the protocol states it.
const MAX_CONTAINED: u32 = 1020;
/// Salts of one `get_future_salts`. Each is valid for about half an hour.
const FUTURE_SALTS: i32 = 32;

/// What a packet contains.
#[derive(Debug)]
pub enum Event {
    /// The result of the request with this token.
    Answer(u32, Answer),
    /// The request with this token failed.
    Refused(u32, RpcError),
    /// The salts have changed.
    Salts,
}

/// A session.
pub struct Session {
    key: AuthKey,
    id: i64,
    salts: Salts,
    clock: ServerClock,
    /// How many of our messages required an acknowledgement.
    sequence: i32,
    last_msg_id: i64,
    sent: Vec<Sent>,
    /// Requests to send again, in the order in which they were sent.
    again: VecDeque<Sent>,
    /// Messages to acknowledge.
    acks: Vec<i64>,
    /// Messages that the server has announced and that have not arrived.
    missed: Vec<i64>,
    seen: SeenMessages,
    salts_requested: bool,
}

/// A request without an answer.
struct Sent {
    /// `None` for a request of the session itself, and for a withdrawn one.
    token: Option<u32>,
    msg_id: i64,
    body: Vec<u8>,
    sendings: u8,
}

impl Session {
    /// A session with a fresh random `id`. `unix` is the estimate of the server's clock, in Unix seconds.
    #[must_use]
    pub fn new(auth_key: [u8; 256], salts: Salts, id: i64, unix: u32, now: Instant) -> Session {
        Session {
            key: AuthKey::from_bytes(auth_key),
            id,
            salts,
            clock: ServerClock::estimated(unix, now),
            sequence: 0,
            last_msg_id: 0,
            sent: Vec::new(),
            again: VecDeque::new(),
            acks: Vec::new(),
            missed: Vec::new(),
            seen: SeenMessages::default(),
            salts_requested: false,
        }
    }

    /// The known salts, for the next session.
    #[must_use]
    pub fn salts(&self) -> &Salts {
        &self.salts
    }

    /// The packet of a request. The event of its answer carries `token`.
    pub fn push(&mut self, token: u32, body: Vec<u8>, now: Instant) -> Vec<u8> {
        self.send(
            Sent {
                token: Some(token),
                msg_id: 0,
                body,
                sendings: 0,
            },
            now,
        )
    }

    /// Withdraws a request: its answer will be ignored.
    pub fn forget(&mut self, token: u32) {
        self.again.retain(|sent| sent.token != Some(token));
        for sent in self.sent.iter_mut().filter(|sent| sent.token == Some(token)) {
            sent.token = None;
            sent.body = Vec::new();
        }
    }

    /// The packet of a ping. The server closes the connection if no further one arrives within `delay_secs`.
    pub fn ping(&mut self, delay_secs: i32, now: Instant) -> Vec<u8> {
        let msg_id = self.next_msg_id(now);
        let ping = functions::PingDelayDisconnect {
            ping_id: msg_id,
            disconnect_delay: delay_secs,
        };
        self.packet(msg_id, true, &ping.to_bytes(), now)
    }

    /// The packet of a request to send again. A flood wait holds it back like any request.
    pub fn poll_again(&mut self, now: Instant) -> Option<Vec<u8>> {
        let sent = self.again.pop_front()?;
        Some(self.send(sent, now))
    }

    /// The packet of a service message: acknowledgements, requests for lost messages and for salts.
    pub fn poll_service(&mut self, now: Instant) -> Option<Vec<u8>> {
        if !self.acks.is_empty() {
            let msg_ids = std::mem::take(&mut self.acks);
            let acks = types::MsgsAck { msg_ids };
            let mut body = types::MsgsAck::CONSTRUCTOR_ID.to_bytes();
            acks.serialize(&mut body);
            let msg_id = self.next_msg_id(now);
            return Some(self.packet(msg_id, false, &body, now));
        }
        if !self.missed.is_empty() {
            let msg_ids = std::mem::take(&mut self.missed);
            let mut body = types::MsgResendReq::CONSTRUCTOR_ID.to_bytes();
            types::MsgResendReq { msg_ids }.serialize(&mut body);
            let msg_id = self.next_msg_id(now);
            return Some(self.packet(msg_id, true, &body, now));
        }
        // Only after the first message of the server: before it, a wrong salt or clock would lose the request.
        let server_time = self.clock.read(now);
        if self.clock.is_set() && !self.salts_requested && !self.salts.suffice(server_time) {
            self.salts_requested = true;
            let body = functions::GetFutureSalts { num: FUTURE_SALTS }.to_bytes();
            let sent = Sent {
                token: None,
                msg_id: 0,
                body,
                sendings: 0,
            };
            return Some(self.send(sent, now));
        }
        None
    }

    /// Handles a packet. Padding that a transport has added at its end is ignored.
    ///
    /// # Errors
    /// The session has ended.
    pub fn handle_packet(&mut self, mut packet: Vec<u8>, now: Instant) -> Result<Vec<Event>, SessionError> {
        let encrypted = packet.len().saturating_sub(field::ENVELOPE);
        packet.truncate(field::ENVELOPE + encrypted / 16 * 16);
        if packet.len() < field::BODY {
            return Err(SessionError::Malformed);
        }
        decrypt_data_v2(&mut packet, &self.key).map_err(|_| SessionError::Decryption)?;
        if long(&packet, field::SESSION)? != self.id {
            return Err(SessionError::Foreign);
        }
        let salt = long(&packet, field::SALT)?;
        let message = message_at(&packet, field::MESSAGE, packet.len())?;
        let padding = packet.len() - message.body.end;
        if !field::PADDING.contains(&padding) {
            return Err(SessionError::Malformed);
        }
        self.check_time(message.msg_id, now)?;
        let mut events = Vec::new();
        let msg_id = message.msg_id;
        let large = self.handle_message(&packet, &message, &mut events, now, Depth::Outer)?;
        if !self.salts.know(salt) {
            // Checked last: the packet itself may have announced its salt.
            return Err(SessionError::Salt);
        }
        if let Some((token, range)) = large {
            events.push(Event::Answer(token, Answer::new(packet, range)));
        }
        log::trace!("session: message {msg_id:x}, {} events", events.len());
        Ok(events)
    }

    /// Handles a message. An uncompressed result outside of a container is returned as its place, so that it needs no copy.
    fn handle_message(
        &mut self,
        bytes: &[u8],
        message: &Message,
        events: &mut Vec<Event>,
        now: Instant,
        depth: Depth,
    ) -> Result<Option<(u32, Range<usize>)>, SessionError> {
        if message.msg_id & 1 == 0 || message.msg_id <= 0 {
            return Err(SessionError::MessageId);
        }
        if message.sequence & 1 == 1 {
            self.acks.push(message.msg_id);
        }
        if !self.seen.insert(message.msg_id) {
            return Ok(None);
        }
        self.handle_body(bytes, message, events, now, depth)
    }

    fn handle_body(
        &mut self,
        bytes: &[u8],
        message: &Message,
        events: &mut Vec<Event>,
        now: Instant,
        depth: Depth,
    ) -> Result<Option<(u32, Range<usize>)>, SessionError> {
        let body = bytes.get(message.body.clone()).ok_or(SessionError::Malformed)?;
        match word(body, 0)? {
            id::RPC_RESULT => {
                let token = self.take_sent(long(body, 4)?);
                let Some(token) = token else { return Ok(None) };
                let result = body.get(12..).unwrap_or_default();
                match word(result, 0)? {
                    types::RpcError::CONSTRUCTOR_ID => {
                        let mut cursor = Cursor::from_slice(result.get(4..).unwrap_or_default());
                        let error = types::RpcError::deserialize(&mut cursor);
                        let error = error.map_err(|_| SessionError::Malformed)?;
                        let error = RpcError {
                            code: error.error_code,
                            message: error.error_message,
                        };
                        events.push(Event::Refused(token, error));
                    }
                    id::GZIP_PACKED => events.push(Event::Answer(token, Answer::whole(unpack(result)?))),
                    _ if depth == Depth::Outer => {
                        return Ok(Some((token, message.body.start + 12..message.body.end)));
                    }
                    _ => events.push(Event::Answer(token, Answer::whole(result.to_vec()))),
                }
            }
            id::CONTAINER if depth == Depth::Outer => {
                let count = word(body, 4)?;
                if count > MAX_CONTAINED {
                    return Err(SessionError::Malformed);
                }
                let mut at = message.body.start + 8;
                for _ in 0..count {
                    let inner = message_at(bytes, at, message.body.end)?;
                    at = inner.body.end;
                    let large = self.handle_message(bytes, &inner, events, now, Depth::Contained)?;
                    debug_assert!(large.is_none());
                }
            }
            id::CONTAINER => return Err(SessionError::Malformed),
            id::GZIP_PACKED if depth != Depth::Unpacked => {
                let unpacked = unpack(body)?;
                let inner = Message {
                    body: 0..unpacked.len(),
                    ..*message
                };
                self.handle_body(&unpacked, &inner, events, now, Depth::Unpacked)?;
            }
            id::GZIP_PACKED => return Err(SessionError::Malformed),
            id => self.handle_service(id, body, message.msg_id, events, now)?,
        }
        Ok(None)
    }

    fn handle_service(
        &mut self,
        id: u32,
        body: &[u8],
        msg_id: i64,
        events: &mut Vec<Event>,
        now: Instant,
    ) -> Result<(), SessionError> {
        match id {
            types::BadServerSalt::CONSTRUCTOR_ID => {
                let bad: types::BadServerSalt = object(body)?;
                self.salts.announce(bad.new_server_salt);
                self.salts_requested = false;
                events.push(Event::Salts);
                self.send_again(|sent| sent.msg_id == bad.bad_msg_id)?;
            }
            types::BadMsgNotification::CONSTRUCTOR_ID => {
                let bad: types::BadMsgNotification = object(body)?;
                match bad.error_code {
                    // The message id is too low, too high or too old: the next one follows the server's clock.
                    16 | 17 | 20 => {
                        self.clock.set(msg_id, now);
                        self.last_msg_id = 0;
                        self.send_again(|sent| sent.msg_id == bad.bad_msg_id)?;
                    }
                    code => return Err(SessionError::Rejected(code)),
                }
            }
            types::NewSessionCreated::CONSTRUCTOR_ID => {
                let new: types::NewSessionCreated = object(body)?;
                self.salts.announce(new.server_salt);
                events.push(Event::Salts);
                // Earlier requests were lost with the server's former state of this session.
                self.send_again(|sent| sent.msg_id < new.first_msg_id)?;
            }
            types::FutureSalts::CONSTRUCTOR_ID => {
                let mut cursor = Cursor::from_slice(body.get(4..).unwrap_or_default());
                let salts =
                    types::FutureSalts::deserialize(&mut cursor).map_err(|_| SessionError::Malformed)?;
                if self.sent.iter().any(|sent| sent.msg_id == salts.req_msg_id) {
                    self.take_sent(salts.req_msg_id);
                    self.salts.replace(&salts.salts.0, self.clock.read(now));
                    events.push(Event::Salts);
                }
            }
            types::MsgDetailedInfo::CONSTRUCTOR_ID => {
                self.handle_announced(object::<types::MsgDetailedInfo>(body)?.answer_msg_id);
            }
            types::MsgNewDetailedInfo::CONSTRUCTOR_ID => {
                self.handle_announced(object::<types::MsgNewDetailedInfo>(body)?.answer_msg_id);
            }
            // Acknowledgements, pongs and updates.
            _ => {}
        }
        Ok(())
    }

    /// The server says that it has sent this message.
    fn handle_announced(&mut self, msg_id: i64) {
        if self.seen.contains(msg_id) {
            self.acks.push(msg_id);
        } else if self.missed.len() < SEEN {
            self.missed.push(msg_id);
        }
    }

    /// Removes the request with this message id. Returns its token.
    fn take_sent(&mut self, msg_id: i64) -> Option<u32> {
        let at = self.sent.iter().position(|sent| sent.msg_id == msg_id)?;
        self.sent.swap_remove(at).token
    }

    fn send_again(&mut self, which: impl Fn(&Sent) -> bool) -> Result<(), SessionError> {
        let mut again: Vec<Sent> = self.sent.extract_if(.., |sent| which(sent)).collect();
        again.retain(|sent| !sent.body.is_empty());
        again.sort_by_key(|sent| sent.msg_id);
        if again.iter().any(|sent| sent.sendings >= MAX_SENDINGS) {
            return Err(SessionError::Rejected(0));
        }
        self.again.extend(again);
        Ok(())
    }

    fn send(&mut self, mut sent: Sent, now: Instant) -> Vec<u8> {
        sent.msg_id = self.next_msg_id(now);
        sent.sendings += 1;
        let packet = self.packet(sent.msg_id, true, &sent.body, now);
        self.sent.push(sent);
        packet
    }

    fn packet(&mut self, msg_id: i64, wants_ack: bool, body: &[u8], now: Instant) -> Vec<u8> {
        // Twice the number of earlier messages that required an acknowledgement, plus one if this one does.
        let sequence = self.sequence.wrapping_mul(2) | i32::from(wants_ack);
        self.sequence = self.sequence.wrapping_add(i32::from(wants_ack));
        let mut packet = DequeBuffer::with_capacity(body.len() + 64, field::ENVELOPE);
        packet.extend(self.salts.current(self.clock.read(now)).to_le_bytes());
        packet.extend(self.id.to_le_bytes());
        packet.extend(msg_id.to_le_bytes());
        packet.extend(sequence.to_le_bytes());
        packet.extend((body.len() as u32).to_le_bytes());
        packet.extend(body);
        encrypt_data_v2(&mut packet, &self.key);
        packet.as_ref().to_vec()
    }

    fn next_msg_id(&mut self, now: Instant) -> i64 {
        let by_clock = self.clock.read(now) << 32;
        self.last_msg_id = by_clock.max(self.last_msg_id.saturating_add(4));
        self.last_msg_id
    }

    /// Checks the time in a message id. The first packet of a session sets the clock: the session id is new, so the packet cannot
    /// be a recorded one.
    fn check_time(&mut self, msg_id: i64, now: Instant) -> Result<(), SessionError> {
        if !self.clock.is_set() {
            self.clock.set(msg_id, now);
        }
        let age = self.clock.read(now) - (msg_id >> 32);
        if msg_id <= 0 || !(-MAX_FUTURE_SECS..=MAX_AGE_SECS).contains(&age) {
            return Err(SessionError::MessageId);
        }
        Ok(())
    }
}

/// The nesting of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Outer,
    Contained,
    Unpacked,
}

#[cfg(test)]
pub(crate) mod tests;
