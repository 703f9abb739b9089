use super::*;
use crate::gzip::tests::pack;
use grammers_crypto::aes::{ige_decrypt, ige_encrypt};
use grammers_tl_types::{enums, types};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

const KEY: [u8; 256] = [0x3c; 256];
const ID: i64 = 0x1122_3344_5566_7788;
const SALT: i64 = 77;
const UNIX: u32 = 1_700_000_000;

/// Key and initial vector of a message, for the direction that begins at `x` in the key.
fn key_and_iv(msg_key: &[u8], x: usize) -> ([u8; 32], [u8; 32]) {
    let hash = |parts: [&[u8]; 2]| -> [u8; 32] { Sha256::digest(parts.concat()).into() };
    let a = hash([msg_key, &KEY[x..x + 36]]);
    let b = hash([&KEY[40 + x..76 + x], msg_key]);
    let join = |parts: [&[u8]; 3]| -> [u8; 32] { parts.concat().try_into().unwrap() };
    let key = join([&a[..8], &b[8..24], &a[24..]]);
    (key, join([&b[..8], &a[8..24], &b[24..]]))
}

/// A packet of the server with these bytes, a multiple of 16.
fn encrypt(plain: &[u8]) -> Vec<u8> {
    let mut body = plain.to_vec();
    let msg_key = Sha256::digest([&KEY[96..128], plain].concat())[8..24].to_vec();
    let (key, iv) = key_and_iv(&msg_key, 8);
    ige_encrypt(&mut body, &key, &iv);
    let key_id = sha1::Sha1::digest(KEY)[12..].to_vec();
    [key_id, msg_key, body].concat()
}

/// The fields of a client's packet: salt, session, message id, sequence number, body.
fn decrypt(packet: &[u8]) -> (i64, i64, i64, i32, Vec<u8>) {
    let mut body = packet[24..].to_vec();
    let (key, iv) = key_and_iv(&packet[8..24], 0);
    ige_decrypt(&mut body, &key, &iv);
    assert_eq!(
        packet[8..24],
        Sha256::digest([&KEY[88..120], &body].concat())[8..24]
    );
    let at = |at: usize| i64::from_le_bytes(body[at..at + 8].try_into().unwrap());
    let len = i32::from_le_bytes(body[28..32].try_into().unwrap()) as usize;
    let padding = body.len() - 32 - len;
    assert!((12..=1024).contains(&padding));
    (at(0), at(8), at(16), at(24) as i32, body[32..32 + len].to_vec())
}

fn plain(salt: i64, id: i64, msg_id: i64, body: &[u8]) -> Vec<u8> {
    let mut plain = salt.to_le_bytes().to_vec();
    plain.extend(id.to_le_bytes());
    plain.extend(message(msg_id, 1, body));
    let padding = 12 + (plain.len() + 12).wrapping_neg() % 16;
    plain.extend(vec![0x99; padding]);
    plain
}

fn message(msg_id: i64, sequence: i32, body: &[u8]) -> Vec<u8> {
    let mut message = msg_id.to_le_bytes().to_vec();
    message.extend(sequence.to_le_bytes());
    message.extend((body.len() as u32).to_le_bytes());
    message.extend(body);
    message
}

fn number(seconds: i64, n: i64) -> i64 {
    (i64::from(UNIX) + seconds) << 32 | n << 2 | 1
}

fn result(to: i64, body: &[u8]) -> Vec<u8> {
    [&id::RPC_RESULT.to_le_bytes()[..], &to.to_le_bytes(), body].concat()
}

fn gzip_packed(bytes: &[u8]) -> Vec<u8> {
    let mut object = id::GZIP_PACKED.to_bytes();
    pack(bytes).serialize(&mut object);
    object
}

fn container(messages: &[Vec<u8>]) -> Vec<u8> {
    let head = [id::CONTAINER.to_le_bytes(), (messages.len() as u32).to_le_bytes()].concat();
    [head, messages.concat()].concat()
}

struct Pair {
    session: Session,
    now: Instant,
    next: i64,
}

impl Pair {
    fn new() -> Pair {
        let now = mtrelay_core::sys::clock::now();
        Pair {
            session: Session::new(KEY, Salts::new(SALT), ID, UNIX, now),
            now,
            next: 1,
        }
    }

    /// Sends a request. Returns its message id.
    fn push(&mut self, token: u32) -> i64 {
        let packet = self.session.push(token, vec![token as u8; 8], self.now);
        decrypt(&packet).2
    }

