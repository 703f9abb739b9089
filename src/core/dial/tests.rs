//! The dialer over loopback sockets. Order and timing are tested in `attempts`, with time as an argument.

use super::*;
use crate::close::ConnectFailure;
use crate::dc::{DcId, Table};
use crate::sys::{clock, socket};
use smol::LocalExecutor;
use smol::future::FutureExt as _;
use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Runs `test`. The dialer's background tasks run only within [`filled`] and [`idle`].
fn with_dialer<T>(options: DialOptions, test: impl AsyncFnOnce(&Rc<Dialer>) -> T) -> T {
    let executor = Rc::new(LocalExecutor::new());
    crate::reactor::block_on(test(&Dialer::new(executor, options))).unwrap()
}

fn listen() -> (TcpListener, SocketAddr) {
    listen_at((Ipv4Addr::LOCALHOST, 0).into())
}

fn listen_at(address: SocketAddr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).expect("a listener");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// An address without a listener.
fn refusing() -> SocketAddr {
    // Listeners of other tests do not take ports of this host.
    listen_at((Ipv4Addr::new(127, 77, 0, 1), 0).into()).1
}

/// An address that does not answer, because its accept queue is full. Keep the returned sockets open.
fn blackhole(address: SocketAddr) -> (TcpListener, TcpStream, SocketAddr) {
    let (listener, address) = listen_at(address);
    rustix::net::listen(&listener, 0).expect("a queue for one");
    let first = TcpStream::connect(address).expect("the one");
    (listener, first, address)
}

fn now() -> Instant {
    clock::now()
}

/// The first connection of a session.
async fn connect(
    dialer: &Rc<Dialer>,
    addresses: &[SocketAddr],
) -> (Result<Connected, DialError>, Vec<(SocketAddr, ConnectFailure)>) {
    let mut failed = Vec::new();
    let result = dialer
        .connect(
            two(),
            addresses,
            &mut RetrySchedule::default(),
            &mut |address, kind| {
                failed.push((address, kind));
            },
        )
        .await;
    (result, failed)
}

fn two() -> Option<DcId> {
    DcId::new(2)
}

#[test]
fn a_refusing_address_is_passed_over_and_remembered() {
    with_dialer(DialOptions::default(), async |dialer| {
        let (_listener, good) = listen();
        let bad = refusing();
        let (connected, failed) = connect(dialer, &[bad, good]).await;
        let connected = connected.expect("one listens");
        assert_eq!((connected.address, connected.warm), (good, false));
        assert_eq!(failed, [(bad, ConnectFailure::Refused)]);
        let report = dialer.report(bad, now());
        assert_eq!(
            (report.state, report.last_error),
            (HealthState::Cooling, Some(ConnectFailure::Refused))
        );
        assert_eq!(dialer.report(good, now()).state, HealthState::Healthy);
        let (connected, failed) = connect(dialer, &[bad, good]).await;
        assert_eq!(connected.expect("one listens").address, good);
        assert_eq!(failed, []);
    });
}

#[test]
fn where_all_refuse_it_ends_at_once_and_their_return_is_seen_at_once() {
    with_dialer(DialOptions::default(), async |dialer| {
        let all = [refusing(), refusing()];
        let (connected, failed) = connect(dialer, &all).await;
        assert_eq!(connected.expect_err("nobody listens"), DialError::Refused);
        assert_eq!(failed.len(), 2);
        let _back = listen_at(all[1]);
        let (connected, _) = connect(dialer, &all).await;
        assert_eq!(connected.expect("one is back").address, all[1]);
    });
}

#[test]
fn broken_ipv6_is_overtaken_once_and_is_no_failure() {
    with_dialer(DialOptions::default(), async |dialer| {
        let Ok(probe) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
            return;
        };
        drop(probe);
        let (_listener, _first, ipv6) = blackhole((Ipv6Addr::LOCALHOST, 0).into());
        let (_good, ipv4) = listen();
        for session in 0..2 {
            let (connected, failed) = connect(dialer, &[ipv4, ipv6]).await;
            let connected = connected.expect("IPv4 listens");
            assert_eq!(
                (connected.address, connected.ipv6_fallback, failed.len()),
                (ipv4, true, 0)
            );
            let report = dialer.report(ipv6, now());
            assert_eq!(
                (report.state, report.failures),
                (HealthState::Cooling, 1),
                "session {session}"
            );
        }
    });
}

