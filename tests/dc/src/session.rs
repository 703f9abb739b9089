//! The session layer, from the server's side: which messages are taken, and what is said of them.
//!
//! Read <https://core.telegram.org/mtproto/service_messages> and `description` beside it first.

use crate::crypt::open;
use crate::gzip;
use crate::rpc::Reply;
use crate::state::{Body, From, State};
use grammers_tl_types::{
    Cursor, Deserializable, Identifiable as _, Serializable as _, enums, functions, types,
};
use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

const CONTAINER: u32 = 0x73f1_f8dc;
const GZIP: u32 = 0x3072_cfa1;
const RPC_RESULT: u32 = 0xf35c_6d01;
/// Seconds that a message may be old, and ahead of us.
const MOST_BEHIND_S: i64 = 300;
const MOST_AHEAD_S: i64 = 30;

/// A session of a client.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// `initConnection` was called.
    pub(crate) is_initialised: bool,
    pub(crate) unacknowledged: BTreeSet<i64>,
    seen: BTreeSet<i64>,
    /// The highest message id of a call so far, and its number.
    highest: (i64, i32),
    content_sent: i32,
}

impl Session {
    /// The number of the next message of ours.
    pub(crate) fn next_seqno(&mut self, is_content: bool) -> i32 {
        let seqno = self.content_sent * 2 + i32::from(is_content);
        self.content_sent += i32::from(is_content);
        seqno
    }
}

impl State {
    /// Takes one frame of a client.
    pub(crate) fn handle_frame(&mut self, link: usize, payload: &[u8]) {
        if let Some((left, code)) = &mut self.faults.transport_errors
            && *left > 0
        {
            *left -= 1;
            let code = *code;
            return self.transport_error(link, code);
        }
        let Some(dc) = self.links.get(&link).map(|link| link.dc) else {
            return;
        };
        let Some(key) = payload.first_chunk().map(|id| i64::from_le_bytes(*id)) else {
            self.violation(link, format!("a frame of {} bytes", payload.len()));
            return self.end(link, true);
        };
        if key == 0 {
            return self.handle_plain(link, dc, payload);
        }
        let Some(known) = self.keys.get(&(dc, key)) else {
            return self.transport_error(link, -404);
        };
        let sealed = match open(&known.key, payload) {
            Ok(sealed) => sealed,
            Err(what) => {
                self.violation(link, what);
                return self.transport_error(link, -404);
            }
        };
        let from = From {
            link,
            dc,
            key,
            session: sealed.session,
            msg_id: sealed.msg_id,
        };
        if !known.salts.contains(&sealed.salt) {
            let salt = known.salts[0];
            self.keys
                .get_mut(&(dc, key))
                .expect("it was just there")
                .sessions
                .entry(sealed.session)
                .or_default();
            let bad = types::BadServerSalt {
                bad_msg_id: sealed.msg_id,
                bad_msg_seqno: sealed.seqno,
                error_code: 48,
                new_server_salt: salt,
            };
            let bad = enums::BadMsgNotification::BadServerSalt(bad).to_bytes();
            return self.send_bodies(&from, vec![service(bad)], false, None);
        }
        let mut bodies = Vec::new();
        let unique_id = self.rng.next_u64() as i64;
        let known = self.keys.get_mut(&(dc, key)).expect("it was just there");
        if let Entry::Vacant(vacant) = known.sessions.entry(sealed.session) {
            vacant.insert(Session::default());
            let created = types::NewSessionCreated {
                first_msg_id: sealed.msg_id,
                unique_id,
                server_salt: known.salts[0],
            };
            bodies.push(Body {
                bytes: enums::NewSession::Created(created).to_bytes(),
                is_content: true,
                is_answer: false,
            });
        }
        self.handle_message(&from, sealed.seqno, &sealed.body, None, &mut bodies);
        self.send_bodies(&from, bodies, false, None);
    }

    fn handle_plain(&mut self, link: usize, dc: i32, payload: &[u8]) {
        let len = payload
            .get(16..)
            .and_then(|rest| rest.first_chunk())
            .map(|len| u32::from_le_bytes(*len));
        let object = len.and_then(|len| payload.get(20..)?.get(..len as usize));
        let Some(object) = object else {
            self.violation(link, "a plain message that is cut short");
            return self.end(link, true);
        };
        let (now, hostile) = (self.unix_seconds(), self.faults.hostile);
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        let answer = known
            .exchange
            .handle(object, &self.rsa, dc, now, hostile, &mut self.rng);
        match answer {
            Ok(answer) => {
                if let Some((key, salt)) = answer.key {
                    self.add_key(dc, key, salt);
                }
                if let Some(object) = answer.object {
                    let mut message = vec![0; 8];
                    message.extend(self.msg_id(true).to_le_bytes());
                    message.extend((object.len() as u32).to_le_bytes());
                    message.extend(object);
                    self.send(link, message, false);
                }
            }
            Err(what) => {
                self.violation(link, what);
                self.transport_error(link, -404);
            }
        }
    }

