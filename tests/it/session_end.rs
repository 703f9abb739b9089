//! The end of a session: no byte is lost, half-close and reset are passed on, and there is exactly one close reason.

use crate::{SECRET, modes, start};
use mtrelay_test_support::client::End;
use mtrelay_test_support::rng::Stream;
use mtrelay_test_support::tcp::RefusedPort;
use mtrelay_test_support::{Client, FakeDc, Mode, Payload, RelayConfig, Script, Then};
use std::time::{Duration, Instant};

const SEED: u64 = 77;
const SIZES: [u64; 4] = [1, 1_000, 65_536, 1_048_576];

#[test]
fn what_a_dc_sends_before_it_closes_arrives() {
    for fast_mode in [true, false] {
        let dc = FakeDc::start(Script::Silent);
        let relay = start(&RelayConfig::simple(SECRET, dc.addr()).fast_mode(fast_mode));
        let mut sessions = 0;
        for mode in modes() {
            for size in SIZES {
                dc.set_script(Script::source(SEED, size, Then::Close));
                let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
                let came = client.reader.stream_to_end(&mut Stream::new(SEED));
                assert_eq!(came, (size, End::Eof), "{mode:?}, fast mode {fast_mode}");
                drop(client);
                sessions += 1;
                let close = relay.wait_closes(sessions).pop().expect("there are some");
                assert_eq!(
                    (close.reason.as_str(), close.by.as_str()),
                    ("dc_closed", "dc"),
                    "{}",
                    close.line
                );
                assert_eq!(close.down, size, "{}", close.line);
            }
        }
        assert_eq!(relay.stat("direct_dc_connections_dc_closed"), sessions as u64);
        assert_eq!(relay.stat("direct_dc_connections_active"), 0);
    }
}

#[test]
fn what_a_client_sends_before_it_ends_arrives() {
    let dc = FakeDc::start(Script::Silent);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    let mut sessions = 0;
    for mode in modes() {
        for size in SIZES {
            dc.set_script(Script::sink(SEED, size));
            let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
            client
                .writer
                .send_stream(&mut Stream::new(SEED), size)
                .expect("the upload goes out");
            client.finish().expect("the end goes out");
            let (digest, end) = client.recv_to_end();
            assert_eq!(
                (digest.len(), end),
                (40, End::Eof),
                "the DC's answer comes after our end"
            );
            sessions += 1;
            dc.wait_ended(sessions)[sessions - 1].assert_upload();
            let close = relay.wait_closes(sessions).pop().expect("there are some");
            assert_eq!(
                (close.reason.as_str(), close.up),
                ("client_closed", size),
                "{}",
                close.line
            );
        }
    }
}

#[test]
fn client_eof_keeps_download_open() {
    let size = 4 << 20;
    let dc = FakeDc::start(Script::Play(vec![
        mtrelay_test_support::fake_dc::Step::ReadToEnd,
        mtrelay_test_support::fake_dc::Step::Stream(Payload::new(SEED, size)),
        mtrelay_test_support::fake_dc::Step::Close,
    ]));
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    for mode in modes() {
        let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, -4);
        client.send(b"a question").expect("it goes out");
        client.finish().expect("the end goes out");
        assert_eq!(
            client.reader.stream_to_end(&mut Stream::new(SEED)),
            (size, End::Eof),
            "{mode:?}"
        );
    }
}

#[test]
fn dc_eof_keeps_upload_open() {
    let size = 4 << 20;
    let dc = FakeDc::start(Script::HalfCloseFirst {
        payload: Payload::new(SEED, 1_000),
        expect: Some(Payload::new(SEED, size)),
    });
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    for (index, mode) in modes().into_iter().enumerate() {
        let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 4);
        assert_eq!(
            client.reader.stream_to_end(&mut Stream::new(SEED)),
            (1_000, End::Eof),
            "{mode:?}"
        );
        client
            .writer
            .send_stream(&mut Stream::new(SEED), size)
            .expect("the upload goes on");
        client.finish().expect("the end goes out");
        dc.wait_ended(index + 1)[index].assert_upload();
    }
}

#[test]
fn a_dc_reset_in_mid_stream_reaches_the_client_after_what_had_arrived() {
    let dc = FakeDc::start(Script::Silent);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    for (index, mode) in modes().into_iter().enumerate() {
        dc.set_script(Script::Play(vec![
            mtrelay_test_support::fake_dc::Step::Stream(Payload::new(SEED, 100_000)),
            mtrelay_test_support::fake_dc::Step::Gate,
            mtrelay_test_support::fake_dc::Step::Reset,
        ]));
        let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
        client.reader.expect_stream(&mut Stream::new(SEED), 100_000);
        dc.open_gate();
        assert_eq!(client.recv_to_end(), (Vec::new(), End::Reset), "{mode:?}");
        let close = relay.wait_closes(index + 1).pop().expect("there are some");
        assert_eq!(
            (close.reason.as_str(), close.by.as_str()),
            ("dc_reset", "dc"),
            "{}",
            close.line
        );
    }
}

#[test]
fn a_client_reset_reaches_the_dc_after_what_had_arrived() {
    let dc = FakeDc::start(Script::Silent);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    for (index, mode) in modes().into_iter().enumerate() {
        let mut client = Client::connect(mode.clone(), relay.addr(), SECRET, 2);
        client.send(&[7; 50_000]).expect("it goes out");
        dc.wait_received(index, 50_000);
        client.reset();
        dc.wait_ended(index + 1);
        let close = relay.wait_closes(index + 1).pop().expect("there are some");
        assert_eq!(
            (close.reason.as_str(), close.by.as_str()),
            ("client_reset", "client"),
            "{}",
            close.line
        );
        assert_eq!(close.up, 50_000);
    }
}

#[test]
fn a_dc_that_refuses_on_every_address_ends_the_session_at_once() {
    let (one, other) = (RefusedPort::new(), RefusedPort::new());
    let config = RelayConfig::simple(SECRET, one.addr()).dc(3, &[one.addr(), other.addr()]);
    let relay = start(&config);
    for (index, mode) in modes().into_iter().enumerate() {
        let begun = Instant::now();
        let mut client = Client::connect(mode, relay.addr(), SECRET, 3);
        client.send(b"is anybody there?").expect("it goes out");
        let (bytes, end) = client.recv_to_end();
        assert!(bytes.is_empty() && matches!(end, End::Eof | End::Reset), "{end}");
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "told after {:?}",
            begun.elapsed()
        );
        let close = relay.wait_closes(index + 1).pop().expect("there are some");
        assert_eq!(
            (close.reason.as_str(), close.addr.as_str()),
            ("connect_failed", "-"),
            "{}",
            close.line
        );
    }
    assert_eq!(relay.stat("direct_dc_connections_failed"), 2 * 4);
    assert_eq!(relay.stat("connect_failures_refused"), 2 * 4);
    assert_eq!(relay.stat("direct_dc_connections_created"), 0);
}

#[test]
fn the_next_address_serves_when_the_first_refuses() {
    let refused = RefusedPort::new();
    let dc = FakeDc::start(Script::ResPq);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).dc(2, &[refused.addr(), dc.addr()]));
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    client.req_pq().expect("the DC answers");
    assert_eq!(relay.stat("connect_failures_refused"), 1);
}
