//! User limits: those checked when a session starts, and those that end running sessions.

use crate::{SECRET, start};
use mtrelay_test_support::client::End;
use mtrelay_test_support::relay::Signal;
use mtrelay_test_support::require::skip;
use mtrelay_test_support::tcp::connect_from;
use mtrelay_test_support::{Client, FakeDc, Mode, Relay, RelayConfig, Script};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

const OTHER: [u8; 16] = *b"another user's k";

fn echoes(client: &mut Client, len: usize) {
    let bytes = vec![0x5a; len];
    client.send(&bytes).expect("it goes out");
    assert!(client.recv_exact(len).expect("it comes back") == bytes);
}

fn session(addr: SocketAddr, secret: [u8; 16]) -> Client {
    let mut client = Client::connect(Mode::Dd, addr, secret, 2);
    echoes(&mut client, 100);
    client
}

fn session_from(ip: [u8; 4], addr: SocketAddr) -> Client {
    let socket = connect_from(ip.into(), addr).expect("the relay accepts");
    let client = Client::builder(Mode::Dd, addr, SECRET, 2).connect_over(socket);
    client.expect("an init header is not answered")
}

fn reload(relay: &Relay, config: &RelayConfig) {
    let before = relay.stat("config_reloads");
    relay.rewrite_config(config);
    relay.signal(Signal::HUP);
    relay.wait_stat("config_reloads", |n| n > before);
}

/// The close reasons of the first `count` sessions to end.
fn reasons(relay: &Relay, count: usize) -> Vec<String> {
    let closes = relay.wait_closes(count);
    closes.into_iter().map(|close| close.reason).collect()
}

#[test]
fn sessions_and_addresses_of_a_user_are_limited() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::new()
        .modes("dd")
        .dc(2, &[dc.addr()])
        .user("test", SECRET)
        .user_option("max_ips", 2)
        .user("other", OTHER)
        .user_option("max_sessions", 2);
    let relay = start(&config);
    let mut kept = Vec::new();
    for _ in 0..2 {
        for last in [1, 2] {
            let mut client = session_from([127, 0, 0, last], relay.addr());
            echoes(&mut client, 100);
            kept.push(client);
        }
    }
    let mut third = session_from([127, 0, 0, 3], relay.addr());
    assert_eq!(third.recv_to_end().0, []);
    assert_eq!(reasons(&relay, 1), ["limit"]);
    kept.extend([session(relay.addr(), OTHER), session(relay.addr(), OTHER)]);
    let mut third = Client::connect(Mode::Dd, relay.addr(), OTHER, 2);
    assert_eq!(third.recv_to_end().0, []);
    assert_eq!(reasons(&relay, 2), ["limit", "limit"]);
    kept.iter_mut().for_each(|client| echoes(client, 100));
}

#[test]
fn users_that_a_reload_removes_or_disables_have_drain_timeout() {
    let dc = FakeDc::start(Script::Echo);
    let base = RelayConfig::new()
        .modes("dd")
        .dc(2, &[dc.addr()])
        .option("drain_timeout", 2);
    let both = base.clone().user("test", SECRET).user("other", OTHER);
    let relay = start(&both);
    let (mut test, mut other) = (session(relay.addr(), SECRET), session(relay.addr(), OTHER));
    for gone in [
        base.clone().user("test", SECRET),
        both.clone().user_option("enabled", 0),
        base.clone()
            .user("test", SECRET)
            .user("other", *b"an exchanged key"),
    ] {
        let begun = Instant::now();
        reload(&relay, &gone);
        echoes(&mut other, 100);
        assert_ne!(other.recv_to_end().1, End::Timeout);
        let took = begun.elapsed();
        assert!(
            (Duration::from_millis(900)..Duration::from_secs(10)).contains(&took),
            "{took:?}"
        );
        echoes(&mut test, 100);
        reload(&relay, &both);
        other = session(relay.addr(), OTHER);
    }
    assert_eq!(reasons(&relay, 3), ["user_disabled"; 3]);
    // Back in time: the session never notices.
    reload(&relay, &base.clone().user("test", SECRET));
    reload(&relay, &both);
    // Two seconds and a third one, by the relay's own count.
    let uptime = relay.stat("uptime");
    relay.wait_stat("uptime", |now| now >= uptime + 4);
    echoes(&mut other, 100);
    // Fewer sessions from now on: the newest go.
    let mut newest = session(relay.addr(), OTHER);
    reload(&relay, &both.clone().user_option("max_sessions", 1));
    assert_ne!(newest.recv_to_end().1, End::Timeout);
    assert_eq!(reasons(&relay, 4)[3], "limit");
    echoes(&mut other, 100);
    echoes(&mut test, 100);
}