    /// One message, alone or in a container of that number.
    fn handle_message(
        &mut self,
        from: &From,
        seqno: i32,
        body: &[u8],
        container: Option<i64>,
        bodies: &mut Vec<Body>,
    ) {
        let Some(id) = body.first_chunk().map(|id| u32::from_le_bytes(*id)) else {
            return self.violation(from.link, "an empty message");
        };
        if let Some(code) = self.check(from, seqno, id, container) {
            let what = format!("message {:x} (seqno {seqno}) is refused with {code}", from.msg_id);
            // A clock that is wrong is no fault of the client's.
            if !matches!(code, 16 | 17) {
                self.violation(from.link, what);
            }
            let bad = types::BadMsgNotification {
                bad_msg_id: from.msg_id,
                bad_msg_seqno: seqno,
                error_code: code,
            };
            return bodies.push(service(enums::BadMsgNotification::Notification(bad).to_bytes()));
        }
        let mut input = Cursor::from_slice(&body[4..]);
        match id {
            CONTAINER => self.handle_container(from, &body[4..], bodies),
            types::MsgsAck::CONSTRUCTOR_ID => {
                let ack = types::MsgsAck::deserialize(&mut input);
                self.acknowledge(from, ack.map(|ack| ack.msg_ids).unwrap_or_default());
            }
            functions::Ping::CONSTRUCTOR_ID => {
                if let Ok(ping) = functions::Ping::deserialize(&mut input) {
                    bodies.push(pong(from.msg_id, ping.ping_id));
                }
            }
            functions::PingDelayDisconnect::CONSTRUCTOR_ID => {
                if let Ok(ping) = functions::PingDelayDisconnect::deserialize(&mut input) {
                    bodies.push(pong(from.msg_id, ping.ping_id));
                }
            }
            functions::GetFutureSalts::CONSTRUCTOR_ID => bodies.push(self.future_salts(from)),
            functions::DestroySession::CONSTRUCTOR_ID => {
                if let Ok(request) = functions::DestroySession::deserialize(&mut input) {
                    let session_id = request.session_id;
                    let ok = types::DestroySessionOk { session_id };
                    bodies.push(service(enums::DestroySessionRes::from(ok).to_bytes()));
                }
            }
            types::HttpWait::CONSTRUCTOR_ID | types::MsgsStateReq::CONSTRUCTOR_ID => {}
            types::MsgResendReq::CONSTRUCTOR_ID | types::MsgsAllInfo::CONSTRUCTOR_ID => {}
            GZIP => {
                let packed = Vec::<u8>::deserialize(&mut input).unwrap_or_default();
                match gzip::unpack(&packed) {
                    Some(query) => self.call(from, &query, bodies),
                    None => self.violation(from.link, "a compressed call that is none"),
                }
            }
            _ => self.call(from, body, bodies),
        }
    }

    /// The code with which a message is refused.
    fn check(&mut self, from: &From, seqno: i32, id: u32, container: Option<i64>) -> Option<i32> {
        let msg_id = from.msg_id;
        let now = self.unix_time().as_secs() as i64;
        let sent = msg_id >> 32;
        let is_silent = [
            CONTAINER,
            types::MsgsAck::CONSTRUCTOR_ID,
            types::HttpWait::CONSTRUCTOR_ID,
        ]
        .contains(&id);
        let is_service = [
            functions::Ping::CONSTRUCTOR_ID,
            functions::PingDelayDisconnect::CONSTRUCTOR_ID,
            functions::GetFutureSalts::CONSTRUCTOR_ID,
            functions::DestroySession::CONSTRUCTOR_ID,
            types::MsgsStateReq::CONSTRUCTOR_ID,
            types::MsgResendReq::CONSTRUCTOR_ID,
        ]
        .contains(&id);
        if container.is_some_and(|container| container <= msg_id) {
            return Some(64);
        }
        if msg_id & 3 != 0 {
            return Some(18);
        }
        if sent < now - MOST_BEHIND_S {
            return Some(16);
        }
        if sent > now + MOST_AHEAD_S {
            return Some(17);
        }
        let session = self.session(from)?;
        let is_new = session.seen.insert(msg_id);
        while session.seen.len() > 4000 {
            session.seen.pop_first();
        }
        if is_silent {
            return (seqno & 1 == 1).then_some(34);
        }
        if is_service {
            return None;
        }
        if seqno & 1 == 0 {
            return Some(35);
        }
        if !is_new {
            // Sent again because its answer did not come.
            return None;
        }
        let (highest_id, highest_seqno) = session.highest;
        if msg_id > highest_id {
            session.highest = (msg_id, seqno);
            (seqno <= highest_seqno && highest_id != 0).then_some(32)
        } else {
            (seqno >= highest_seqno).then_some(33)
        }
    }

