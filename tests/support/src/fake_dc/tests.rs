//! Each script, seen by a direct client.

use std::io;

use super::*;
use crate::client::{Client, End};
use crate::obfuscated2::Tag;
use crate::rng::{Payload, Rng, Stream};

#[test]
fn echo_comes_back_and_everything_is_remembered() {
    let dc = FakeDc::start(Script::Echo);
    let mut client = Client::direct(dc.addr(), Tag::PADDED, -2);
    client.send(b"there and back").expect("it reads");
    assert_eq!(client.recv_exact(14).expect("an echo"), b"there and back");
    client.finish().expect("a connection");
    assert_eq!(client.recv_to_end(), (Vec::new(), End::Eof));
    let seen = dc.wait_ended(1).swap_remove(0);
    let header = seen.header.expect("a header");
    assert_eq!((header.dc, header.tag, header.violation), (-2, Tag::PADDED, None));
    assert_eq!(header.raw[..], client.opening);
    assert_eq!((seen.received, seen.sent, seen.ended), (14, 14, Some(Ended::Eof)));
    assert_eq!(seen.head, b"there and back");
    let digest: [u8; 32] = Sha256::digest(b"there and back").into();
    assert_eq!(seen.sha256, digest);
}

#[test]
fn source_sends_all_and_closes_at_once() {
    for bytes in [0, 1, 1000, 65_536, 1 << 20] {
        let dc = FakeDc::start(Script::source(9, bytes, Then::Close));
        let mut client = Client::direct(dc.addr(), Tag::ABRIDGED, 1);
        let (count, end) = client.reader.stream_to_end(&mut Stream::new(9));
        assert_eq!((count, end), (bytes, End::Eof));
        assert_eq!(dc.wait_ended(1)[0].ended, Some(Ended::Script));
    }
}

#[test]
fn source_that_resets_is_seen_as_a_reset() {
    let dc = FakeDc::start(Script::source(9, 100, Then::Reset));
    let mut client = Client::direct(dc.addr(), Tag::ABRIDGED, 1);
    let (count, end) = client.reader.stream_to_end(&mut Stream::new(9));
    assert!(count <= 100);
    assert_eq!(end, End::Reset);
}

#[test]
fn sink_checks_the_upload_and_answers_with_its_digest() {
    let dc = FakeDc::start(Script::sink(5, 300_000));
    let mut client = Client::direct(dc.addr(), Tag::INTERMEDIATE, 203);
    client
        .writer
        .send_stream(&mut Stream::new(5), 300_000)
        .expect("it reads");
    client.finish().expect("a connection");
    let (answer, end) = client.recv_to_end();
    let seen = dc.wait_ended(1).swap_remove(0);
    seen.assert_upload();
    assert_eq!(answer[..8], 300_000u64.to_le_bytes());
    assert_eq!((&answer[8..], end), (&seen.sha256[..], End::Eof));
}

#[test]
#[should_panic(expected = "wrong_at: Some(77)")]
fn sink_names_the_first_wrong_byte() {
    let dc = FakeDc::start(Script::sink(5, 100));
    let mut client = Client::direct(dc.addr(), Tag::INTERMEDIATE, 203);
    let mut bytes = [0; 100];
    Stream::new(5).fill(&mut bytes);
    bytes[77] ^= 0x80;
    client.send(&bytes).expect("it reads");
    client.finish().expect("a connection");
    dc.wait_ended(1)[0].assert_upload();
}

#[test]
fn both_directions_run_at_the_same_time_with_bytes_of_their_own() {
    let bytes = 4 << 20;
    let (send, expect) = (Payload::asked(bytes), Some(Payload::asked(bytes)));
    let dc = FakeDc::start(Script::Both { send, expect });
    let clients = [11u64, 12].map(|seed| {
        let (mut reader, mut writer) = Client::direct(dc.addr(), Tag::PADDED, 4).split();
        writer.ask(seed).expect("it reads");
        let upload = std::thread::spawn(move || {
            writer
                .send_stream(&mut Stream::new(!seed), bytes)
                .and_then(|()| writer.finish())
        });
        let download = std::thread::spawn(move || reader.stream_to_end(&mut Stream::new(seed)));
        (upload, download)
    });
    for (upload, download) in clients {
        upload.join().expect("no panic").expect("it reads");
        assert_eq!(download.join().expect("the right bytes"), (bytes, End::Eof));
    }
    dc.wait_ended(2).iter().for_each(Connection::assert_upload);
}

