//! The first request: a DC connection that is lost before its first answer is replaced, unnoticed by the client.

use crate::{SECRET, modes, start};
use mtrelay_test_support::client::{End, HeaderShape, Shape};
use mtrelay_test_support::clock::SetOnDrop;
use mtrelay_test_support::fake_dc::{Connection, Step};
use mtrelay_test_support::tcp::RefusedPort;
use mtrelay_test_support::{Client, FakeDc, Mode, Relay, RelayConfig, Script};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A configuration with these addresses of DC 2, in this order, and an answer timeout of 1 s.
fn config_with(addresses: &[SocketAddr]) -> RelayConfig {
    RelayConfig::simple(SECRET, addresses[0])
        .dc(2, addresses)
        .option("answer_timeout", 1)
}

/// Reads this many bytes of the first request, then closes or resets the connection.
fn abrupt_close(read: u64, then: Step) -> Script {
    Script::Play(vec![Step::Read(read), then])
}

fn counts(relay: &Relay) -> [u64; 4] {
    ["created", "active", "dc_closed"]
        .map(|name| relay.stat(&format!("direct_dc_connections_{name}")))
        .iter()
        .copied()
        .chain([relay.stat("direct_dc_retries")])
        .collect::<Vec<_>>()
        .try_into()
        .expect("four")
}

/// Both connections carried the same request, each with keys of its own.
fn assert_same_request(one: &Connection, other: &Connection) {
    let (first, second) = (one.header.expect("a header"), other.header.expect("a header"));
    assert_eq!((first.tag, first.dc), (second.tag, second.dc));
    assert_eq!(one.head, other.head[..one.head.len()]);
    assert_ne!(first.raw[..8], second.raw[..8]);
    assert_ne!(first.raw[8..56], second.raw[8..56], "the same keys twice");
}

#[test]
fn a_dc_that_closes_without_an_answer_is_replaced_at_once() {
    for end in [Step::Close, Step::Reset] {
        for fast_mode in [true, false] {
            let bad = FakeDc::start(abrupt_close(40, end.clone()));
            let good = FakeDc::start(Script::ResPq);
            for (at, mode) in modes().into_iter().enumerate() {
                let config = config_with(&[bad.addr(), good.addr()]).option("log_level", "debug");
                let relay = start(&config.fast_mode(fast_mode));
                let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
                client.req_pq().expect("the other address answers");
                let waits = relay.log_lines().iter().any(|line| line.contains("again in"));
                assert!(!waits, "at once: {mode:?}");
                client.req_pq().expect("and goes on answering");
                assert_eq!(counts(&relay), [2, 1, 1, 1], "{mode:?} {end:?}");
                assert_same_request(
                    &bad.wait_headers(at + 1)[at],
                    &good.wait_headers(2 * at + 1)[2 * at],
                );
                let mut second = Client::connect(mode, relay.addr(), SECRET, 2);
                second.req_pq().expect("the good address goes first now");
                assert_eq!(counts(&relay), [3, 2, 1, 1]);
            }
        }
    }
}

#[test]
fn a_dc_that_closes_before_the_request_is_replaced() {
    let bad = FakeDc::start(Script::Play(vec![Step::Reset]));
    let good = FakeDc::start(Script::ResPq);
    for mode in modes() {
        let relay = start(&config_with(&[bad.addr(), good.addr()]));
        let mut client = Client::connect(mode, relay.addr(), SECRET, 2);
        relay.wait_stat("direct_dc_retries", |retries| retries == 1);
        client.req_pq().expect("the other address answers");
        assert_eq!(counts(&relay), [2, 1, 1, 1]);
    }
}

#[test]
fn a_silent_dc_is_replaced_once_after_answer_timeout() {
    let silent = FakeDc::start(Script::Silent);
    let good = FakeDc::start(Script::ResPq);
    for mode in modes() {
        let relay = start(&config_with(&[silent.addr(), good.addr()]));
        let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
        let begun = Instant::now();
        client.req_pq().expect("the other address answers");
        let took = begun.elapsed();
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(4)).contains(&took),
            "{took:?}"
        );
        assert_eq!(counts(&relay), [2, 1, 0, 1]);
        let mut second = Client::connect(mode, relay.addr(), SECRET, 2);
        second.req_pq().expect("the good address goes first now");
        assert_eq!(counts(&relay), [3, 2, 0, 1]);
    }
}

#[test]
fn a_handshake_without_a_request_starts_no_answer_timeout() {
    let silent = FakeDc::start(Script::Silent);
    let other = FakeDc::start(Script::ResPq);
    let relay = start(&config_with(&[silent.addr(), other.addr()]));
    for mode in modes() {
        let client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
        let silent = client.is_silent(Duration::from_millis(1500));
        assert!(silent.expect("the socket works"), "{mode:?}");
    }
    assert_eq!((other.count(), relay.stat("direct_dc_retries")), (0, 0));
}

