//! A session over one connection: requests become encrypted packets, packets become answers.
//!
//! Read <https://core.telegram.org/mtproto/description> and <https://core.telegram.org/mtproto/service_messages> first. No
//! sockets; time is an argument. The session layer of the grammers crates is not used: it ends the program at a foreign
//! session id, at some lengths and some messages, checks neither salt nor message ids, follows containers as deep as they go,
//! asks the clock itself, and copies each part of a file four times.
//!
//! Each packet carries one message, so that no container has to be remembered. Promises: whatever arrives, there is an answer
//! or an error; a message is taken once; a request is sent again when the server has refused it for its number or its salt
//! (up to `MAX_SENDINGS` times), and otherwise never.

use crate::answer::{Answer, bytes_within};
use crate::gzip;
use crate::salts::Salts;
use grammers_crypto::{AuthKey, DequeBuffer, decrypt_data_v2, encrypt_data_v2};
use grammers_tl_types::{Cursor, Deserializable, Identifiable, Serializable as _, functions, types};
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::time::Instant;

/// So often is one request sent before the session gives up.
const MAX_SENDINGS: u8 = 5;
/// So many numbers of messages are remembered, to take none twice.
const SEEN: usize = 512;
/// A message that is older than this, in seconds, is not taken,
const OLDEST: i64 = 300;
/// nor one that is so far in the future.
const NEWEST: i64 = 30;
/// A container has at most so many messages.
const MAX_CONTAINED: u32 = 1020;
/// How many salts are asked for at once: each serves for some half an hour.
const SALTS: i32 = 32;

/// Where the parts of a packet lie when it is decrypted.
mod field {
    use std::ops::Range;

    /// The key's name and the message's, before what is encrypted.
    pub(super) const ENVELOPE: usize = 24;
    pub(super) const SALT: usize = 24;
    pub(super) const SESSION: usize = 32;
    pub(super) const MESSAGE: usize = 40;
    pub(super) const BODY: usize = 56;
    /// The padding behind the message.
    pub(super) const PADDING: Range<usize> = 12..1025;
}

mod id {
    pub(super) const RPC_RESULT: u32 = 0xf35c_6d01;
    pub(super) const CONTAINER: u32 = 0x73f1_f8dc;
    pub(super) const GZIP_PACKED: u32 = 0x3072_cfa1;
}

/// What a packet brings.
#[derive(Debug)]
pub enum Event {
    /// The answer to the request with this token.
    Answer(u32, Answer),
    /// The request with this token failed.
    Refused(u32, RpcError),
    /// There are other salts than before.
    Salts,
}

/// A request's failure, in the server's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    /// In the manner of HTTP.
    pub code: i32,
    /// A word, often with a number at its end.
    pub message: String,
}

/// Why a session cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// The packet is cut short, or says lengths that it does not have.
    Malformed,
    /// It is encrypted with another key, or was changed on its way.
    Decryption,
    /// It belongs to another session.
    Foreign,
    /// Its salt is none that the server has announced.
    Salt,
    /// Its number is none that a server gives, or of another time.
    MessageId,
    /// The server takes no message of this session, with this code.
    Rejected(i32),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "session: a malformed packet",
            Self::Decryption => "session: a packet does not decrypt",
            Self::Foreign => "session: a packet of another session",
            Self::Salt => "session: an unknown salt",
            Self::MessageId => "session: an impossible message number",
            Self::Rejected(code) => return write!(f, "session: messages rejected with code {code}"),
        })
    }
}

impl std::error::Error for SessionError {}

/// One session.
pub struct Session {
    key: AuthKey,
    id: i64,
    salts: Salts,
    clock: Clock,
    /// How many of our messages ask for an acknowledgement.
    sequence: i32,
    last_msg_id: i64,
    sent: Vec<Sent>,
    /// Refused for their number or salt, in the order in which they were sent.
    again: VecDeque<Sent>,
    acks: Vec<i64>,
    /// Messages that were announced and have not come.
    missed: Vec<i64>,
    seen: VecDeque<i64>,
    salts_asked: bool,
}

struct Sent {
    token: Option<u32>,
    msg_id: i64,
    body: Vec<u8>,
    sendings: u8,
}

/// The server's clock, as far as it is known.
struct Clock {
    at: Instant,
    unix: i64,
    /// A message of the server has set it.
    known: bool,
}

