//! What the client writes, the acceptor and the data centre's codec read, and the other way round.

use super::*;
use crate::accept::{Acceptor, Clock, Policy, Progress};
use crate::cipher::Stream;
use crate::faketls::client_hello::{ClientHello, GROUP_X25519, GROUP_X25519_MLKEM768};
use crate::faketls::{record, x25519};
use crate::secret::{self, Secret};
use crate::{Mode, Modes};
use alloc::format;
use alloc::string::String;
use alloc::vec;

const KEY: Secret = Secret::from_bytes([0x42; 16]);
const NOW: u32 = 1_760_000_000;

/// A source of random bytes that every run repeats.
fn noise(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    move |bytes| {
        for byte in bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
}

fn secrets() -> [Written; 3] {
    [Form::Plain, Form::Dd, Form::Ee(String::from("www.example.org"))].map(|form| Written { key: KEY, form })
}

/// A relay's side of an opening: reads what the client wrote, answers a hello, and says what it found.
fn accept(
    opening: &mut ClientHandshake,
    sent: &mut Vec<u8>,
    seed: u64,
) -> Option<alloc::boxed::Box<crate::accept::Handshake>> {
    let policy = Policy {
        secrets: &[KEY],
        modes: Modes::ALL,
        front_domain: Some("www.example.org"),
        clock: Clock::Known {
            now: NOW,
            behind: 3,
            ahead: 3,
        },
        only_tls: false,
    };
    let mut acceptor = Acceptor::new();
    let mut fill = noise(seed);
    let mut unread = opening.first().to_vec();
    if unread.is_empty() {
        unread.append(sent);
    }
    loop {
        let wanted = acceptor.wanted().min(unread.len());
        let mut piece: Vec<u8> = unread.drain(..wanted).collect();
        match acceptor.handle_input(&mut piece, &policy) {
            Progress::NeedMore => assert!(wanted > 0, "the client sends no more"),
            Progress::Answer { .. } => {
                let answer = acceptor
                    .answer(&policy, 2000, &x25519::key_share(&mut fill), &mut fill)
                    .unwrap();
                let mut at = 0;
                while opening.wanted() > 0 {
                    // In odd pieces, as sockets give them.
                    let len = opening.wanted().min(7);
                    opening.handle_input(&answer[at..at + len]).unwrap();
                    at += len;
                }
                assert_eq!(at, answer.len(), "not a byte too many was asked for");
                unread.append(sent);
            }
            Progress::Ready(found) => {
                *sent = unread;
                return Some(found);
            }
            Progress::Rejected(_) => return None,
        }
    }
}

#[test]
fn a_relay_accepts_every_mode_and_both_read_each_other() {
    let messages: Vec<Vec<u8>> = [20, 24 + 16, 24 + 16 * 40, 24 + 16 * 3000]
        .map(|len| (0..len).map(|at| at as u8 | 1).collect())
        .to_vec();
    for (seed, written) in (0..).zip(secrets()) {
        for shares in [Shares::Hybrid, Shares::Classic] {
            for dc in [2, -4, 203, -10_002] {
                let mut fill = noise(seed);
                // What is sent after the opening does not depend on the answer, so it can be made before it.
                let mut opening = ClientHandshake::proxy(&written, dc, shares, NOW, &mut fill);
                let mut sent = Vec::new();
                for message in &messages {
                    opening.channel.send(message, &mut fill, &mut sent);
                }
                let found = accept(&mut opening, &mut sent, seed).expect("accepted");
                let expected = match written.form {
                    Form::Plain => (Mode::Plain, Tag::Intermediate),
                    Form::Dd => (Mode::Dd, Tag::Padded),
                    Form::Ee(_) => (Mode::Ee, Tag::Padded),
                };
                assert_eq!((found.mode, found.tag), expected);
                assert_eq!(found.dc, dc);

                let mut payload = sent;
                if let Some(mut records) = found.records {
                    let range = records.unwrap_in_place(&mut payload).unwrap();
                    payload = payload[range].to_vec();
                }
                let mut up = found.up;
                up.apply(&mut payload);
                let mut frames = Vec::new();
                frames::FrameDecoder::new(found.tag)
                    .handle_input(&payload, &mut frames)
                    .unwrap();
                let arrived: Vec<_> = messages.iter().cloned().map(Frame::Message).collect();
                assert_eq!(frames.len(), arrived.len());
                // The first message says nothing of its length in its bytes, as a real one does: only whole ones compare.
                assert_eq!(frames[1..], arrived[1..]);

                let mut back = Vec::new();
                for message in &messages[1..] {
                    frames::write(found.tag, message, &mut fill, &mut back);
                }
                Stream::new(&found.down).apply(&mut back);
                if found.records.is_some() {
                    back = back
                        .chunks(700)
                        .flat_map(|piece| [&record::header(piece.len()), piece].concat())
                        .collect();
                }
                let mut channel = opening.finish().expect("open");
                let mut frames = Vec::new();
                for piece in back.chunks(333) {
                    channel.receive(&mut piece.to_vec(), &mut frames).unwrap();
                }
                assert_eq!(frames, arrived[1..]);
            }
        }
    }
}

#[test]
fn a_data_centre_reads_a_direct_header() {
    for tag in [Tag::Abridged, Tag::Intermediate, Tag::Padded] {
        let mut fill = noise(7);
        let mut channel = ClientHandshake::direct(tag, -203, &mut fill)
            .finish()
            .expect("at once");
        let message = [1; 56];
        let mut sent = Vec::new();
        channel.send(&message, &mut fill, &mut sent);
        let (header, rest) = sent.split_at_mut(64);
        let keys: [u8; 48] = header[8..56].try_into().unwrap();
        let mut up = Stream::new(&crate::cipher::StreamKey::from_bytes(&keys));
        up.apply(header);
        assert_eq!(
            (&header[56..60], &header[60..62]),
            (&tag.bytes()[..], &(-203_i16).to_le_bytes()[..])
        );
        up.apply(rest);
        let mut frames = Vec::new();
        frames::FrameDecoder::new(tag)
            .handle_input(rest, &mut frames)
            .unwrap();
        assert_eq!(frames, [Frame::Message(message.to_vec())]);
    }
}

#[test]
fn hellos_are_of_their_length_and_offer_what_they_say() {
    for seed in 0..40 {
        for (shares, group) in [
            (Shares::Classic, GROUP_X25519),
            (Shares::Hybrid, GROUP_X25519_MLKEM768),
        ] {
            let hello = hello::client_hello(&KEY, "example.org", shares, NOW, &mut noise(seed));
            let parsed = ClientHello::parse(&hello).expect("well-formed");
            assert_eq!(parsed.group, group);
            assert_eq!(parsed.server_name, Some("example.org"));
            assert_eq!(parsed.session_id.len(), 32);
            assert_eq!(parsed.verify(&KEY).expect("signed").time, NOW);
            assert!(parsed.verify(&Secret::from_bytes([1; 16])).is_none());
            match shares {
                Shares::Classic => assert_eq!(hello.len(), 517),
                Shares::Hybrid => assert!((1700..1900).contains(&hello.len()), "{}", hello.len()),
            }
        }
    }
    let longest = format!("{}.org", vec!["a"; (secret::MAX_DOMAIN_LEN - 4) / 2].join("."));
    let hello = hello::client_hello(&KEY, &longest, Shares::Classic, NOW, &mut noise(1));
    assert!(ClientHello::parse(&hello).is_some());
}

#[test]
fn only_who_knows_the_secret_can_answer() {
    let [.., written] = secrets();
    let policy = |secrets| Policy {
        secrets,
        modes: Modes::ALL,
        front_domain: None,
        clock: Clock::Unknown,
        only_tls: false,
    };
    let open = || ClientHandshake::proxy(&written, 2, Shares::Hybrid, NOW, &mut noise(3));
    let mut acceptor = Acceptor::new();
    let mut hello = open().first().to_vec();
    while acceptor.wanted() > 0 {
        let mut piece: Vec<u8> = hello.drain(..acceptor.wanted()).collect();
        acceptor.handle_input(&mut piece, &policy(&[KEY]));
    }
    let answer = acceptor
        .answer(&policy(&[KEY]), 300, &[9; 32], &mut noise(4))
        .unwrap();
    let feed = |bytes: &[u8]| {
        let mut opening = open();
        let mut bytes = bytes;
        while opening.wanted() > 0 && !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(opening.wanted().min(bytes.len()));
            opening.handle_input(piece)?;
            bytes = rest;
        }
        Ok(opening.finish().is_some())
    };
    assert_eq!(feed(&answer), Ok(true));
    assert_eq!(feed(&answer[..answer.len() - 1]), Ok(false));
    for at in 0..answer.len() {
        let mut bent = answer.clone();
        bent[at] ^= 1;
        assert_ne!(feed(&bent), Ok(true), "byte {at}");
    }
    assert_eq!(feed(b"HTTP/1.1 400 Bad Request\r\n"), Err(BadAnswer::Records));
    assert_eq!(feed(b"\x15\x03\x03\x00\x02\x02\x28"), Err(BadAnswer::Records));
    assert_eq!(open().handle_input(&[0x16; 6]), Err(BadAnswer::Unasked));
}

