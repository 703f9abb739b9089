//! Backpressure: what a slow or stalled reader holds, what stays free for other sessions, and that it loses no byte.

use crate::proc_net::receive_queues_from;
use crate::{SECRET, modes, start};
use mtrelay_test_support::client::End;
use mtrelay_test_support::fake_dc::{Pace, Step};
use mtrelay_test_support::rng::Stream;
use mtrelay_test_support::{Client, FakeDc, Mode, Payload, RelayConfig, Script, Then};
use std::thread;

const MIB: u64 = 1 << 20;

/// Downloads `bytes` in each mode and compares every byte.
fn downloads(relay: std::net::SocketAddr, seed: u64, bytes: u64) {
    for mode in modes() {
        let mut client = Client::connect(mode.clone(), relay, SECRET, 2);
        assert_eq!(
            client.reader.stream_to_end(&mut Stream::new(seed)),
            (bytes, End::Eof),
            "{mode:?}"
        );
    }
}

#[test]
fn without_pipes_downloads_are_copied() {
    let dc = FakeDc::start(Script::source(1, 8 * MIB, Then::Close));
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("pipes", 0));
    downloads(relay.addr(), 1, 8 * MIB);
    assert_eq!(
        (relay.stat("pipes_count"), relay.stat("pipes_high_water")),
        (0, 0)
    );
}

#[test]
fn pipes_of_any_size_relay_every_byte_and_return_to_the_pool() {
    for (pipes, size) in [(1, 4096), (4, 65_536), (2, 1 << 20)] {
        let dc = FakeDc::start(Script::source(2, 8 * MIB, Then::Close));
        let relay = start(
            &RelayConfig::simple(SECRET, dc.addr())
                .option("pipes", pipes)
                .option("pipe_size", size),
        );
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| downloads(relay.addr(), 2, 8 * MIB));
            }
        });
        let most = relay.stat("pipes_high_water");
        assert!((1..=pipes).contains(&most), "{most} of {pipes}");
        relay.wait_stat("pipes_in_use", |pipes| pipes == 0);
    }
}

/// Confirmed readers that stall keep what is in their pipes: at most three quarters of all pipes.
#[test]
fn readers_that_stall_in_mid_stream_hold_at_most_three_quarters_of_the_pipes() {
    const ALL: u64 = 32 * MIB;
    let dc = FakeDc::start(Script::source(3, ALL, Then::Close));
    let relay = start(
        &RelayConfig::simple(SECRET, dc.addr())
            .option("pipes", 4)
            .option("buffers", 4),
    );
    let stalled: Vec<_> = modes()
        .into_iter()
        .cycle()
        .take(12)
        .map(|mode| {
            let mut client = Client::connect(mode, relay.addr(), SECRET, 2);
            let mut stream = Stream::new(3);
            client.reader.expect_stream(&mut stream, 2 * MIB);
            (client, stream)
        })
        .collect();
    relay.wait_still("bytes_down");
    // The last quarter is for sessions that drain, and no block waits for a reader.
    relay.wait_stat("pipes_in_use", |pipes| pipes <= 3);
    relay.wait_stat("buffers_in_use", |blocks| blocks == 0);
    downloads(relay.addr(), 3, ALL);
    for (mut client, mut stream) in stalled {
        assert_eq!(
            client.reader.stream_to_end(&mut stream),
            (ALL - 2 * MIB, End::Eof)
        );
    }
    assert_eq!(relay.wait_closes(16).len(), 16);
    relay.wait_stat("pipes_in_use", |pipes| pipes == 0);
    relay.wait_stat("buffers_in_use", |blocks| blocks == 0);
}