impl Clock {
    fn read(&self, now: Instant) -> i64 {
        self.unix + now.saturating_duration_since(self.at).as_secs() as i64
    }
}

/// A message, where it lies.
struct Message {
    msg_id: i64,
    sequence: i32,
    body: Range<usize>,
}

impl Session {
    /// A session with a fresh random `id`. `unix` is the server's clock now, as well as it is known.
    #[must_use]
    pub fn new(auth_key: [u8; 256], salts: Salts, id: i64, unix: u32, now: Instant) -> Session {
        Session {
            key: AuthKey::from_bytes(auth_key),
            id,
            salts,
            clock: Clock {
                at: now,
                unix: i64::from(unix),
                known: false,
            },
            sequence: 0,
            last_msg_id: 0,
            sent: Vec::new(),
            again: VecDeque::new(),
            acks: Vec::new(),
            missed: Vec::new(),
            seen: VecDeque::new(),
            salts_asked: false,
        }
    }

    /// The salts that are known, for the next session.
    #[must_use]
    pub fn salts(&self) -> &Salts {
        &self.salts
    }

    /// The packet of a request. Its answer will name `token`.
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

    /// Nobody waits for the answer to this request any more.
    pub fn forget(&mut self, token: u32) {
        self.again.retain(|sent| sent.token != Some(token));
        for sent in self.sent.iter_mut().filter(|sent| sent.token == Some(token)) {
            sent.token = None;
            sent.body = Vec::new();
        }
    }

    /// The packet of a question whether the other side is there, which closes the connection if it is the last word for
    /// `delay_secs`.
    pub fn ping(&mut self, delay_secs: i32, now: Instant) -> Vec<u8> {
        let msg_id = self.next_msg_id(now);
        let ping = functions::PingDelayDisconnect {
            ping_id: msg_id,
            disconnect_delay: delay_secs,
        };
        self.packet(msg_id, true, &ping.to_bytes(), now)
    }

    /// A request that has to be sent again, if there is one. It waits as long as requests wait.
    pub fn poll_again(&mut self, now: Instant) -> Option<Vec<u8>> {
        let sent = self.again.pop_front()?;
        Some(self.send(sent, now))
    }

    /// What the session itself has to say, if anything: acknowledgements, and questions for messages and salts.
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
        // Only once the server has spoken: before that a wrong salt or clock would lose the question.
        let server_time = self.clock.read(now);
        if self.clock.known && !self.salts_asked && !self.salts.suffice(server_time) {
            self.salts_asked = true;
            let body = functions::GetFutureSalts { num: SALTS }.to_bytes();
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

    /// Takes in a packet, and whatever a transport has added at its end.
    ///
    /// # Errors
    /// The session is over.
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
        let large = self.take(&packet, &message, &mut events, now, Depth::Outer)?;
        if !self.salts.know(salt) {
            // It may have announced itself just now.
            return Err(SessionError::Salt);
        }
        if let Some((token, range)) = large {
            events.push(Event::Answer(token, Answer::new(packet, range)));
        }
        log::trace!("session: message {msg_id:x}, {} events", events.len());
        Ok(events)
    }

    /// Takes a message. An answer that needs no copy is given back as its place.
    fn take(
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
        if !self.is_new(message.msg_id) {
            return Ok(None);
        }
        self.take_body(bytes, message, events, now, depth)
    }