/// Frames however they are cut, with an error and a quick acknowledgement between messages.
#[test]
fn frames_come_out_however_they_are_cut() {
    for tag in [Tag::Abridged, Tag::Intermediate, Tag::Padded] {
        let mut fill = noise(9);
        let mut bytes = Vec::new();
        let mut plain = vec![0; 20 + 40];
        plain[16] = 40;
        let long = vec![7; 24 + 16 * 0x80];
        frames::write(tag, &plain, &mut fill, &mut bytes);
        let token = match tag {
            Tag::Abridged => [0x81, 2, 3, 4],
            Tag::Intermediate | Tag::Padded => [4, 3, 2, 0x81],
        };
        bytes.extend(token);
        frames::write(tag, &long, &mut fill, &mut bytes);
        frames::write(tag, &(-404_i32).to_le_bytes(), &mut fill, &mut bytes);
        let expected = [
            Frame::Message(plain),
            Frame::QuickAck(0x8102_0304),
            Frame::Message(long),
            Frame::Error(-404),
        ];
        for piece in [1, 2, 3, 5, 64, bytes.len()] {
            let (mut reader, mut frames) = (frames::FrameDecoder::new(tag), Vec::new());
            for bytes in bytes.chunks(piece) {
                reader.handle_input(bytes, &mut frames).unwrap();
            }
            assert_eq!(frames, expected, "{tag:?} in pieces of {piece}");
        }
    }
}