    fn handle(&mut self, packet: Vec<u8>) -> Result<Vec<Event>, SessionError> {
        self.session.handle_packet(packet, self.now)
    }

    /// The server sends this.
    fn say(&mut self, body: &[u8]) -> Result<Vec<Event>, SessionError> {
        self.next += 1;
        self.handle(encrypt(&plain(SALT, ID, number(0, self.next), body)))
    }

    fn answers(&mut self, body: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let answer = |event| match event {
            Event::Answer(token, answer) => Some((token, answer.as_slice().to_vec())),
            _ => None,
        };
        self.say(body).unwrap().into_iter().filter_map(answer).collect()
    }
}

#[test]
fn requests_go_out_in_the_order_of_their_numbers() {
    let mut pair = Pair::new();
    let mut last = 0;
    for token in 0..5 {
        let packet = pair.session.push(token, vec![9; 12], pair.now);
        let (salt, id, msg_id, sequence, body) = decrypt(&packet);
        assert_eq!(
            (salt, id, sequence, body),
            (SALT, ID, 2 * token as i32 + 1, vec![9; 12])
        );
        assert!(msg_id > last && msg_id % 4 == 0 && msg_id >> 32 == i64::from(UNIX));
        last = msg_id;
    }
    let (.., sequence, _) = decrypt(&pair.session.ping(75, pair.now));
    assert_eq!(sequence, 11);
}

#[test]
fn answers_find_their_request_however_they_are_wrapped() {
    let mut pair = Pair::new();
    let [a, b, c, d] = [0, 1, 2, 3].map(|token| pair.push(token));
    assert_eq!(pair.answers(&result(b, b"answer b")), [(1, b"answer b".to_vec())]);
    assert_eq!(
        pair.answers(&result(a, &gzip_packed(b"unpacked"))),
        [(0, b"unpacked".to_vec())]
    );
    let both = container(&[
        message(number(-1, 50), 1, &result(c, b"cccc")),
        message(number(-1, 51), 1, &gzip_packed(&result(d, b"dddd"))),
    ]);
    assert_eq!(
        pair.answers(&both),
        [(2, b"cccc".to_vec()), (3, b"dddd".to_vec())]
    );
    // A second answer, and one without a request.
    assert_eq!(pair.answers(&result(c, b"cccc")), []);
    assert_eq!(pair.answers(&result(5, b"cccc")), []);
    let acks = decrypt(&pair.session.poll_service(pair.now).unwrap());
    assert_eq!(acks.3, 8, "acknowledgements are not counted");
    let enums::MsgsAck::Ack(acks) = enums::MsgsAck::from_bytes(&acks.4).unwrap();
    assert_eq!(acks.msg_ids.len(), 7);
}

#[test]
fn a_message_is_taken_once() {
    let mut pair = Pair::new();
    let a = pair.push(0);
    let packet = encrypt(&plain(SALT, ID, number(0, 9), &result(a, b"aaaa")));
    assert_eq!(pair.handle(packet.clone()).unwrap().len(), 1);
    let a = pair.push(1);
    assert_eq!(pair.handle(packet).unwrap().len(), 0);
    assert_eq!(pair.answers(&result(a, b"aaaa")).len(), 1);
}