    fn take_body(
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
                let token = self.answered(long(body, 4)?);
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
                    let large = self.take(bytes, &inner, events, now, Depth::Contained)?;
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
                self.take_body(&unpacked, &inner, events, now, Depth::Unpacked)?;
            }
            id::GZIP_PACKED => return Err(SessionError::Malformed),
            id => self.take_service(id, body, message.msg_id, events, now)?,
        }
        Ok(None)
    }

    fn take_service(
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
                self.salts_asked = false;
                events.push(Event::Salts);
                self.send_again(|sent| sent.msg_id == bad.bad_msg_id)?;
            }
            types::BadMsgNotification::CONSTRUCTOR_ID => {
                let bad: types::BadMsgNotification = object(body)?;
                match bad.error_code {
                    // The number is too low, too high, too old: the next one follows the server's clock.
                    16 | 17 | 20 => {
                        self.set_clock(msg_id, now);
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
                // What came before has been lost with the server's old idea of this session.
                self.send_again(|sent| sent.msg_id < new.first_msg_id)?;
            }
            types::FutureSalts::CONSTRUCTOR_ID => {
                let mut cursor = Cursor::from_slice(body.get(4..).unwrap_or_default());
                let salts =
                    types::FutureSalts::deserialize(&mut cursor).map_err(|_| SessionError::Malformed)?;
                if self.sent.iter().any(|sent| sent.msg_id == salts.req_msg_id) {
                    self.answered(salts.req_msg_id);
                    self.salts.replace(&salts.salts.0, self.clock.read(now));
                    events.push(Event::Salts);
                }
            }
            types::MsgDetailedInfo::CONSTRUCTOR_ID => {
                self.announced(object::<types::MsgDetailedInfo>(body)?.answer_msg_id);
            }
            types::MsgNewDetailedInfo::CONSTRUCTOR_ID => {
                self.announced(object::<types::MsgNewDetailedInfo>(body)?.answer_msg_id);
            }
            // Acknowledgements, pongs, and news for which nobody has asked.
            _ => {}
        }
        Ok(())
    }

    /// A message that the server says it has sent.
    fn announced(&mut self, msg_id: i64) {
        if self.seen.contains(&msg_id) {
            self.acks.push(msg_id);
        } else if self.missed.len() < SEEN {
            self.missed.push(msg_id);
        }
    }

    /// Whose answer this is. It comes once.
    fn answered(&mut self, msg_id: i64) -> Option<u32> {
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
        // Twice the number of those before it, and one more for those that are counted themselves.
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

    /// The first packet of a session sets the clock: its id is fresh, so nobody has such a packet from another time.
    fn check_time(&mut self, msg_id: i64, now: Instant) -> Result<(), SessionError> {
        if !self.clock.known {
            self.set_clock(msg_id, now);
        }
        let age = self.clock.read(now) - (msg_id >> 32);
        if msg_id <= 0 || !(-NEWEST..=OLDEST).contains(&age) {
            return Err(SessionError::MessageId);
        }
        Ok(())
    }

    fn set_clock(&mut self, msg_id: i64, now: Instant) {
        self.clock = Clock {
            at: now,
            unix: msg_id >> 32,
            known: true,
        };
    }

    /// Whether this message has not been taken yet.
    fn is_new(&mut self, msg_id: i64) -> bool {
        if self.seen.contains(&msg_id) {
            return false;
        }
        if self.seen.len() == SEEN {
            // Older than all that are remembered: it may have been taken.
            if self.seen.iter().all(|seen| *seen > msg_id) {
                return false;
            }
            self.seen.pop_front();
        }
        self.seen.push_back(msg_id);
        true
    }
}

/// Where a message was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Outer,
    Contained,
    Unpacked,
}

/// The message whose number stands at `at`, and which ends before `end`.
fn message_at(bytes: &[u8], at: usize, end: usize) -> Result<Message, SessionError> {
    let len = word(bytes, at + 12)? as usize;
    let start = at + 16;
    let body_end = start.checked_add(len).filter(|body_end| *body_end <= end);
    let body_end = body_end.ok_or(SessionError::Malformed)?;
    if !len.is_multiple_of(4) {
        return Err(SessionError::Malformed);
    }
    Ok(Message {
        msg_id: long(bytes, at)?,
        sequence: word(bytes, at + 8)?.cast_signed(),
        body: start..body_end,
    })
}

/// What `gzip_packed` contains.
fn unpack(body: &[u8]) -> Result<Vec<u8>, SessionError> {
    let packed = bytes_within(body, 4).and_then(|range| body.get(range));
    packed.and_then(gzip::unpack).ok_or(SessionError::Malformed)
}

fn object<T: Deserializable>(body: &[u8]) -> Result<T, SessionError> {
    let mut cursor = Cursor::from_slice(body.get(4..).unwrap_or_default());
    T::deserialize(&mut cursor).map_err(|_| SessionError::Malformed)
}

fn word(bytes: &[u8], at: usize) -> Result<u32, SessionError> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map(|word| u32::from_le_bytes(*word))
        .ok_or(SessionError::Malformed)
}

fn long(bytes: &[u8], at: usize) -> Result<i64, SessionError> {
    let long = bytes.get(at..).and_then(|rest| rest.first_chunk());
    long.map(|long| i64::from_le_bytes(*long))
        .ok_or(SessionError::Malformed)
}

#[cfg(test)]
pub(crate) mod tests;