#[test]
fn answer_timeout_starts_with_a_whole_frame_and_again_with_each_later_byte() {
    let silent = FakeDc::start(Script::Silent);
    let other = FakeDc::start(Script::Echo);
    let relay = start(&config_with(&[silent.addr(), other.addr()]));
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    let quiet = |client: &Client, millis| client.is_silent(Duration::from_millis(millis)).expect("it works");
    let frame = [&60_u32.to_le_bytes()[..], &[7; 60]].concat();
    client.send(&frame[..40]).expect("it goes out");
    assert!(quiet(&client, 1300), "no whole frame, no wait");
    client.send(&frame[40..]).expect("it goes out");
    for _ in 0..3 {
        assert!(quiet(&client, 600));
        client.send(&[1]).expect("it goes out");
    }
    assert_eq!(relay.stat("direct_dc_retries"), 0);
    let answer = client.recv_exact(67).expect("the other one echoes all of it");
    assert_eq!((&answer[..64], &answer[64..]), (&frame[..], &[1, 1, 1][..]));
    assert_eq!(counts(&relay), [2, 1, 0, 1]);
}

#[test]
fn the_last_address_has_no_answer_timeout() {
    let play = |answer: u8| Script::Play(vec![Step::Read(8), Step::Gate, Step::Send(vec![answer])]);
    let (first, last) = (FakeDc::start(play(1)), FakeDc::start(play(2)));
    let relay = start(&config_with(&[first.addr(), last.addr()]));
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    client.send(&[4, 0, 0, 0, 9, 9, 9, 9]).expect("it goes out");
    relay.wait_stat("direct_dc_retries", |retries| retries == 1);
    assert!(client.is_silent(Duration::from_millis(2500)).expect("it works"));
    assert_eq!(counts(&relay), [2, 1, 0, 1]);
    last.open_gate();
    assert_eq!(client.recv_exact(1).expect("it lives"), [2]);
    first.open_gate();
    first.wait_ended(1);
    drop(client);
    assert_eq!(relay.wait_closes(1)[0].reason, "client_closed");
}

#[test]
fn the_last_address_is_asked_again_when_it_closes_after_its_silence() {
    let dc = FakeDc::start(Script::Echo);
    dc.set_script_of(0, Script::Play(vec![Step::Read(8), Step::Gate, Step::Reset]));
    let relay = start(&config_with(&[dc.addr()]));
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    client.send(&[4, 0, 0, 0, 9, 9, 9, 9]).expect("it goes out");
    assert!(client.is_silent(Duration::from_millis(1500)).expect("it works"));
    assert_eq!(counts(&relay), [1, 1, 0, 0]);
    dc.open_gate();
    assert_eq!(
        client.recv_exact(8).expect("it is echoed"),
        [4, 0, 0, 0, 9, 9, 9, 9]
    );
    assert_eq!(counts(&relay), [2, 1, 1, 1]);
}

#[test]
fn a_kept_request_does_not_hold_the_only_block() {
    let (silent, dc) = (FakeDc::start(Script::Silent), FakeDc::start(Script::Echo));
    let config = RelayConfig::simple(SECRET, dc.addr()).dc(2, &[silent.addr()]);
    let relay = start(&config.option("buffers", 1).fast_mode(false));
    let mut waiting = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    waiting.send_frame(&[1; 40]).expect("it goes out");
    silent.wait_received(0, 44);
    for mode in modes() {
        let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 4);
        client.send(&[2; 100_000]).expect("it goes out");
        let echo = client.recv_exact(100_000).expect("it is echoed");
        assert!(echo == [2; 100_000], "{mode:?}");
    }
}

#[test]
fn a_transport_error_is_an_answer() {
    let busy = FakeDc::start(Script::TransportError(-429));
    let other = FakeDc::start(Script::ResPq);
    for mode in modes() {
        let relay = start(&config_with(&[busy.addr(), other.addr()]));
        let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
        client.send_frame(&[1; 40]).expect("it goes out");
        let frame = client.recv_frame().expect("the error arrives");
        assert_eq!(frame[..4], (-429_i32).to_le_bytes(), "{mode:?}");
        assert_eq!(client.recv_to_end(), (Vec::new(), End::Eof));
        drop(client);
        assert_eq!(relay.wait_closes(1)[0].reason, "dc_closed");
        assert_eq!(counts(&relay), [1, 0, 1, 0]);
    }
    assert_eq!(other.count(), 0);
}