#[test]
fn expires_ends_sessions_once_the_clock_is_trusted() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr());
    let expired = config.clone().user_option("expires", "2020-02-29");
    let relay = start(&expired.clone().option("clock_trusted", 0));
    let mut live = session(relay.addr(), SECRET);
    assert_eq!(relay.stat("clock_trusted"), 0);
    reload(&relay, &expired.clone().option("clock_trusted", 1));
    assert_ne!(live.recv_to_end().1, End::Timeout);
    assert_eq!(relay.stat("clock_trusted"), 1);
    let mut late = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    assert_eq!(late.recv_to_end().0, []);
    assert_eq!(reasons(&relay, 2), ["expired"; 2]);
    reload(
        &relay,
        &config
            .user_option("expires", "2099-12-31")
            .option("clock_trusted", 1),
    );
    session(relay.addr(), SECRET);
}

#[test]
fn a_quota_ends_the_session_that_uses_it_up() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr())
        .user_option("quota_mb", 1)
        .user("other", OTHER);
    let relay = start(&config);
    let mut other = session(relay.addr(), OTHER);
    let mut client = session(relay.addr(), SECRET);
    // Both directions count: 400 KiB of upload and as much of download leave a little.
    echoes(&mut client, 400 << 10);
    let _ = client.send(&vec![0; 1 << 20]);
    assert_ne!(client.recv_to_end().1, End::Timeout);
    let close = relay.wait_closes(1).remove(0);
    assert_eq!((close.reason.as_str(), close.by.as_str()), ("quota", "relay"));
    assert!(
        (1 << 20..3 << 20).contains(&(close.up + close.down)),
        "{}",
        close.line
    );
    let mut late = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    assert_eq!(late.recv_to_end().0, []);
    assert_eq!(reasons(&relay, 2), ["quota"; 2]);
    echoes(&mut other, 2 << 20);
    // A larger quota counts from where it stands.
    reload(
        &relay,
        &config
            .user("more", *b"0123456789abcdef")
            .user_option("quota_mb", 5),
    );
    let used = relay.stat("user_test_quota_used");
    assert_eq!(used, close.up + close.down);
}

#[test]
fn quotas_and_seen_handshakes_survive_a_restart_in_ram() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() {
        return skip("no /dev/shm on this system");
    }
    let folder = shm.join(format!("mtrelay-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("/dev/shm can be written");
    let state = folder.join("state").display().to_string();
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr()).user_option("quota_mb", 1);
    let run = |state: &str| {
        let arguments = ["--state", state];
        let mut relay = Relay::spawn(env!("CARGO_BIN_EXE_mtrelay"), &config.to_uci(), &arguments);
        relay.wait_listening(config.listeners(), true);
        relay
    };
    let ends = |mut relay: Relay| {
        relay.signal(Signal::TERM);
        assert_eq!(relay.wait_exit().code(), Some(0));
    };
    let relay = run(&state);
    let mut first = session(relay.addr(), SECRET);
    echoes(&mut first, 100_000);
    let opening = first.opening.clone();
    drop(first);
    relay.wait_closes(1);
    ends(relay);

    let relay = run(&state);
    assert_eq!(relay.stat("user_test_quota_used"), 200_200);
    crate::handshake::refused_as(&relay, "replay", &opening);
    let mut second = session(relay.addr(), SECRET);
    let _ = second.send(&vec![0; 1 << 20]);
    assert_ne!(second.recv_to_end().1, End::Timeout);
    assert_eq!(reasons(&relay, 1), ["quota"]);
    ends(relay);

    // What is no state of ours costs the state, not the start.
    std::fs::write(&state, "nonsense").expect("the folder can be written");
    let relay = run(&state);
    relay.wait_log("is not used");
    assert_eq!(relay.stat("user_test_quota_used"), 0);
    ends(relay);
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");

    let disk = Path::new(env!("CARGO_TARGET_TMPDIR"));
    if on_tmpfs(disk) {
        return skip("everything is in RAM here: nothing shows that flash is not written");
    }
    let state = disk.join(format!("state-{}", std::process::id()));
    let relay = run(&state.display().to_string());
    relay.wait_log("it is not in RAM");
    session(relay.addr(), SECRET);
    ends(relay);
    assert!(!state.exists());
}

fn on_tmpfs(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").expect("Linux has it");
    let of = |line: &&str| {
        let point = line.split(' ').nth(1).unwrap_or("");
        path.starts_with(point)
    };
    let deepest = mounts
        .lines()
        .filter(of)
        .max_by_key(|line| line.split(' ').nth(1).map(str::len));
    deepest.is_some_and(|line| line.split(' ').nth(2) == Some("tmpfs"))
}
