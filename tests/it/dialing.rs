//! Dialing on a host of the test's own, with dead, refusing, resetting and silent addresses: how long a session waits, and what
//! the next one does. `make dialing` prints the table of docs/dialing.md: the same scenarios beside a sequential dialer.

use crate::{SECRET, start};
use mtrelay_test_support::fake_dc::Step;
use mtrelay_test_support::measure::attempts;
use mtrelay_test_support::netns::{Host, on_own_host};
use mtrelay_test_support::{Client, FakeDc, Mode, Relay, RelayConfig, Script, Tag};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const PORT: u16 = 4430;
const LIVE4: &str = "192.0.2.1";
const LIVE6: &str = "2001:db8::1";
const HOLES4: [&str; 3] = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
const HOLES6: [&str; 3] = ["2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::3"];
const REFUSING: &str = "192.0.2.2";
const RESETTING: &str = "192.0.2.3";
const SILENT: &str = "192.0.2.4";
const ROUTELESS: &str = "203.0.113.1";

/// What scheduling may add to a time.
const SLACK: Duration = Duration::from_millis(150);

/// A scenario: its name, its addresses, and how long the first session may wait for its answer.
type Scenario = (&'static str, &'static [&'static str], Duration);

const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

const SCENARIOS: [Scenario; 12] = [
    ("healthy", &[LIVE4], Duration::ZERO),
    (
        "IPv6 drops everything, IPv4 works",
        &[HOLES6[0], LIVE4],
        Duration::from_millis(250),
    ),
    (
        "IPv4 drops everything, IPv6 works",
        &[HOLES4[0], LIVE6],
        Duration::ZERO,
    ),
    (
        "all of IPv6 drops, the second IPv4 works",
        &[HOLES6[0], HOLES6[1], HOLES4[0], LIVE4],
        Duration::from_millis(750),
    ),
    (
        "one dead, the second works",
        &[HOLES4[0], LIVE4],
        Duration::from_millis(250),
    ),
    (
        "three dead, the fourth works",
        &[HOLES4[0], HOLES4[1], HOLES4[2], LIVE4],
        Duration::from_millis(750),
    ),
    (
        "one refuses, the second works",
        &[REFUSING, LIVE4],
        Duration::ZERO,
    ),
    (
        "one accepts and resets, the second works",
        &[RESETTING, LIVE4],
        Duration::ZERO,
    ),
    (
        "one accepts and is silent, the second works",
        &[SILENT, LIVE4],
        ANSWER_TIMEOUT,
    ),
    (
        "dead, refusing, resetting, silent, working",
        &[HOLES4[0], REFUSING, RESETTING, SILENT, LIVE4],
        Duration::from_millis(1250),
    ),
    (
        "a host with IPv6 alone: no way to IPv4",
        &[ROUTELESS, LIVE6],
        Duration::ZERO,
    ),
    (
        "no way to the first, the second works",
        &[ROUTELESS, LIVE4],
        Duration::ZERO,
    ),
];

fn socket(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), PORT)
}

fn sockets(addresses: &[&str]) -> Vec<SocketAddr> {
    addresses.iter().map(|address| socket(address)).collect()
}

/// The data centres of all scenarios.
fn dcs(host: &Host) -> Vec<FakeDc> {
    for address in [LIVE4, REFUSING, RESETTING, SILENT] {
        host.address(&format!("{address}/32"));
    }
    host.address(&format!("{LIVE6}/128"));
    host.black_hole(&[&HOLES4[..], &HOLES6[..]].concat());
    let dc = |script, addresses: &[&str]| {
        let builder = addresses
            .iter()
            .fold(FakeDc::builder(script), |builder, address| {
                builder.listen(socket(address))
            });
        builder.start().expect("the host has these addresses")
    };
    vec![
        dc(Script::ResPq, &[LIVE4, LIVE6]),
        dc(Script::Play(vec![Step::Read(40), Step::Reset]), &[RESETTING]),
        dc(Script::Silent, &[SILENT]),
    ]
}

fn relay(addresses: &[&str]) -> Relay {
    let addresses = sockets(addresses);
    let mut config =
        RelayConfig::simple(SECRET, addresses[0]).option("answer_timeout", ANSWER_TIMEOUT.as_secs());
    for id in 1..=5 {
        config = config.dc(id, &addresses);
    }
    start(&config.option("log_level", "debug"))
}

/// How long a new session waits for its first answer.
fn session(relay: &Relay, dc: i16) -> Duration {
    let begun = Instant::now();
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, dc);
    client.req_pq().expect("a DC answers");
    begun.elapsed()
}

/// The median first-answer time of five sessions.
fn sessions(relay: &Relay, dc: i16) -> Duration {
    let mut times: Vec<Duration> = (0..5).map(|_| session(relay, dc)).collect();
    times.sort();
    times[2]
}

fn connects(relay: &Relay) -> usize {
    relay
        .log_lines()
        .iter()
        .filter(|line| line.contains(" begun at "))
        .count()
}

#[test]
fn a_bad_address_delays_only_the_first_session() {
    on_own_host(|host| {
        let _dcs = dcs(host);
        let healthy = relay(&[LIVE4]);
        for (name, addresses, cold) in SCENARIOS {
            // Upper bounds of 150 ms and of 20 %: other tests run on the same processors and may delay a session by more.
            let relay = attempts(
                &format!("{name}: first session within {:?}", cold + SLACK),
                8,
                || {
                    let relay = relay(addresses);
                    let took = session(&relay, 2);
                    assert!(took >= cold, "{name}: {took:?} of {cold:?}");
                    if took < cold + SLACK {
                        Ok(relay)
                    } else {
                        Err(format!("{took:?}"))
                    }
                },
            );
            // All these DCs have the same addresses: what one session found out holds for the others.
            for dc in [2, -2, 1, 5] {
                attempts(
                    &format!("{name}, DC {dc}: as fast as a healthy address"),
                    8,
                    || {
                        let (next, healthy) = (sessions(&relay, dc), sessions(&healthy, 2));
                        let good = next <= healthy.mul_f64(1.2) + Duration::from_millis(1);
                        if good {
                            Ok(())
                        } else {
                            Err(format!("{next:?}, healthy {healthy:?}"))
                        }
                    },
                );
            }
        }
    });
}

