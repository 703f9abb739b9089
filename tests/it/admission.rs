//! Crowds: silent strangers do not shut an honest client out, and many sessions leave nothing behind.

use crate::{SECRET, modes, start};
use mtrelay_test_support::rng::Rng;
use mtrelay_test_support::{Client, FakeDc, Mode, RelayConfig, Script};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Room for a thousand connections of our own, as far as the hard limit goes.
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
fn honest_client_is_served_within_a_second_beside_1000_silent_strangers() {
    raise_descriptors();
    let dc = FakeDc::start(Script::Echo);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("handshake_timeout", 60));
    let strangers: Vec<_> = (0..1000)
        .map(|_| TcpStream::connect(relay.addr()).expect("the relay accepts"))
        .collect();
    for mode in modes() {
        let begun = Instant::now();
        session(mode.clone(), relay.addr(), 1000);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "{mode:?} took {took:?}");
    }
    drop(strangers);
    relay.wait_stat("openings_active", |active| active == 0);
    assert_eq!(relay.wait_closes(4).len(), 4);
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
    assert_eq!(relay.stat("close_error"), 0);
}