#[test]
fn one_address_is_asked_four_times_with_growing_pauses() {
    for (end, reason) in [(Step::Close, "dc_closed"), (Step::Reset, "dc_reset")] {
        let bad = FakeDc::start(abrupt_close(40, end));
        let relay = start(&config_with(&[bad.addr()]));
        let mut client = Client::connect(Mode::ee("example.org"), relay.addr(), SECRET, 2);
        let begun = Instant::now();
        client.send_frame(&[1; 40]).expect("it goes out");
        let (bytes, client_end) = client.recv_to_end();
        let took = begun.elapsed();
        assert!(bytes.is_empty());
        let expected = if reason == "dc_reset" {
            End::Reset
        } else {
            End::Eof
        };
        assert_eq!(client_end, expected);
        // 200, 400 and 800 ms, each up to a quarter less.
        let pauses = Duration::from_millis(1050)..Duration::from_secs(6);
        assert!(pauses.contains(&took), "{took:?}");
        let close = relay.wait_closes(1).remove(0);
        assert_eq!((close.reason.as_str(), close.by.as_str()), (reason, "dc"));
        assert_eq!(counts(&relay), [4, 0, 4, 3]);
    }
}

#[test]
fn a_refusal_everywhere_after_a_loss_ends_the_session_at_once() {
    let bad = FakeDc::start(abrupt_close(40, Step::Close));
    let refused = RefusedPort::new();
    let relay = start(&config_with(&[bad.addr(), refused.addr()]));
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    bad.wait_connections(1);
    bad.set_script(Script::Refuse);
    client.send_frame(&[1; 40]).expect("it goes out");
    client.recv_to_end();
    assert_eq!(relay.wait_closes(1)[0].reason, "connect_failed");
}

#[test]
fn a_request_larger_than_a_block_is_not_sent_again() {
    let dc = FakeDc::start(Script::ResetAt(100_000));
    let relay = start(&config_with(&[dc.addr()]).option("buffer_size", 4096));
    for mode in modes() {
        let client = Client::connect(mode, relay.addr(), SECRET, 2);
        let (mut reader, mut writer) = client.split();
        // The reset may come before all of it is written.
        let _ = writer.send(&vec![3; 200_000]);
        assert_eq!(reader.recv_to_end().1, End::Reset, "{:?}", relay.wait_closes(1));
    }
    assert_eq!(relay.wait_closes(4)[0].reason, "dc_reset");
    assert_eq!(counts(&relay), [4, 0, 4, 0]);
}

#[test]
fn a_request_that_fits_into_a_block_is_sent_again_whole() {
    for len in [1, 100, 1_000, 1_024, 1_025, 16_000, 16_384] {
        let bad = FakeDc::start(abrupt_close(len, Step::Reset));
        let good = FakeDc::start(Script::Echo);
        let relay = start(&config_with(&[bad.addr(), good.addr()]));
        for mode in modes() {
            // Written in one piece with the header: the reset must not come before the client has said it all.
            let shape = Shape {
                header: HeaderShape::WithData,
                ..Shape::default()
            };
            let client = Client::builder(mode.clone(), relay.addr(), SECRET, 2)
                .shape(shape)
                .connect();
            let mut client = client.expect("the relay takes it");
            let question: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            client.send(&question).expect("it goes out");
            let answer = client.recv_exact(question.len()).expect("it is echoed");
            assert!(answer == question, "{mode:?} {len}");
        }
        assert_eq!(
            relay.stat("direct_dc_retries"),
            relay.stat("direct_dc_connections_dc_closed")
        );
    }
}

#[test]
fn after_a_client_s_half_close_nothing_is_sent_again() {
    let dc = FakeDc::start(Script::Play(vec![Step::ReadToEnd, Step::Close]));
    let relay = start(&config_with(&[dc.addr()]));
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    client.send_frame(&[1; 40]).expect("it goes out");
    client.finish().expect("the end goes out");
    assert_eq!(client.recv_to_end(), (Vec::new(), End::Eof));
    relay.wait_closes(1);
    assert_eq!(counts(&relay)[3], 0);
}

#[test]
fn kept_requests_hold_at_most_a_quarter_of_the_blocks() {
    let silent = FakeDc::start(Script::Silent);
    let busy = FakeDc::start(Script::source(
        5,
        3 << 20,
        mtrelay_test_support::fake_dc::Then::Stay,
    ));
    let config = RelayConfig::simple(SECRET, busy.addr())
        .dc(2, &[silent.addr()])
        .option("buffers", 8);
    let relay = start(&config);
    let waiting: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
            client.send_frame(&[1; 3_000]).expect("it goes out");
            client
        })
        .collect();
    silent.wait_headers(100);
    let held = relay.wait_stat("buffers_held", |held| held > 0);
    assert!(held <= 2, "a quarter of the pool: {held}");
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 4);
    let mut stream = mtrelay_test_support::rng::Stream::new(5);
    client.reader.expect_stream(&mut stream, 3 << 20);
    drop(waiting);
    relay.wait_stat("buffers_held", |held| held == 0);
}

