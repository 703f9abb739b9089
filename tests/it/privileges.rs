//! Privileges: what the running daemon has given up, read from /proc.

use crate::{SECRET, modes, start};
use mtrelay_test_support::relay::Signal;
use mtrelay_test_support::require::{self, skip};
use mtrelay_test_support::{Client, FakeDc, Mode, Relay, RelayConfig, Script};
use std::fs;

/// Threads of a daemon that looks no names up: async-io has a helper thread.
const THREADS: usize = if cfg!(feature = "async-io") { 2 } else { 1 };

fn echoes(client: &mut Client) {
    client.send(b"still there?").expect("it goes out");
    assert_eq!(client.recv_exact(12).expect("it comes back"), b"still there?");
}

/// The line of each thread of the daemon, without its name.
fn status(relay: &Relay, name: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", relay.pid())).expect("the relay runs");
    let of = |path: std::path::PathBuf| {
        // A thread may end while we look.
        let status = fs::read_to_string(path.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(
            line.trim_start_matches(':')
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    tasks
        .filter_map(|task| of(task.expect("a folder").path()))
        .collect()
}

/// Asserts that every thread of the daemon has this value.
#[track_caller]
fn assert_status(relay: &Relay, name: &str, value: &str) {
    assert_eq!(status(relay, name), [value; THREADS], "{name}");
}

#[test]
fn every_thread_has_the_seccomp_filter_and_no_new_privileges() {
    if !require::native("seccomp") {
        return;
    }
    let dc = FakeDc::start(Script::Echo);
    // A front by name makes it start the threads that look names up.
    let config = RelayConfig::simple(SECRET, dc.addr()).option("front_address", "nobody.invalid:443");
    let relay = start(&config);
    for mode in modes() {
        echoes(&mut Client::connect(mode, relay.addr(), SECRET, 2));
    }
    let stranger = std::net::TcpStream::connect(relay.addr()).expect("the relay accepts");
    std::io::Write::write_all(&mut &stranger, b"GET / HTTP/1.1\r\n\r\n").expect("it reads");
    relay.wait_log("does not resolve");
    for (name, value) in [("Seccomp", "2"), ("NoNewPrivs", "1")] {
        let lines = status(&relay, name);
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line == value),
            "{name}: {lines:?}"
        );
    }
    assert!(
        relay.log_lines().iter().all(|line| !line.contains("seccomp")),
        "a warning for nothing"
    );
    relay.signal(Signal::HUP);
    relay.wait_log("is in force");
    echoes(&mut Client::connect(Mode::Dd, relay.addr(), SECRET, 2));
    let relay = start(&config.option("seccomp", 0));
    assert_status(&relay, "Seccomp", "0");
    assert_status(&relay, "NoNewPrivs", "1");
}

#[test]
fn the_daemon_s_user_has_no_rights_of_root() {
    if !require::root() || !require::native("threads of one identity only") {
        return;
    }
    let nobody = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let Some(line) = nobody.lines().find(|line| line.starts_with("nobody:")) else {
        return skip("there is no user 'nobody' on this system");
    };
    let ids: Vec<&str> = line.split(':').skip(2).take(2).collect();
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr());
    let run = |config: &RelayConfig, arguments: &[&str]| {
        let mut relay = Relay::spawn(env!("CARGO_BIN_EXE_mtrelay"), &config.to_uci(), arguments);
        relay.wait_listening(config.listeners(), true);
        relay
    };
    let relay = run(&config, &["--user", "nobody"]);
    assert_status(&relay, "Uid", &[ids[0]; 4].join(" "));
    assert_status(&relay, "Gid", &[ids[1]; 4].join(" "));
    assert_status(&relay, "Groups", "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_status(&relay, set, "0000000000000000");
    }
    echoes(&mut Client::connect(Mode::Dd, relay.addr(), SECRET, 2));
    assert!(relay.log_lines().iter().all(|line| !line.contains("as root")));

    // SO_MARK needs CAP_NET_ADMIN, which is kept, and no other.
    let marked = run(&config.clone().option("fwmark", "0x100"), &["--user", "nobody"]);
    assert_status(&marked, "CapEff", "0000000000001000");
    echoes(&mut Client::connect(Mode::Dd, marked.addr(), SECRET, 2));
    // Root opened the state file; the user `nobody` writes it at the end.
    let shm = std::path::Path::new("/dev/shm");
    if !shm.is_dir() {
        return skip("no /dev/shm on this system");
    }
    let state = shm.join(format!("mtrelay-test-state-{}", std::process::id()));
    let name = state.display().to_string();
    let mut keeping = run(&config, &["--user", "nobody", "--state", &name]);
    echoes(&mut Client::connect(Mode::Dd, keeping.addr(), SECRET, 2));
    keeping.wait_closes(1);
    keeping.signal(Signal::TERM);
    assert_eq!(keeping.wait_exit().code(), Some(0));
    let saved = fs::read(&state).expect("it was written");
    fs::remove_file(&state).expect("it is ours");
    assert!(saved.starts_with(b"mtrelay state 1\nquota 24 ") && saved.ends_with(b"end\n"));
    let relay = run(&config, &[]);
    relay.wait_log("running as root");
    let mut refused = Relay::spawn(
        env!("CARGO_BIN_EXE_mtrelay"),
        &config.to_uci(),
        &["--user", "no-such-user"],
    );
    assert_eq!(refused.wait_exit().code(), Some(1));
    refused.wait_log("no user 'no-such-user'");
}
