//! Admission under load: idle connections do not keep users out, a lack of descriptors ends nothing, and ended sessions free
//! their memory and descriptors.

use crate::{SECRET, modes, start};
use mtrelay_test_support::measure::watch;
use mtrelay_test_support::relay::Signal;
use mtrelay_test_support::rng::Rng;
use mtrelay_test_support::{Client, FakeDc, Mode, Relay, RelayConfig, Script};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Raises this process's descriptor limit to the hard limit: a thousand connections need it.
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit it may be raised");
}

fn session(mode: Mode, addr: SocketAddr, len: usize) {
    let mut client = Client::connect(mode, addr, SECRET, 2);
    let bytes = Rng::new(client.seed()).bytes(len);
    client.send(&bytes).expect("the relay reads");
    assert_eq!(client.recv_exact(len).expect("an echo"), bytes);
}

#[test]
fn a_user_is_served_within_a_second_beside_1000_silent_connections() {
    raise_descriptors();
    let dc = FakeDc::start(Script::Echo);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("handshake_timeout", 60));
    let silent: Vec<_> = (0..1000)
        .map(|_| TcpStream::connect(relay.addr()).expect("the relay accepts"))
        .collect();
    for mode in modes() {
        let begun = Instant::now();
        session(mode.clone(), relay.addr(), 1000);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "{mode:?} took {took:?}");
    }
    drop(silent);
    relay.wait_stat("openings_active", |active| active == 0);
    assert_eq!(relay.wait_closes(4).len(), 4);
}

#[test]
fn without_descriptors_accepting_pauses_and_sessions_and_reloads_go_on() {
    raise_descriptors();
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr()).option("handshake_timeout", 60);
    let mut relay = Relay::spawn_after("ulimit -n 64", env!("CARGO_BIN_EXE_mtrelay"), &config.to_uci());
    relay.wait_listening(config.listeners(), true);
    relay.wait_log("64 descriptors allowed");
    let addr = relay.addr();
    let mut healthy = Client::connect(Mode::Dd, addr, SECRET, 2);
    let mut echoes = |relay: &Relay| {
        healthy.send(b"still there?").expect("the relay reads");
        assert_eq!(
            healthy.recv_exact(12).expect("an echo"),
            b"still there?",
            "{:?}",
            relay.pid()
        );
    };
    // Handshakes in progress may hold only a part of the descriptors.
    let silent: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(addr).expect("the backlog has room"))
        .collect();
    session(Mode::Dd, addr, 1000);
    echoes(&relay);
    drop(silent);
    relay.wait_stat("openings_active", |active| active == 0);
    // Sessions may hold all of them.
    let mut live = Vec::new();
    while relay
        .log_lines()
        .iter()
        .all(|line| !line.contains("waiting until something is free"))
    {
        assert!(live.len() < 40, "64 descriptors are not used up");
        let builder = Client::builder(Mode::Dd, addr, SECRET, 2);
        live.push(builder.connect().expect("the backlog has room"));
        relay.wait_for("a session, or the end of descriptors", |relay| {
            let lines = relay.log_lines();
            let over = lines.iter().any(|line| line.contains("waiting until"));
            (over || dc.count() > live.len() || lines.iter().any(|line| line.contains("connect_failed")))
                .then_some(())
        });
    }
    let waiting = TcpStream::connect(addr).expect("the backlog has room");
    let cpu = relay.cpu_ticks();
    watch(Duration::from_secs(1), Duration::from_millis(20), |_| {
        echoes(&relay)
    });
    let cpu = relay.cpu_ticks() - cpu;
    assert!(cpu < 40, "{cpu} of 100 hundredths of a second: it spins");
    relay.signal(Signal::HUP);
    relay.wait_log("is in force");
    echoes(&relay);
    drop(live);
    let client = Client::builder(Mode::Dd, addr, SECRET, 2).connect_over(waiting);
    let mut client = client.expect("it is a connection");
    client.send(b"at last").expect("the relay reads");
    assert_eq!(client.recv_exact(7).expect("an echo"), b"at last");
    assert!(relay.stat("accept_pauses") > 0);
}

#[test]
fn a_burst_of_16_connections_from_one_address_passes() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr()).option("limit_lan", 1);
    let relay = start(&config);
    let addr = relay.addr();
    for _ in 0..4 {
        thread::scope(|scope| {
            for mode in modes().into_iter().cycle().take(16) {
                scope.spawn(move || session(mode, addr, 1000));
            }
        });
    }
    assert_eq!(relay.wait_closes(64).len(), 64);
    assert_eq!(relay.stat("rejects_budget"), 0);
}

#[test]
fn sessions_leave_no_descriptors_and_no_memory_behind() {
    const WAVE: usize = 100;
    raise_descriptors();
    let dc = FakeDc::start(Script::Echo);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("log_level", "info"));
    let addr = relay.addr();
    let idle = |sessions: u64| {
        relay.wait_stat("sessions_total", |total| total >= sessions);
        relay.wait_stat("sessions_active", |active| active == 0);
    };
    let waves = |count: usize| {
        for _ in 0..count {
            thread::scope(|scope| {
                for mode in modes().into_iter().cycle().take(WAVE) {
                    scope.spawn(move || session(mode, addr, 20_000));
                }
            });
        }
    };
    session(Mode::Dd, addr, 20_000);
    idle(1);
    let descriptors = relay.fd_count();
    waves(2);
    idle(201);
    let rss = relay.rss_kib();
    waves(48);
    idle(5001);
    relay.wait_for("the descriptors to be back", |relay| {
        (relay.fd_count() <= descriptors + 4).then_some(())
    });
    let mut least = u64::MAX;
    relay.wait_for(&format!("the memory to be back at {rss} KiB"), |relay| {
        least = least.min(relay.rss_kib());
        (least <= rss + 1536).then_some(())
    });
    assert_eq!(relay.stat("closes_error"), 0);
}