#[test]
fn errors_come_with_their_words() {
    let mut pair = Pair::new();
    let a = pair.push(4);
    let error = enums::RpcError::Error(types::RpcError {
        error_code: 420,
        error_message: "FLOOD_WAIT_3".into(),
    });
    match pair.say(&result(a, &error.to_bytes())).unwrap().as_slice() {
        [Event::Refused(4, error)] => assert_eq!((error.code, error.message.as_str()), (420, "FLOOD_WAIT_3")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bad_salt_sends_the_request_again() {
    let mut pair = Pair::new();
    let a = pair.push(3);
    let bad = |msg_id, salt: i64| {
        let bad = types::BadServerSalt {
            bad_msg_id: msg_id,
            bad_msg_seqno: 1,
            error_code: 48,
            new_server_salt: salt,
        };
        [types::BadServerSalt::CONSTRUCTOR_ID.to_bytes(), bad.to_bytes()].concat()
    };
    let packet = encrypt(&plain(500, ID, number(0, 8), &bad(a, 500)));
    assert!(matches!(pair.handle(packet).unwrap().as_slice(), [Event::Salts]));
    let packet = pair.session.poll_again(pair.now).unwrap();
    let (salt, _, again, _, body) = decrypt(&packet);
    assert_eq!((salt, body), (500, vec![3; 8]));
    assert!(again > a);
    assert_eq!(pair.session.salts().parts().0, 500);
    assert_eq!(pair.answers(&result(again, b"done")), [(3, b"done".to_vec())]);
    assert!(pair.session.poll_again(pair.now).is_none());
    // A server that rejects every sending.
    let mut last = pair.push(6);
    for round in 0..MAX_SENDINGS {
        let salt = 600 + i64::from(round);
        let packet = encrypt(&plain(
            salt,
            ID,
            number(0, 100 + i64::from(round)),
            &bad(last, salt),
        ));
        let said = pair.handle(packet);
        if round + 1 == MAX_SENDINGS {
            assert_eq!(said.unwrap_err(), SessionError::Rejected(0));
            break;
        }
        said.unwrap();
        last = decrypt(&pair.session.poll_again(pair.now).unwrap()).2;
    }
}

#[test]
fn what_nobody_waits_for_is_not_sent_again() {
    let mut pair = Pair::new();
    let a = pair.push(3);
    pair.session.forget(3);
    let bad = types::BadMsgNotification {
        bad_msg_id: a,
        bad_msg_seqno: 1,
        error_code: 16,
    };
    let bad = [
        types::BadMsgNotification::CONSTRUCTOR_ID.to_bytes(),
        bad.to_bytes(),
    ]
    .concat();
    pair.say(&bad).unwrap();
    assert!(pair.session.poll_again(pair.now).is_none());
    let b = pair.push(4);
    pair.session.forget(4);
    assert_eq!(pair.answers(&result(b, b"late")), []);
}

#[test]
fn a_wrong_clock_is_set_by_the_server() {
    let mut pair = Pair::new();
    let a = pair.push(3);
    // The server's clock is two years ahead of the estimate.
    let ahead = 63_072_000;
    let bad = types::BadMsgNotification {
        bad_msg_id: a,
        bad_msg_seqno: 1,
        error_code: 16,
    };
    let bad = [
        types::BadMsgNotification::CONSTRUCTOR_ID.to_bytes(),
        bad.to_bytes(),
    ]
    .concat();
    pair.handle(encrypt(&plain(SALT, ID, number(ahead, 1), &bad)))
        .unwrap();
    let (_, _, again, ..) = decrypt(&pair.session.poll_again(pair.now).unwrap());
    assert_eq!(again >> 32, i64::from(UNIX) + ahead);
    pair.now += Duration::from_secs(100);
    assert_eq!(pair.push(5) >> 32, i64::from(UNIX) + ahead + 100);
    // From then on only messages of that time are accepted.
    let said =
        |pair: &mut Pair, at| pair.handle(encrypt(&plain(SALT, ID, number(at, 3), &result(1, b"xxxx"))));
    assert!(said(&mut pair, ahead + 100 + MAX_FUTURE_SECS).is_ok());
    assert_eq!(
        said(&mut pair, ahead + 101 + MAX_FUTURE_SECS).unwrap_err(),
        SessionError::MessageId
    );
    assert!(said(&mut pair, ahead + 100 - MAX_AGE_SECS).is_ok());
    assert_eq!(
        said(&mut pair, ahead + 99 - MAX_AGE_SECS).unwrap_err(),
        SessionError::MessageId
    );
}

#[test]
fn a_new_session_has_lost_what_came_before() {
    let mut pair = Pair::new();
    let [a, b] = [0, 1].map(|token| pair.push(token));
    let new = types::NewSessionCreated {
        first_msg_id: b,
        unique_id: 1,
        server_salt: SALT,
    };
    let new = [
        types::NewSessionCreated::CONSTRUCTOR_ID.to_bytes(),
        new.to_bytes(),
    ]
    .concat();
    pair.say(&new).unwrap();
    let (_, _, again, _, body) = decrypt(&pair.session.poll_again(pair.now).unwrap());
    assert!(again > a && body == [0; 8]);
    assert!(pair.session.poll_again(pair.now).is_none());
}

#[test]
fn salts_are_asked_for_once_the_server_has_spoken() {
    let mut pair = Pair::new();
    assert!(pair.session.poll_service(pair.now).is_none());
    pair.answers(&result(5, b"none"));
    let mut asked = None;
    while let Some(packet) = pair.session.poll_service(pair.now) {
        let (_, _, msg_id, _, body) = decrypt(&packet);
        if body[..4] == functions::GetFutureSalts::CONSTRUCTOR_ID.to_le_bytes() {
            assert!(asked.replace(msg_id).is_none());
        }
    }
    let salts = types::FutureSalts {
        req_msg_id: asked.unwrap(),
        now: UNIX as i32,
        salts: grammers_tl_types::RawVec(vec![types::FutureSalt {
            valid_since: UNIX as i32 - 100,
            valid_until: UNIX as i32 + 3600,
            salt: 31,
        }]),
    };
    let salts = [types::FutureSalts::CONSTRUCTOR_ID.to_bytes(), salts.to_bytes()].concat();
    assert!(matches!(pair.say(&salts).unwrap().as_slice(), [Event::Salts]));
    let packet = pair.session.push(1, vec![0; 4], pair.now);
    assert_eq!(decrypt(&packet).0, 31);
}

#[test]
fn what_is_not_this_sessions_is_refused() {
    let at = number(0, 5);
    let body = result(1, b"body");
    let good = plain(SALT, ID, at, &body);
    let edit = |work: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = good.clone();
        work(&mut changed);
        Pair::new().handle(encrypt(&changed)).map(|events| events.len())
    };
    assert_eq!(edit(&|_| ()), Ok(0));
    assert_eq!(edit(&|plain| plain[8] ^= 1), Err(SessionError::Foreign));
    assert_eq!(edit(&|plain| plain[0] ^= 1), Err(SessionError::Salt));
    assert_eq!(edit(&|plain| plain[16] ^= 1), Err(SessionError::MessageId));
    assert_eq!(edit(&|plain| plain[23] ^= 0x80), Err(SessionError::MessageId));
    assert_eq!(edit(&|plain| plain[28] += 1), Err(SessionError::Malformed));
    assert_eq!(edit(&|plain| plain[28] += 16), Err(SessionError::Malformed));
    assert_eq!(edit(&|plain| plain[31] = 0xff), Err(SessionError::Malformed));
    assert_eq!(
        edit(&|plain| plain.extend([0; 1024])),
        Err(SessionError::Malformed)
    );
    let packet = encrypt(&good);
    for at in [0, 9, 30, packet.len() - 1] {
        let mut changed = packet.clone();
        changed[at] ^= 1;
        assert_eq!(
            Pair::new().handle(changed).unwrap_err(),
            SessionError::Decryption,
            "{at}"
        );
    }
    for len in 0..packet.len() {
        assert!(Pair::new().handle(packet[..len].to_vec()).is_err(), "{len}");
    }
    let mut padded = packet;
    padded.extend([1; 15]);
    assert!(Pair::new().handle(padded).is_ok());
}

#[test]
fn whatever_an_authentic_message_says_nothing_panics() {
    let words = [
        id::RPC_RESULT,
        id::CONTAINER,
        id::GZIP_PACKED,
        types::RpcError::CONSTRUCTOR_ID,
        types::BadServerSalt::CONSTRUCTOR_ID,
        types::BadMsgNotification::CONSTRUCTOR_ID,
        types::FutureSalts::CONSTRUCTOR_ID,
        types::FutureSalt::CONSTRUCTOR_ID,
        types::NewSessionCreated::CONSTRUCTOR_ID,
        types::MsgDetailedInfo::CONSTRUCTOR_ID,
        types::MsgNewDetailedInfo::CONSTRUCTOR_ID,
        types::Pong::CONSTRUCTOR_ID,
        0xe060_46b2,
        0x1cb5_c415,
        16,
        u32::MAX,
        0x8000_0000,
        0,
    ];
    let mut state = 7_u32;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for _ in 0..5_000 {
        let mut pair = Pair::new();
        let a = pair.push(1);
        let mut body = Vec::new();
        for _ in 0..1 + draw(12) {
            body.extend(words[draw(words.len())].to_le_bytes());
            if draw(4) == 0 {
                body.extend(a.to_le_bytes());
            }
        }
        let _ = pair.say(&body);
    }
    let deep = (0..50).fold(result(1, b"deep"), |body, _| gzip_packed(&body));
    assert_eq!(Pair::new().say(&deep).unwrap_err(), SessionError::Malformed);
    let deep = (0..50).fold(result(1, b"deep"), |body, at| {
        container(&[message(number(-2, at), 1, &body)])
    });
    assert_eq!(Pair::new().say(&deep).unwrap_err(), SessionError::Malformed);
}
