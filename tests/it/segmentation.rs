//! Segmentation: however a stream is cut into writes, segments, records and frames, the same bytes arrive.

use crate::{SECRET, modes, start};
use mtrelay_test_support::client::{End, HeaderShape, Shape};
use mtrelay_test_support::fake_dc::Pace;
use mtrelay_test_support::rng::Stream;
use mtrelay_test_support::{Client, FakeDc, Mode, Payload, RelayConfig, Script, Tag};

const MIB: usize = 1 << 20;

/// Sends `bytes` in this shape and expects them back from an echoing DC.
fn echo(mode: &Mode, shape: Shape, bytes: u64, relay: std::net::SocketAddr) {
    let client = Client::builder(mode.clone(), relay, SECRET, -2)
        .shape(shape)
        .connect();
    let (mut reader, mut writer) = client.expect("the relay takes it").split();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer
                .send_stream(&mut Stream::new(5), bytes)
                .expect("it goes out");
            writer.finish().expect("the end goes out");
        });
        assert_eq!(
            reader.stream_to_end(&mut Stream::new(5)),
            (bytes, End::Eof),
            "{mode:?} {shape:?}"
        );
    });
}

#[test]
fn writes_and_records_of_any_size_carry_the_same_bytes() {
    let dc = FakeDc::start(Script::Echo);
    let usual = Shape::default();
    let shapes = [
        (
            Shape {
                write_size: 1,
                ..usual
            },
            10_000,
        ),
        (
            Shape {
                record_size: 1,
                ..usual
            },
            10_000,
        ),
        (
            Shape {
                record_size: 1,
                coalesce: true,
                ..usual
            },
            300_000,
        ),
        (
            Shape {
                record_size: 1_000,
                write_size: 1_448,
                coalesce: true,
                ..usual
            },
            3_000_000,
        ),
        (
            Shape {
                empty_records: true,
                record_size: 700,
                coalesce: true,
                ..usual
            },
            500_000,
        ),
        (
            Shape {
                header: HeaderShape::WithData,
                ..usual
            },
            100_000,
        ),
        (
            Shape {
                header: HeaderShape::Split(64),
                ..usual
            },
            100_000,
        ),
        (
            Shape {
                hello_segments: 3,
                ..usual
            },
            1_000,
        ),
    ];
    for fast_mode in [true, false] {
        let relay = start(&RelayConfig::simple(SECRET, dc.addr()).fast_mode(fast_mode));
        for mode in modes() {
            for (shape, bytes) in shapes {
                echo(&mode, shape, bytes, relay.addr());
            }
        }
    }
}

#[test]
fn a_dc_that_writes_byte_by_byte_is_relayed() {
    let dc = FakeDc::start(Script::Echo);
    dc.set_pace(Pace {
        chunk: Some(1),
        ..Pace::default()
    });
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    for mode in modes() {
        echo(&mode, Shape::default(), 20_000, relay.addr());
    }
}

#[test]
fn two_blocks_of_1_kib_relay_large_records() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr())
        .option("buffer_size", 1024)
        .option("buffers", 2);
    for fast_mode in [true, false] {
        let relay = start(&config.clone().fast_mode(fast_mode));
        for mode in modes() {
            echo(
                &mode,
                Shape {
                    record_size: 3_000,
                    ..Shape::default()
                },
                3_000_000,
                relay.addr(),
            );
        }
    }
}

#[test]
fn frames_of_no_bytes_and_of_3_mib_arrive() {
    let dc = FakeDc::start(Script::Echo);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    for mode in modes().into_iter().chain([Mode::Plain(Tag::PADDED)]) {
        let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
        client.send_frame(&[]).expect("it goes out");
        assert_eq!(
            client.recv_frame().map(|frame| frame.len() < 16),
            Ok(true),
            "{mode:?}"
        );
        let (mut reader, mut writer) = client.split();
        let mut frame = vec![0; 3 * MIB];
        Stream::new(9).fill(&mut frame);
        std::thread::scope(|scope| {
            scope.spawn(|| writer.send(&frame).expect("it goes out"));
            reader.expect_stream(&mut Stream::new(9), frame.len() as u64);
        });
    }
}

#[test]
fn a_stalled_download_does_not_stop_the_upload() {
    let dc = FakeDc::start(Script::Both {
        send: Payload::new(3, 32 * MIB as u64),
        expect: Some(Payload::new(4, 4 * MIB as u64)),
    });
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    let (mut reader, mut writer) = Client::connect(Mode::Dd, relay.addr(), SECRET, 2).split();
    // Nothing is read until the whole upload has arrived.
    writer
        .send_stream(&mut Stream::new(4), 4 * MIB as u64)
        .expect("the upload goes out");
    dc.wait_received(0, 4 * MIB as u64);
    writer.finish().expect("the end goes out");
    assert_eq!(
        reader.stream_to_end(&mut Stream::new(3)),
        (32 * MIB as u64, End::Eof)
    );
    dc.wait_ended(1)[0].assert_upload();
}

#[test]
fn stalled_readers_hold_no_blocks() {
    const BLOCKS: usize = 4;
    let dc = FakeDc::start(Script::source(
        6,
        16 * MIB as u64,
        mtrelay_test_support::Then::Stay,
    ));
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("buffers", BLOCKS));
    let stalled: Vec<Client> = modes()
        .into_iter()
        .cycle()
        .take(4 * BLOCKS)
        .map(|mode| Client::connect(mode, relay.addr(), SECRET, 2))
        .collect();
    dc.wait_headers(stalled.len());
    // Each of them has taken what its sockets take, and the relay has nothing in hand.
    relay.wait_still("bytes_down");
    dc.set_script(Script::Echo);
    for mode in modes() {
        echo(&mode, Shape::default(), 1_000_000, relay.addr());
    }
    for client in stalled {
        let (mut reader, _writer) = client.split();
        reader.expect_stream(&mut Stream::new(6), 16 * MIB as u64);
    }
}
