//! The client's side of the wire crate against the relay and against codecs that share nothing with it.

use crate::{SECRET, start};
use mtrelay_test_support::clock::{patience, unix_time};
use mtrelay_test_support::frames::{self, ResPq};
use mtrelay_test_support::obfuscated2::{HEADER_LEN, Tag, open};
use mtrelay_test_support::rng::Rng;
use mtrelay_test_support::{FakeDc, RelayConfig, Script};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use wire::client::{ClientHandshake, Frame, Shares};
use wire::secret::{Form, Secret, Written};

const NONCE: [u8; 16] = *b"sixteen at once!";

fn random(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut rng = Rng::new(seed);
    move |bytes| bytes.copy_from_slice(&rng.bytes(bytes.len()))
}

/// Opens a connection, sends one message and gives the first frame that comes.
fn ask(addr: SocketAddr, mut opening: ClientHandshake, message: &[u8]) -> Frame {
    let mut socket = TcpStream::connect(addr).expect("it listens");
    socket
        .set_read_timeout(Some(patience()))
        .expect("a socket has a timeout");
    socket.write_all(opening.first()).expect("the hello goes out");
    while opening.wanted() > 0 {
        let mut bytes = vec![0; opening.wanted()];
        socket.read_exact(&mut bytes).expect("the answer comes");
        opening.handle_input(&bytes).expect("it is genuine");
    }
    let mut channel = opening.finish().expect("nothing is wanted");
    let mut out = Vec::new();
    channel.send(message, &mut random(1), &mut out);
    socket.write_all(&out).expect("the message goes out");
    let (mut frames, mut bytes) = (Vec::new(), [0; 512]);
    while frames.is_empty() {
        let len = socket.read(&mut bytes).expect("something comes");
        assert!(len > 0, "the connection ended without a frame");
        channel
            .receive(&mut bytes[..len], &mut frames)
            .expect("it is a frame");
    }
    frames.swap_remove(0)
}

fn secrets() -> [Written; 3] {
    [Form::Plain, Form::Dd, Form::Ee("example.org".into())].map(|form| Written {
        key: Secret::from_bytes(SECRET),
        form,
    })
}

/// `req_pq_multi` with its envelope, and without a frame.
fn question() -> Vec<u8> {
    frames::req_pq_multi(&NONCE, &mut Rng::new(7))
}

#[test]
fn asks_a_data_centre_through_the_relay_in_every_mode() {
    let dc = FakeDc::start(Script::ResPq);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).modes("plain dd ee"));
    for (at, secret) in (0..).zip(secrets()) {
        for (seed, shares) in [(at, Shares::Hybrid), (at + 10, Shares::Classic)] {
            let opening = ClientHandshake::proxy(&secret, -2, shares, unix_time(), &mut random(seed));
            let Frame::Message(answer) = ask(relay.addr(), opening, &question()) else {
                panic!("no message with {secret:?}");
            };
            assert_eq!(ResPq::parse(&answer).expect("resPQ").nonce, NONCE);
        }
    }
    assert!(
        dc.connections()
            .iter()
            .all(|seen| seen.header.is_some_and(|header| header.dc == -2))
    );
}

#[test]
fn asks_a_data_centre_directly_and_hears_its_errors() {
    use wire::obfuscated2::Tag;
    for tag in [Tag::Abridged, Tag::Intermediate, Tag::Padded] {
        let dc = FakeDc::start(Script::ResPq);
        let Frame::Message(answer) = ask(
            dc.addr(),
            ClientHandshake::direct(tag, 4, &mut random(3)),
            &question(),
        ) else {
            panic!("no message in {tag:?}");
        };
        assert_eq!(ResPq::parse(&answer).expect("resPQ").nonce, NONCE);
        let header = dc.connections()[0].header.expect("a header came");
        assert_eq!((header.dc, header.violation), (4, None));

        let dc = FakeDc::start(Script::TransportError(-404));
        let frame = ask(
            dc.addr(),
            ClientHandshake::direct(tag, 4, &mut random(4)),
            &question(),
        );
        assert_eq!(frame, Frame::Error(-404), "{tag:?}");
    }
}

#[test]
fn no_header_has_a_forbidden_start_and_each_is_read_back() {
    let [plain, dd, _] = secrets();
    for seed in 0..2000 {
        for (secret, tag) in [(&plain, Tag::INTERMEDIATE), (&dd, Tag::PADDED)] {
            let opening = ClientHandshake::proxy(secret, 203, Shares::Hybrid, 0, &mut random(seed));
            let mut sent = Vec::new();
            let mut channel = opening.finish().expect("open at once");
            channel.send(&question(), &mut random(seed), &mut sent);
            let raw: &[u8; HEADER_LEN] = sent.first_chunk().expect("a header");
            let (header, mut up, _) = open(raw, Some(&SECRET));
            assert_eq!((header.tag, header.dc, header.violation), (tag, 203, None));
            up.apply(&mut sent[HEADER_LEN..]);
            let mut frames = frames::Frames::new(tag);
            frames.push(&sent[HEADER_LEN..]);
            let frame = frames.next_frame().expect("frames").expect("a whole one");
            assert!(frame.payload.starts_with(&question()));
        }
    }
}