#[test]
fn invalid_frames_are_refused() {
    let refuse = |tag, bytes: &[u8]| frames::FrameDecoder::new(tag).handle_input(bytes, &mut Vec::new());
    let len = |len: u32| len.to_le_bytes();
    assert_eq!(
        refuse(Tag::Intermediate, &len(0x7fff_ffff)),
        Err(BadFrame::TooLong(0x7fff_ffff))
    );
    assert_eq!(
        refuse(Tag::Abridged, &[0x7f, 0xff, 0xff, 0xff]),
        Err(BadFrame::TooLong(0x03ff_fffc))
    );
    assert_eq!(refuse(Tag::Intermediate, &len(0)), Err(BadFrame::TooShort(0)));
    assert_eq!(refuse(Tag::Abridged, &[0]), Err(BadFrame::TooShort(0)));
    assert_eq!(
        refuse(Tag::Intermediate, &[4, 0, 0, 0, 1, 0, 0, 0]),
        Err(BadFrame::TooShort(4))
    );
    let short = [&len(8)[..], &(-404_i32).to_le_bytes(), &[0; 4]].concat();
    assert_eq!(refuse(Tag::Intermediate, &short), Err(BadFrame::TooShort(8)));
    assert_eq!(refuse(Tag::Padded, &short), Ok(()), "an error with padding");
}