#[test]
fn a_dc_killed_under_200_sessions_leaves_none_stuck_and_counters_that_add_up() {
    let dc = FakeDc::start(Script::ResPq);
    let relay = start(&config_with(&[dc.addr()]));
    let connect = |mode: Mode| {
        let mut client = Client::connect(mode, relay.addr(), SECRET, 2);
        client.req_pq().expect("the DC answers");
        client
    };
    drop(connect(Mode::Dd));
    relay.wait_closes(1);
    let descriptors = relay.fd_count();
    let clients: Vec<Client> = (0..200).map(|at| connect(modes()[at % 4].clone())).collect();
    let addr = dc.addr();
    // Dropping it cuts all of its connections.
    drop(dc);
    for mut client in clients {
        let (bytes, end) = client.recv_to_end();
        assert!(bytes.is_empty() && matches!(end, End::Eof | End::Reset), "{end}");
    }
    relay.wait_closes(201);
    let mut late = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    late.recv_to_end();
    assert_eq!(relay.wait_closes(202)[201].reason, "connect_failed");
    let again = FakeDc::builder(Script::ResPq)
        .listen(addr)
        .start()
        .expect("its port is free");
    // Cooling does not keep it away.
    drop(connect(Mode::Dd));
    relay.wait_closes(203);
    drop(again);
    let ended: u64 = ["dc_closed", "dc_reset", "client_closed", "connect_failed"]
        .iter()
        .map(|reason| relay.stat(&format!("closes_{reason}")))
        .sum();
    assert_eq!(ended, 203);
    assert_eq!(relay.stat("direct_dc_connections_active"), 0);
    assert_eq!(
        relay.stat("direct_dc_connections_dc_closed"),
        200 + relay.stat("direct_dc_retries")
    );
    relay.wait_for("descriptors to go", |relay| {
        (relay.fd_count() <= descriptors + 4).then_some(())
    });
}

/// Memory that a session leaves behind shows after thousands; `MTRELAY_TEST_SESSIONS` asks for another number.
#[test]
fn ten_thousand_sessions_against_a_flapping_dc_leave_nothing_behind() {
    const CLIENTS: usize = 32;
    let sessions = std::env::var("MTRELAY_TEST_SESSIONS").map_or(10_000, |n| n.parse().expect("a number"));
    let dc = FakeDc::start(Script::ResPq);
    let relay = start(&config_with(&[dc.addr()]));
    let run = |count: usize| {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    for at in 0..count / CLIENTS {
                        let mode = modes()[at % 4].clone();
                        let client = Client::builder(mode, relay.addr(), SECRET, 2).connect();
                        // The flapping DC decides how it ends.
                        let _ = client.map(|mut client| client.req_pq());
                    }
                });
            }
        });
        relay.wait_stat("sessions_active", |active| active == 0);
        relay.wait_for("descriptors to go", |relay| (relay.fd_count() < 40).then_some(()));
        (relay.rss_kib(), relay.fd_count())
    };
    run(1_000);
    let (rss, descriptors) = run(1_000);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let after = std::thread::scope(|scope| {
        scope.spawn(|| {
            let scripts = [
                abrupt_close(40, Step::Reset),
                Script::ResPq,
                Script::Refuse,
                Script::ResPq,
                abrupt_close(40, Step::Close),
            ];
            for script in scripts.iter().cycle() {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                dc.set_script(script.clone());
                // A refusing port accepts none, so the wait has an end of its own.
                dc.connections_within(dc.count() + 30, Duration::from_millis(300));
            }
            dc.set_script(Script::ResPq);
        });
        let _stop = SetOnDrop(&stop);
        run(sessions)
    });
    assert!(after.1 <= descriptors + 4, "{after:?}, before {descriptors}");
    assert!(after.0 <= rss + 1024, "{after:?} KiB, before {rss}");
    let of = |name: &str| relay.stat(name);
    let sessions_in_all = of("sessions_total");
    let closes: u64 = [
        "dc_closed",
        "dc_reset",
        "client_closed",
        "client_reset",
        "connect_failed",
    ]
    .iter()
    .map(|reason| of(&format!("closes_{reason}")))
    .sum();
    assert_eq!(closes, sessions_in_all);
    assert!(
        of("direct_dc_retries") > 0 && of("connect_failures_refused") > 0,
        "it did flap"
    );
    assert_eq!(of("direct_dc_connections_active"), 0);
    assert_eq!(of("buffers_in_use"), 0);
}
