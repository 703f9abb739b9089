//! What the fuzz targets of mtfetch do with their bytes. Each says whether they were accepted, so that the seeds can be proven
//! good.
//!
//! Whatever a data centre seals is sealed here right before the client opens it, and whatever must name a number of the
//! client's is given it: otherwise no changed byte would ever get past the first check.

use grammers_tl_types::enums;
use mtfetch::answer::Answer;
use mtfetch::auth_key::{KeyExchange, Step};
use mtfetch::rsa::PublicKey;
use mtfetch::salts::Salts;
use mtfetch::session::{Event, Session};
use mtproto_test_dc::envelope::{self, Message};
use std::time::Instant;

/// A target's name and body.
pub(crate) type Target = (&'static str, fn(&[u8]) -> bool);

/// All of them.
pub(crate) const TARGETS: [Target; 2] = [("fetch_session", session), ("fetch_exchange", exchange)];

pub(crate) const NOW: u32 = 1_760_000_000;
pub(crate) const SALT: i64 = 0x5a17;
pub(crate) const SESSION: i64 = 7;
/// Stands in the input for the number of the client's message.
pub(crate) const REQUEST: [u8; 8] = *b"REQUEST!";

/// A counter instead of random bytes.
pub(crate) fn filler() -> impl FnMut(&mut [u8]) {
    let mut state = 1_u32;
    move |bytes| {
        for byte in bytes {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
    }
}

pub(crate) fn auth_key() -> [u8; 256] {
    std::array::from_fn(|at| (at * 3) as u8)
}

/// One message of the server's: a byte that says whether it wants to be acknowledged, and its body. Then the same bytes as they
/// are, as a packet.
pub(crate) fn session(data: &[u8]) -> bool {
    let now = Instant::now();
    let client = || Session::new(auth_key(), Salts::new(SALT), SESSION, NOW, now);
    let _ = client().handle_packet(data.to_vec(), now);

    let Some((kind, body)) = data.split_first() else {
        return false;
    };
    let mut client = client();
    let asked = client.push(1, vec![0; 8], now);
    let asked = envelope::open(&auth_key(), &asked).expect("the client seals well");
    let mut body = body.to_vec();
    while let Some(at) = body.windows(8).position(|eight| eight == REQUEST) {
        body[at..at + 8].copy_from_slice(&asked.msg_id.to_le_bytes());
    }
    body.resize(body.len().next_multiple_of(4), 0);
    let message = Message {
        salt: SALT,
        session: SESSION,
        msg_id: (i64::from(NOW) << 32) | 0x1000 | 1,
        seqno: i32::from(kind & 1),
        body,
    };
    let sealed = envelope::seal(&auth_key(), &message);
    let events = client.handle_packet(sealed, now).unwrap_or_default();
    while client.poll_service(now).is_some() || client.poll_again(now).is_some() {}
    !events.is_empty()
        && events.into_iter().all(|event| match event {
            Event::Answer(_, answer) => decoded(answer),
            Event::Refused(..) | Event::Salts => true,
        })
}

/// Whether an answer is one of those that are asked for.
fn decoded(answer: Answer) -> bool {
    answer.decode::<enums::Config>().is_ok()
        || answer.decode::<enums::messages::Messages>().is_ok()
        || answer.decode::<enums::messages::Chats>().is_ok()
        || answer.decode::<enums::messages::Dialogs>().is_ok()
        || answer.decode::<enums::messages::DiscussionMessage>().is_ok()
        || answer.decode::<enums::contacts::ResolvedPeer>().is_ok()
        || answer.decode::<enums::auth::Authorization>().is_ok()
        || answer.decode::<enums::auth::ExportedAuthorization>().is_ok()
        || answer.decode::<enums::auth::SentCode>().is_ok()
        || answer.decode::<enums::account::Password>().is_ok()
        || answer.into_file_part().is_ok()
}

/// The three answers of an exchange, each behind its length in two bytes; the second is sealed here. Accepted: there is a key.
pub(crate) fn exchange(mut data: &[u8]) -> bool {
    let keys = PublicKey::from_pem(mtproto_test_dc::PUBLIC_KEY_PEM).expect("it is one");
    let mut fill = filler();
    let (mut exchange, first) = KeyExchange::new(2, NOW, &mut fill);
    let mut nonces = envelope::Nonces::default();
    nonces.learn(&first);
    // The server may ask for other values a few times.
    for _ in 0..6 {
        let Some((len, rest)) = data.split_first_chunk() else {
            return false;
        };
        let (object, rest) = rest.split_at(rest.len().min(u16::from_le_bytes(*len).into()));
        data = rest;
        let object = nonces.put_into(object);
        let message = envelope::plain((i64::from(NOW) << 32) | 1, &object);
        match exchange.handle_message(&message, &keys, NOW, &mut fill) {
            Ok(Step::Send(next)) => nonces.learn(&next),
            Ok(Step::Done(_)) => return true,
            Err(_) => return false,
        }
    }
    false
}
