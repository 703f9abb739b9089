//! What each fuzz target does with its bytes. Each says whether they were accepted, so that the seeds can be proven good.
//!
//! Whatever arrives in pieces is given whole and in pieces, and both must come to the same. Digests are made right before
//! the relay checks them: otherwise no changed byte would ever get past the first check.

use mtrelay::config::Config;
use mtrelay::http;
use mtrelay::ubus::blob::{self, Value};
use mtrelay::ubus::message::{Attributes, Inbox, Message};
use mtrelay_test_support::Value as Strict;
use mtrelay_test_support::faketls::sign;
use mtrelay_test_support::obfuscated2::{Tag as AnyTag, seal};
use wire::Modes;
use wire::accept::{Acceptor, Clock, Policy, Progress};
use wire::faketls::client_hello::ClientHello;
use wire::faketls::flight::Flight;
use wire::faketls::record::Unwrapper;
use wire::faketls::server_hello;
use wire::obfuscated2::{ClientInit, HEADER_LEN, Tag};
use wire::proxy_protocol;
use wire::secret::Secret;
use wire::transport::{Frames, transport_error};

/// A target's name and body.
pub(crate) type Target = (&'static str, fn(&[u8]) -> bool);

/// All of them.
pub(crate) const TARGETS: [Target; 9] = [
    ("client_hello", client_hello),
    ("init_header", init_header),
    ("opening", opening),
    ("transport", transport),
    ("records", records),
    ("proxy_protocol", proxy_protocol),
    ("uci", uci),
    ("http", http_request),
    ("blobmsg", blobmsg),
];

const SECRET: [u8; 16] = *b"the seeds secret";
const NOW: u32 = 1_750_000_000;

/// The length of the next piece: from the input's own bytes, so that the fuzzer chooses it.
fn piece(data: &[u8], at: usize) -> usize {
    usize::from(
        data.get(at.wrapping_mul(7) % data.len().max(1))
            .copied()
            .unwrap_or(1)
            % 23,
    )
    .max(1)
}

fn in_pieces<'a>(data: &'a [u8], mut take: impl FnMut(&'a [u8])) {
    let mut at = 0;
    while at < data.len() {
        let end = data.len().min(at + piece(data, at));
        take(&data[at..end]);
        at = end;
    }
}

/// A counter instead of random bytes; it goes on, or no point of the curve would ever come.
fn filler() -> impl FnMut(&mut [u8]) {
    let mut state = 1_u32;
    move |bytes| {
        for byte in bytes {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
    }
}

/// A whole record, as it comes; then signed, so that it is a user's.
pub(crate) fn client_hello(data: &[u8]) -> bool {
    let secret = Secret::from_bytes(SECRET);
    if let Some(hello) = ClientHello::parse(data) {
        let _ = hello.verify(&secret);
    }
    let mut signed = data.to_vec();
    if signed.len() < 43 {
        return false;
    }
    sign(&mut signed, &SECRET, NOW);
    let Some(hello) = ClientHello::parse(&signed) else {
        return false;
    };
    let verified = hello.verify(&secret).expect("it is signed with this secret");
    assert_eq!(verified.time, NOW);
    let answer = server_hello::answer(&hello, &secret, 2000, &[7; 32], &mut filler());
    assert!((2000..6000).contains(&answer.len()), "{}", answer.len());
    true
}

/// 64 bytes: as they come, and as what a client encrypts.
pub(crate) fn init_header(data: &[u8]) -> bool {
    let Some(header) = data.first_chunk::<HEADER_LEN>() else {
        return false;
    };
    let secret = Secret::from_bytes(SECRET);
    let _ = ClientInit::parse(header, &secret);
    let tag = AnyTag(header[56..60].try_into().expect("four bytes"));
    let dc = i16::from_le_bytes([header[60], header[61]]);
    let sealed = seal(*header, Some(&SECRET), tag, dc);
    let init = ClientInit::parse(&sealed.bytes, &secret);
    let known = AnyTag::ALL.contains(&tag);
    assert_eq!(init.is_some(), known, "{tag:?}");
    init.is_some_and(|init| {
        assert_eq!(init.dc, dc);
        true
    })
}

/// A connection's bytes from the first one: a hello is signed, if that is what they begin with.
pub(crate) fn opening(data: &[u8]) -> bool {
    let mut bytes = data.to_vec();
    let len = |at: usize| data.get(at).copied().map_or(0, usize::from);
    let record_len = 5 + (len(3) << 8 | len(4));
    if data.first() == Some(&0x16) && (43..=data.len()).contains(&record_len) {
        sign(&mut bytes[..record_len], &SECRET, NOW);
    } else if let Some(header) = data.first_chunk::<HEADER_LEN>() {
        let tag = AnyTag(header[56..60].try_into().expect("four bytes"));
        bytes[..HEADER_LEN].copy_from_slice(&seal(*header, Some(&SECRET), tag, 2).bytes);
    }
    let ways = [1, usize::MAX, 0].map(|at_once| accepted(&bytes, at_once));
    assert!(ways.windows(2).all(|pair| pair[0] == pair[1]), "{ways:?}");
    ways[0].starts_with("Ready")
}

fn accepted(bytes: &[u8], at_once: usize) -> String {
    let secrets = [Secret::from_bytes([0; 16]), Secret::from_bytes(SECRET)];
    let clock = Clock::Known {
        now: NOW,
        behind: 1200,
        ahead: 600,
    };
    let policy = Policy {
        secrets: &secrets,
        modes: Modes::ALL,
        front_domain: None,
        clock,
        only_tls: false,
    };
    let mut acceptor = Acceptor::new();
    let (mut at, mut said) = (0, String::new());
    while at < bytes.len() {
        let wanted = acceptor.wanted();
        assert!(wanted > 0);
        let most = if at_once == 0 { piece(bytes, at) } else { at_once };
        let end = bytes.len().min(at.saturating_add(wanted.min(most)));
        let mut input = bytes[at..end].to_vec();
        at = end;
        match acceptor.handle_input(&mut input, &policy) {
            Progress::NeedMore => {}
            Progress::Answer { user, .. } => {
                let answer = acceptor.answer(&policy, 1500, &[7; 32], &mut filler());
                assert!(answer.is_some_and(|answer| answer.len() > 1500));
                said = format!("answered {user} at {at}, ");
            }
            Progress::Ready(opening) => return format!("Ready {:?} {said}{at}", opening.mode),
            Progress::Rejected(rejection) => return format!("{rejection:?} {said}"),
        }
    }
    format!("more {said}")
}

/// The transport, then what a client or a DC sends.
pub(crate) fn transport(data: &[u8]) -> bool {
    let Some((kind, stream)) = data.split_first() else {
        return false;
    };
    let tag = [Tag::Abridged, Tag::Intermediate, Tag::Padded][usize::from(kind % 3)];
    let _ = transport_error(tag, stream);
    let whole = Frames::new(tag).handle_input(stream);
    let mut frames = Frames::new(tag);
    let mut any = false;
    in_pieces(stream, |piece| any |= frames.handle_input(piece));
    assert_eq!(whole, any);
    whole
}

/// A client's stream of records, and a server's.
pub(crate) fn records(data: &[u8]) -> bool {
    let mut whole = data.to_vec();
    let mut flight = Flight::default();
    flight.handle_input(data);
    let mut cut = Flight::default();
    in_pieces(data, |piece| cut.handle_input(piece));
    assert_eq!(flight.encrypted_len(), cut.encrypted_len());
    let range = Unwrapper::default().unwrap_in_place(&mut whole);
    let mut unwrapper = Unwrapper::default();
    let mut payload = Vec::new();
    let mut broken = false;
    in_pieces(data, |piece| {
        let mut piece = piece.to_vec();
        match unwrapper.unwrap_in_place(&mut piece) {
            Ok(range) if !broken => payload.extend_from_slice(&piece[range]),
            Ok(_) => {}
            Err(_) => broken = true,
        }
    });
    assert_eq!(range.is_err(), broken);
    match range {
        Ok(range) => {
            assert!(whole[range] == payload[..]);
            !payload.is_empty()
        }
        Err(_) => false,
    }
}

/// What stands before a connection that comes through a balancer.
pub(crate) fn proxy_protocol(data: &[u8]) -> bool {
    let read = |most: &dyn Fn(usize) -> usize| {
        let mut reader = proxy_protocol::Reader::default();
        let mut at = 0;
        while at < data.len() {
            let wanted = reader.wanted();
            assert!(wanted > 0);
            let end = data.len().min(at + wanted.min(most(at)));
            let result = reader.handle_input(&data[at..end]);
            at = end;
            match result {
                Ok(None) => {}
                ended => return (ended, at),
            }
        }
        (Ok(None), at)
    };
    let whole = read(&|_| usize::MAX);
    let cut = read(&|at| piece(data, at));
    assert_eq!(whole.0, cut.0);
    matches!(whole.0, Ok(Some(_))) && whole == cut
}

/// A configuration file.
pub(crate) fn uci(data: &[u8]) -> bool {
    let read = Config::from_uci(&String::from_utf8_lossy(data));
    read.is_ok_and(|(config, _)| config != Config::default())
}

/// A request for the statistics.
pub(crate) fn http_request(data: &[u8]) -> bool {
    http::is_understood(data)
}

/// What ubusd sends: messages, their attributes, and the values in them.
pub(crate) fn blobmsg(data: &[u8]) -> bool {
    let (mut whole, mut cut) = (Mail::default(), Mail::default());
    whole.take(data);
    in_pieces(data, |piece| cut.take(piece));
    assert_eq!((&whole.messages, whole.is_broken), (&cut.messages, cut.is_broken));
    walk(data, 0);
    let attributes = whole.messages.iter().filter_map(|message| message.body.as_ref());
    let mut known = false;
    for body in attributes {
        if let Ok(attributes) = Attributes::parse(body) {
            let good = attributes.data.is_some_and(|data| walk(data, 0));
            // The tests' own reader is the stricter one.
            let strict = attributes.data.map(Strict::from_fields);
            assert!(good || !matches!(strict, Some(Ok(_))));
            known |= good;
        }
    }
    known
}

/// The messages of a stream.
#[derive(Default)]
struct Mail {
    inbox: Inbox,
    messages: Vec<Message>,
    is_broken: bool,
}

impl Mail {
    fn take(&mut self, piece: &[u8]) {
        self.inbox.feed(piece);
        while !self.is_broken {
            match self.inbox.next_message() {
                Ok(Some(message)) => self.messages.push(message),
                Ok(None) => break,
                Err(_) => self.is_broken = true,
            }
        }
    }
}

/// Whether everything in it is well-formed, as deep as anybody nests.
fn walk(payload: &[u8], depth: usize) -> bool {
    depth > 8
        || blob::fields(payload).all(|field| match field.map(|field| field.value) {
            Ok(Value::Array(inside) | Value::Table(inside)) => walk(inside, depth + 1),
            Ok(_) => true,
            Err(_) => false,
        })
}