#[test]
fn an_address_that_does_not_answer_times_out() {
    let options = DialOptions {
        connect_timeout: Some(Duration::from_millis(20)),
        ..DialOptions::default()
    };
    with_dialer(options, async |dialer| {
        let (_listener, _first, dead) = blackhole((Ipv4Addr::LOCALHOST, 0).into());
        let mut failed = Vec::new();
        let won = dialer.race(&[dead], &[], &mut |_, kind| failed.push(kind)).await;
        assert!(won.is_none());
        assert_eq!(failed, [ConnectFailure::Timeout]);
        assert_eq!(dialer.report(dead, now()).state, HealthState::Cooling);
    });
}

#[test]
fn ipv6_that_is_switched_off_is_not_tried() {
    let options = DialOptions {
        prefer_ipv6: PreferIpv6::Never,
        ..DialOptions::default()
    };
    with_dialer(options, async |dialer| {
        let address = (Ipv6Addr::LOCALHOST, 1).into();
        let (connected, failed) = connect(dialer, &[address]).await;
        assert_eq!(connected.expect_err("none is left"), DialError::NoAddress);
        assert_eq!(failed, []);
        assert!(!dialer.has_other(&[address], &RetrySchedule::default()));
    });
}

#[test]
fn an_interface_that_is_not_there_is_not_held_against_the_address() {
    let options = DialOptions {
        bind_interface: Some("no-such-device".to_owned()),
        ..DialOptions::default()
    };
    with_dialer(options, async |dialer| {
        let (_listener, address) = listen();
        let mut failed = Vec::new();
        let won = dialer
            .race(&[address], &[], &mut |_, kind| failed.push(kind))
            .await;
        assert!(won.is_none());
        assert_eq!(failed, [ConnectFailure::Other]);
        assert_eq!(dialer.report(address, now()).state, HealthState::Untried);
        assert!(dialer.warned.get());
        dialer.set_options(DialOptions::default());
        assert!(connect(dialer, &[address]).await.0.is_ok());
    });
}

#[test]
fn egress_options_work_or_say_what_is_missing() {
    let (_listener, address) = listen();
    let rows = [
        (
            Some("lo"),
            None,
            "bind_interface 'lo' needs the right CAP_NET_RAW",
        ),
        (None, Some(0x10), "fwmark 0x10 needs the right CAP_NET_ADMIN"),
    ];
    for (interface, mark, missing) in rows {
        match socket::open(address, interface, mark) {
            Ok(opened) => drop(socket::connect(opened, address).expect("lo leads there")),
            Err(error) => assert!(error.to_string().starts_with(missing), "{error}"),
        }
    }
    for name in ["no-such-device", "a-name-that-is-too-long-for-one"] {
        let error = socket::open(address, Some(name), None).expect_err("there is none");
        let text = error.to_string();
        assert!(text.starts_with(&format!("bind_interface '{name}'")), "{text}");
    }
}

#[test]
fn a_session_is_served_by_a_warm_connection_which_is_then_replaced() {
    let options = DialOptions {
        prewarm: 2,
        ..DialOptions::default()
    };
    with_dialer(options, async |dialer| {
        let (_listener, address) = listen();
        let (connected, _) = connect(dialer, &[address]).await;
        assert!(!connected.expect("it listens").warm);
        filled(dialer, 2).await;
        let mut schedule = RetrySchedule::default();
        let mut none = |_, _| {};
        let first = dialer.connect(two(), &[address], &mut schedule, &mut none).await;
        assert!(first.expect("it listens").warm);
        filled(dialer, 2).await;
        // A retry gets a connection of its own: the warm one may have been stale.
        let retry = dialer.connect(two(), &[address], &mut schedule, &mut none).await;
        assert!(!retry.expect("it listens").warm);
        let other = dialer
            .connect(DcId::new(3), &[address], &mut RetrySchedule::default(), &mut none)
            .await;
        assert!(!other.expect("it listens").warm, "each DC has its own");
    });
}

#[test]
fn warm_connections_are_closed_when_the_way_changes_or_descriptors_are_short() {
    let options = DialOptions {
        prewarm: 1,
        ..DialOptions::default()
    };
    with_dialer(options, async |dialer| {
        let (listener, address) = listen();
        connect(dialer, &[address]).await.0.expect("it listens");
        filled(dialer, 1).await;
        drop(listener.accept().expect("the session's"));
        let (mut warm, _) = listener.accept().expect("the warm one");
        dialer.forget();
        assert_eq!(dialer.warm_connections(), 0);
        assert_eq!(warm.read(&mut [0]).expect("it ends"), 0);
        connect(dialer, &[address]).await.0.expect("it listens");
        filled(dialer, 1).await;
        assert!(dialer.drop_warm());
        assert_eq!(dialer.warm_connections(), 0);
        let (connected, _) = connect(dialer, &[address]).await;
        assert!(!connected.expect("it listens").warm);
        assert!(
            !dialer
                .warm
                .borrow_mut()
                .begin_fill(two().expect("not zero"), 1, now())
        );
    });
}