#[test]
fn half_close_first_goes_on_reading() {
    let expect = Some(Payload::new(3, 50));
    let dc = FakeDc::start(Script::HalfCloseFirst {
        payload: Payload::new(2, 10),
        expect,
    });
    let mut client = Client::direct(dc.addr(), Tag::PADDED, 4);
    assert_eq!(client.reader.stream_to_end(&mut Stream::new(2)), (10, End::Eof));
    client
        .writer
        .send_stream(&mut Stream::new(3), 50)
        .expect("it still reads");
    client.finish().expect("a connection");
    let seen = dc.wait_ended(1).swap_remove(0);
    seen.assert_upload();
    assert_eq!(seen.ended, Some(Ended::Eof));
}

#[test]
fn req_pq_is_answered_in_every_transport_and_in_one_byte_writes() {
    for tag in Tag::ALL {
        let pace = Pace {
            chunk: Some(1),
            ..Pace::default()
        };
        let dc = FakeDc::builder(Script::ResPq)
            .pace(pace)
            .start()
            .expect("a free port");
        let mut client = Client::direct(dc.addr(), tag, 2);
        client.req_pq().expect("a valid answer");
        let other = Rng::new(1).bytes(64);
        client.send_frame(&other).expect("it reads");
        client.req_pq().expect("others are ignored");
    }
}

#[test]
fn transport_error_answers_the_first_frame() {
    for tag in Tag::ALL {
        let dc = FakeDc::start(Script::TransportError(-404));
        let mut client = Client::direct(dc.addr(), tag, 2);
        client.send_frame(&[0; 40]).expect("it reads");
        assert_eq!(
            client.recv_frame().expect("a frame")[..4],
            (-404i32).to_le_bytes()
        );
        assert_eq!(client.recv_to_end(), (Vec::new(), End::Eof));
    }
}

#[test]
fn reset_comes_after_the_given_bytes() {
    let dc = FakeDc::start(Script::ResetAt(10));
    let mut client = Client::direct(dc.addr(), Tag::PADDED, 2);
    client.send(&[1; 10]).expect("it reads");
    assert_eq!(client.recv_to_end(), (Vec::new(), End::Reset));
    assert_eq!(dc.wait_ended(1)[0].received, 10);
}

#[test]
fn stalled_connection_reads_nothing_until_the_gate_opens() {
    let dc = FakeDc::start(Script::Stall);
    let mut client = Client::direct(dc.addr(), Tag::PADDED, 2);
    client.send(b"later").expect("the kernel takes it");
    assert_eq!(dc.wait_connections(1)[0].header, None);
    dc.open_gate();
    assert_eq!(dc.wait_received(0, 5).head, b"later");
}

#[test]
fn port_refuses_and_listens_again_as_the_script_says() {
    let dc = FakeDc::start(Script::Refuse);
    let refused = || {
        std::net::TcpStream::connect(dc.addr())
            .expect_err("it refuses")
            .kind()
    };
    assert_eq!(refused(), io::ErrorKind::ConnectionRefused);
    for round in 1..=3 {
        dc.set_script(Script::ResPq);
        Client::direct(dc.addr(), Tag::PADDED, 2)
            .req_pq()
            .expect("an answer");
        dc.wait_ended(round);
        dc.set_script(Script::Refuse);
        assert_eq!(refused(), io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn addresses_share_their_memory_and_connections_their_own_scripts() {
    let dc = FakeDc::builder(Script::ResPq)
        .listen(([127, 0, 0, 1], 0).into())
        .listen(([127, 0, 0, 2], 0).into())
        .start()
        .expect("free ports");
    dc.set_script_of(
        1,
        Script::Play(vec![Step::Send(b"play".to_vec()), Step::Read(2), Step::Close]),
    );
    Client::direct(dc.addrs()[0], Tag::PADDED, 2)
        .req_pq()
        .expect("an answer");
    dc.wait_connections(1);
    let mut client = Client::direct(dc.addrs()[1], Tag::PADDED, 2);
    assert_eq!(client.recv_exact(4).expect("the play"), b"play");
    client.send(b"ok").expect("it reads");
    assert_eq!(client.recv_to_end(), (Vec::new(), End::Eof));
    let addrs: Vec<_> = dc.wait_connections(2).iter().map(|seen| seen.addr).collect();
    assert_eq!(addrs, dc.addrs());
}