/// A partial write leaves bytes that were already encrypted: both ciphers and the TLS records continue at the right byte.
#[test]
fn a_dc_that_reads_slowly_gets_every_byte() {
    const ALL: u64 = 6 * MIB;
    let dc = FakeDc::start(Script::Both {
        send: Payload::new(4, 1),
        expect: Some(Payload::new(5, ALL)),
    });
    // It reads a little at a time, so that the relay's socket towards it is full again and again.
    dc.set_pace(Pace {
        chunk: Some(3_000),
        ..Pace::default()
    });
    for size in [1024, 16_384, 65_536] {
        let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("buffer_size", size));
        for mode in modes() {
            let sessions = dc.count();
            let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
            client
                .writer
                .send_stream(&mut Stream::new(5), ALL)
                .expect("the upload goes out");
            client.finish().expect("the end goes out");
            dc.wait_ended(sessions + 1)[sessions].assert_upload();
        }
    }
}

/// A reset session returns its pipe, and its close reason names the side that reset it.
#[test]
fn a_reset_in_mid_splice_frees_the_pipe() {
    let dc = FakeDc::start(Script::source(6, 64 * MIB, Then::Stay));
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("pipes", 4));
    for (index, mode) in modes().into_iter().enumerate() {
        let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
        client.reader.expect_stream(&mut Stream::new(6), 2 * MIB);
        relay.wait_still("bytes_down");
        client.reset();
        let close = relay.wait_closes(index + 1).pop().expect("there are some");
        assert_eq!(close.reason, "client_reset", "{mode:?} {}", close.line);
        relay.wait_stat("pipes_in_use", |pipes| pipes == 0);
    }
}

/// The kernel would let the receive buffer of an upload grow to tens of megabytes; a nearby client needs none of that.
#[test]
fn an_upload_that_the_dc_does_not_read_waits_in_the_client_s_socket() {
    const ALL: u64 = 32 * MIB;
    let mut waited = Vec::new();
    for mode in modes() {
        let dc = FakeDc::start(Script::Play(vec![
            Step::Read(4 * MIB),
            Step::Gate,
            Step::ReadToEnd,
        ]));
        let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
        let client = Client::connect(mode, relay.addr(), SECRET, 2);
        let addr = client.raw().local_addr().expect("it is connected");
        let (_reader, mut writer) = client.split();
        thread::scope(|scope| {
            scope.spawn(move || {
                let sent = writer.send_stream(&mut Stream::new(8), ALL);
                sent.expect("the upload goes out");
            });
            dc.wait_received(0, 4 * MIB);
            relay.wait_still("bytes_up");
            waited.push(receive_queues_from(addr).iter().sum::<u64>());
            dc.open_gate();
            dc.wait_received(0, ALL);
        });
    }
    // On a busy machine even a client in here may seem to be far away.
    waited.sort_unstable();
    assert!(waited[2] <= MIB / 2, "{waited:?}");
}

/// `socket_memory_mb` is shared: more sessions, smaller socket buffers for each.
#[test]
fn socket_buffers_shrink_as_sessions_grow() {
    const ALL: u64 = 4 * MIB;
    let dc = FakeDc::start(Script::source(7, ALL, Then::Close));
    let config = RelayConfig::simple(SECRET, dc.addr())
        .option("socket_memory_mb", 4)
        .option("notsent_lowat", 0);
    let relay = start(&config);
    let clients: Vec<_> = (0..16)
        .map(|_| Client::connect(Mode::Dd, relay.addr(), SECRET, 2))
        .collect();
    let sent = relay.wait_still("bytes_down");
    // Each client's own socket takes up to 256 KiB unread, and the relay's no more than its share: 4 MiB in all.
    assert!(sent < 16 * 256 * 1024 + 4 * MIB, "{sent} bytes wait");
    for mut client in clients {
        assert_eq!(client.reader.stream_to_end(&mut Stream::new(7)), (ALL, End::Eof));
    }
}

#[test]
fn a_congestion_control_that_the_kernel_lacks_is_a_warning() {
    let dc = FakeDc::start(Script::ResPq);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("congestion", "nosuch"));
    relay.wait_log("congestion 'nosuch'");
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    client.req_pq().expect("the DC answers");
}