#[test]
fn no_warm_connections_are_made_where_none_are_wanted_or_the_dc_fails() {
    with_dialer(DialOptions::default(), async |dialer| {
        let (_listener, address) = listen();
        connect(dialer, &[address]).await.0.expect("it listens");
        assert!(dialer.executor.is_empty(), "nothing runs in the background");
    });
    let options = DialOptions {
        prewarm: 4,
        ..DialOptions::default()
    };
    with_dialer(options, async |dialer| {
        let (listener, address) = listen();
        connect(dialer, &[address]).await.0.expect("it listens");
        drop(listener);
        idle(dialer).await;
        assert_eq!(dialer.warm_connections(), 0);
        // One attempt, and then it cools.
        assert_eq!(dialer.report(address, now()).failures, 1);
    });
}

#[test]
fn an_address_that_has_cooled_down_proves_itself_in_the_background() {
    with_dialer(DialOptions::default(), async |dialer| {
        let ((_one, good), (_other, back)) = (listen(), listen());
        let long_ago = now().checked_sub(Duration::from_secs(10)).expect("it ran then");
        dialer
            .health
            .borrow_mut()
            .handle_failure(back, AddressFailure::Overtaken, long_ago, 0);
        assert_eq!(dialer.report(back, now()).state, HealthState::Probation);
        let (connected, _) = connect(dialer, &[back, good]).await;
        assert_eq!(connected.expect("both listen").address, good);
        idle(dialer).await;
        assert_eq!(dialer.report(back, now()).state, HealthState::Healthy);
    });
}

#[test]
fn a_silent_address_is_suspected_until_it_answers_but_a_stale_connection_is_not_its_fault() {
    with_dialer(DialOptions::default(), async |dialer| {
        let ((_one, silent), (_other, good)) = (listen(), listen());
        let mut schedule = RetrySchedule::default();
        let all = [silent, good];
        let mut none = |_, _| {};
        let first = dialer.connect(None, &all, &mut schedule, &mut none).await;
        assert_eq!(first.expect("it listens").address, silent);
        dialer.suspect(silent, true);
        assert_eq!(dialer.report(silent, now()).state, HealthState::Healthy);
        dialer.suspect(silent, false);
        assert_eq!(dialer.report(silent, now()).state, HealthState::Cooling);
        assert!(dialer.has_other(&all, &schedule));
        let next = dialer.connect(None, &all, &mut schedule, &mut none).await;
        assert_eq!(next.expect("it listens").address, good);
        assert!(!dialer.has_other(&all, &schedule));
        dialer.answered(silent);
        assert_eq!(dialer.report(silent, now()).state, HealthState::Healthy);
    });
}

#[test]
fn a_reload_forgets_addresses_that_vanished() {
    with_dialer(DialOptions::default(), async |dialer| {
        let ((_one, kept), (_other, gone)) = (listen(), listen());
        for address in [kept, gone] {
            connect(dialer, &[address]).await.0.expect("it listens");
        }
        let mut table = Table::built_in();
        table.set(two().expect("not zero"), vec![kept]);
        dialer.retain(&table);
        assert_eq!(dialer.report(kept, now()).state, HealthState::Healthy);
        assert_eq!(dialer.report(gone, now()).state, HealthState::Untried);
    });
}

#[test]
fn a_dialing_that_nobody_waits_for_is_not_held_against_the_address() {
    with_dialer(DialOptions::default(), async |dialer| {
        let (_listener, _first, dead) = blackhole((Ipv4Addr::LOCALHOST, 0).into());
        let gone = async { Err(DialError::Exhausted) };
        let dialing = async { connect(dialer, &[dead]).await.0 };
        assert!(dialing.or(gone).await.is_err());
        assert_eq!(dialer.report(dead, now()).state, HealthState::Untried);
    });
}

#[test]
fn the_future_is_small() {
    with_dialer(DialOptions::default(), async |dialer| {
        let (mut schedule, mut none) = (RetrySchedule::default(), |_, _| {});
        let future = dialer.connect(two(), &[], &mut schedule, &mut none);
        assert!(size_of_val(&future) <= 256, "{} bytes", size_of_val(&future));
    });
}

/// Waits until exactly `count` prewarmed connections exist.
async fn filled(dialer: &Rc<Dialer>, count: usize) {
    while dialer.warm_connections() < count {
        dialer.executor.tick().await;
    }
    assert_eq!(dialer.warm_connections(), count);
}

/// Waits until no background task is left.
async fn idle(dialer: &Rc<Dialer>) {
    while !dialer.executor.is_empty() {
        dialer.executor.tick().await;
    }
}