    fn handle_container(&mut self, from: &From, bytes: &[u8], bodies: &mut Vec<Body>) {
        let whole = (|| {
            let (count, mut rest) = bytes.split_first_chunk()?;
            for _ in 0..u32::from_le_bytes(*count) {
                let (msg_id, after) = rest.split_first_chunk()?;
                let (seqno, after) = after.split_first_chunk()?;
                let (len, after) = after.split_first_chunk()?;
                let (body, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
                rest = after;
                let inner = From {
                    msg_id: i64::from_le_bytes(*msg_id),
                    ..*from
                };
                self.handle_message(
                    &inner,
                    i32::from_le_bytes(*seqno),
                    body,
                    Some(from.msg_id),
                    bodies,
                );
            }
            rest.is_empty().then_some(())
        })();
        if whole.is_none() {
            self.violation(from.link, "a container that does not end where it should");
        }
    }

    fn acknowledge(&mut self, from: &From, ids: Vec<i64>) {
        for id in ids {
            let known = self
                .session(from)
                .is_some_and(|session| session.unacknowledged.remove(&id));
            if known {
                self.counters.acknowledged += 1;
                self.counters.unacknowledged -= 1;
            }
        }
    }

    fn future_salts(&mut self, from: &From) -> Body {
        let now = self.unix_seconds();
        let fresh: Vec<i64> = (0..3).map(|_| self.rng.next_u64() as i64).collect();
        let mut salts = Vec::new();
        if let Some(key) = self.keys.get_mut(&(from.dc, from.key)) {
            key.salts.extend(fresh);
            let dated = |(at, salt): (i32, &i64)| types::FutureSalt {
                valid_since: now + at * 1800,
                valid_until: now + at * 1800 + 3600,
                salt: *salt,
            };
            salts = (0..).zip(&key.salts).map(dated).collect();
        }
        let mut bytes = 0xae50_0895_u32.to_le_bytes().to_vec();
        bytes.extend(from.msg_id.to_le_bytes());
        bytes.extend(now.to_le_bytes());
        bytes.extend((salts.len() as u32).to_le_bytes());
        for salt in salts {
            salt.serialize(&mut bytes);
        }
        service(bytes)
    }

    fn call(&mut self, from: &From, query: &[u8], bodies: &mut Vec<Body>) {
        match self.handle_call(from, query) {
            Reply::Result(bytes) => {
                let bytes = if self.faults.gzip {
                    gzip::packed_object(&bytes)
                } else {
                    bytes
                };
                bodies.push(answer(from.msg_id, &bytes));
            }
            Reply::Error(code, words) => bodies.push(error(from.msg_id, code, &words)),
            // Files go alone: nobody packs half a megabyte into a container.
            Reply::Part(bytes, damage) => {
                let body = match damage {
                    Some(crate::faults::Corruption::Garbage) => Body {
                        bytes: vec![0xa5; bytes.len()],
                        is_content: true,
                        is_answer: true,
                    },
                    _ => answer(from.msg_id, &bytes),
                };
                self.send_bodies(from, vec![body], true, damage);
            }
            Reply::PartError(code, words) => self.answer_error(from, code, &words, true),
            Reply::Later => {}
            Reply::Kill => self.end(from.link, true),
        }
    }

    /// Answers a call with an error.
    pub(crate) fn answer_error(&mut self, to: &From, code: i32, words: &str, is_part: bool) {
        self.send_bodies(to, vec![error(to.msg_id, code, words)], is_part, None);
    }
}

fn service(bytes: Vec<u8>) -> Body {
    Body {
        bytes,
        is_content: false,
        is_answer: false,
    }
}

fn pong(msg_id: i64, ping_id: i64) -> Body {
    let pong = types::Pong { msg_id, ping_id };
    Body {
        bytes: enums::Pong::Pong(pong).to_bytes(),
        is_content: false,
        is_answer: true,
    }
}

fn error(msg_id: i64, code: i32, words: &str) -> Body {
    let error = types::RpcError {
        error_code: code,
        error_message: words.into(),
    };
    answer(msg_id, &enums::RpcError::Error(error).to_bytes())
}

fn answer(msg_id: i64, result: &[u8]) -> Body {
    let mut bytes = Vec::with_capacity(result.len() + 12);
    bytes.extend(RPC_RESULT.to_le_bytes());
    bytes.extend(msg_id.to_le_bytes());
    bytes.extend_from_slice(result);
    Body {
        bytes,
        is_content: true,
        is_answer: true,
    }
}