#[test]
fn without_a_route_the_session_fails_as_unreachable_without_spinning_and_the_route_s_return_is_noticed() {
    on_own_host(|host| {
        let _dcs = dcs(host);
        let unreachable = "192.0.2.77";
        let relay = relay(&[unreachable, ROUTELESS, HOLES6[2]]);
        host.ip(&format!("-6 route del {}/128 dev hole", HOLES6[2]));
        let (cpu, begun) = (relay.cpu_ticks(), Instant::now());
        let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
        client.send_frame(&[1; 40]).expect("it goes out");
        client.recv_to_end();
        let close = relay.wait_closes(1).remove(0);
        assert_eq!(
            (close.reason.as_str(), close.addr.as_str()),
            ("connect_failed", "-")
        );
        assert!(
            begun.elapsed() > Duration::from_secs(1),
            "there is time for the way to come back"
        );
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert!(relay.cpu_ticks() - cpu <= 10, "it does not spin");
        let failed = relay.stat("connect_failures_unreachable");
        assert_eq!(failed, relay.stat("direct_dc_connections_failed"));
        assert_eq!(failed, 3 * 4, "three addresses in four rounds");
        // The way comes back while the address is still cooling.
        host.address(&format!("{unreachable}/32"));
        let _dc = FakeDc::builder(Script::ResPq)
            .listen(socket(unreachable))
            .start()
            .expect("the host has it now");
        let took = session(&relay, 2);
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}

#[test]
fn a_session_waits_for_a_route_that_returns() {
    on_own_host(|host| {
        let _dcs = dcs(host);
        let gone = "192.0.2.77";
        let relay = relay(&[gone]);
        let mut client = Client::connect(Mode::ee("example.org"), relay.addr(), SECRET, 2);
        client.send_frame(&[1; 40]).expect("it goes out");
        relay.wait_log("again in");
        host.address(&format!("{gone}/32"));
        let dc = FakeDc::builder(Script::Echo)
            .listen(socket(gone))
            .start()
            .expect("the host has it now");
        assert_eq!(client.recv_frame().expect("it is echoed")[..40], [1; 40]);
        assert_eq!(dc.count(), 1);
    });
}

/// The DC's host disappears in the middle of a session, without a FIN or RST. Takes five minutes: `make test-slow`.
#[test]
#[ignore = "takes five minutes"]
fn a_dc_that_vanishes_ends_its_session_as_dc_timeout() {
    on_own_host(|host| {
        let gone = "192.0.2.88";
        host.address(&format!("{gone}/32"));
        let _dc = FakeDc::builder(Script::Echo)
            .listen(socket(gone))
            .start()
            .expect("the host has it");
        let relay = relay(&[gone]);
        let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
        client.send_frame(&[1; 40]).expect("it goes out");
        client.recv_frame().expect("it is echoed");
        host.black_hole(&[gone]);
        host.ip(&format!("addr del {gone}/32 dev lo"));
        let begun = Instant::now();
        client.send_frame(&[2; 40]).expect("it goes out");
        let close = relay.wait_closes(1).remove(0);
        let took = begun.elapsed();
        assert_eq!(close.reason, "dc_timeout", "{}", close.line);
        assert!(took > Duration::from_secs(290), "{took:?}");
        assert_eq!(relay.stat("dc_2_dc_timeouts"), 1);
    });
}

/// A sequential dialer, as other relays have: the addresses one after another with a connect timeout each, from the first one
/// again in each session, and then waiting for the answer.
fn sequential(addresses: &[&str]) -> (Option<Duration>, usize) {
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    const PATIENCE: Duration = Duration::from_secs(10);
    let begun = Instant::now();
    let mut attempts = 0;
    for address in sockets(addresses) {
        attempts += 1;
        let Ok(connection) = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) else {
            continue;
        };
        drop(connection);
        let mut direct = Client::direct(address, Tag::PADDED, 2);
        direct
            .raw()
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket takes it");
        let answered = direct.req_pq().is_ok();
        return (answered.then(|| begun.elapsed()), attempts);
    }
    (None, attempts)
}

#[test]
#[ignore = "a table for people: `make dialing`"]
#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn dialing_table() {
    let shown = |took: Option<Duration>| match took {
        Some(took) => format!("{} ms", took.as_millis()),
        None => "never".to_owned(),
    };
    on_own_host(|host| {
        let _dcs = dcs(host);
        println!(
            "| addresses | first session | attempts | next session | attempts | one after another | attempts | next | attempts |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for (name, addresses, _) in SCENARIOS {
            let relay = relay(addresses);
            let first = session(&relay, 2);
            let first_attempts = connects(&relay);
            let next = session(&relay, 2);
            let next_attempts = connects(&relay) - first_attempts;
            let (plain, plain_attempts) = sequential(addresses);
            let (plain_next, plain_next_attempts) = sequential(addresses);
            println!(
                "| {name} | {} | {first_attempts} | {} | {next_attempts} | {} | {plain_attempts} | {} | {plain_next_attempts} |",
                shown(Some(first)),
                shown(Some(next)),
                shown(plain),
                shown(plain_next),
            );
        }
    });
}
