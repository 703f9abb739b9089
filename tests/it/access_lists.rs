//! Allow and block lists, and the PROXY protocol: which addresses may connect, and which address of a connection counts.

use crate::{SECRET, modes, start};
use mtrelay_test_support::clock::patience;
use mtrelay_test_support::relay::{Signal, TempDir};
use mtrelay_test_support::require;
use mtrelay_test_support::{Client, FakeDc, Mode, Relay, RelayConfig, Script};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Output;

fn echoes(client: &mut Client) {
    client.send(b"still there?").expect("it goes out");
    assert_eq!(client.recv_exact(12).expect("it comes back"), b"still there?");
}

/// The relay ends the connection, and says nothing on it.
fn is_closed(addr: SocketAddr, opening: &[u8]) {
    let mut socket = TcpStream::connect(addr).expect("the relay accepts");
    socket
        .set_read_timeout(Some(patience()))
        .expect("a positive time");
    // It may be closed before this is written.
    let _ = socket.write_all(opening);
    let mut came = Vec::new();
    match socket.read_to_end(&mut came) {
        Ok(_) => assert_eq!(came, []),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

fn behind_balancer(relay: &Relay, header: &[u8], mode: Mode) -> Client {
    let mut socket = TcpStream::connect(relay.addr()).expect("the relay accepts");
    socket.write_all(header).expect("the relay reads");
    Client::builder(mode, relay.addr(), SECRET, 2)
        .connect_over(socket)
        .expect("the opening is good")
}

#[test]
fn blocked_addresses_are_closed_before_anything_else() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr());
    let relay = start(&config.clone().list("block", "127.0.0.0/8"));
    is_closed(relay.addr(), &[]);
    is_closed(relay.addr(), b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(relay.wait_stat("rejects_blocked", |n| n >= 2), 2);
    assert_eq!(
        (relay.stat("rejects_malformed"), relay.stat("openings_active")),
        (0, 0)
    );
    let has_ipv6 = require::ipv6();
    if has_ipv6 {
        echoes(&mut Client::connect(Mode::Dd, relay.addr_v6(), SECRET, 2));
    }
    relay.rewrite_config(&config.list("allow", "127.0.0.1"));
    relay.signal(Signal::HUP);
    relay.wait_stat("config_reloads", |n| n == 1);
    echoes(&mut Client::connect(Mode::Dd, relay.addr(), SECRET, 2));
    if has_ipv6 {
        is_closed(relay.addr_v6(), &[]);
        assert_eq!(relay.wait_stat("rejects_blocked", |n| n >= 3), 3);
    }
}

#[test]
fn list_files_are_read_at_each_reload_and_a_bad_line_keeps_the_old_ones() {
    let dir = TempDir::new();
    let file = dir.write("block", "# nobody yet\n192.0.2.0/24\n");
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr()).option("block_file", file.display());
    let relay = start(&config);
    let mut live = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    echoes(&mut live);
    dir.write("block", "192.0.2.0/24\n127.0.0.0/33\n");
    relay.signal(Signal::HUP);
    relay.wait_stat("config_rejected", |n| n == 1);
    let line = relay.wait_log("127.0.0.0/33");
    assert!(line.contains(&format!("{}:2: ", file.display())), "{line}");
    echoes(&mut Client::connect(Mode::Dd, relay.addr(), SECRET, 2));
    dir.write("block", "192.0.2.0/24\n127.0.0.0/31 # both of them\n");
    relay.signal(Signal::HUP);
    relay.wait_stat("config_reloads", |n| n == 1);
    is_closed(relay.addr(), &[]);
    assert_eq!(relay.wait_stat("rejects_blocked", |n| n >= 1), 1);
    echoes(&mut live);

    dir.write("block", "nonsense\n");
    let checked = mtrelay_test_support::relay::command(env!("CARGO_BIN_EXE_mtrelay"))
        .args(["check", "-c"])
        .arg(relay.config_path())
        .output();
    let Output { status, stderr, .. } = checked.expect("the program starts");
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains(&format!("mtrelay: {}:1: ", file.display())),
        "{stderr}"
    );
}

#[test]
fn the_address_in_a_trusted_proxy_header_is_used_for_lists_and_log() {
    let dc = FakeDc::start(Script::Echo);
    let relay = start(
        &RelayConfig::simple(SECRET, dc.addr())
            .list("proxy_protocol_from", "127.0.0.1/32")
            .list("block", "198.51.100.0/24"),
    );
    let v2 = |ip: [u8; 4]| {
        let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10";
        [
            &head[..],
            &ip,
            &[127, 0, 0, 1, 0x12, 0x34, 0x01, 0xbb],
            &[0xee, 0, 1, 0],
        ]
        .concat()
    };
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec();
    let headers = [
        (
            b"PROXY TCP4 203.0.113.7 127.0.0.1 5000 443\r\n".to_vec(),
            "203.0.113.7",
        ),
        (b"PROXY TCP6 2001:db8::7 ::1 5000 443\r\n".to_vec(), "2001:db8::7"),
        (v2([203, 0, 113, 8]), "203.0.113.8"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (local, "127.0.0.1"),
    ];
    let mut ended = 0;
    for mode in modes() {
        for (header, address) in &headers {
            let mut client = behind_balancer(&relay, header, mode.clone());
            echoes(&mut client);
            drop(client);
            ended += 1;
            let close = relay.wait_closes(ended).swap_remove(ended - 1);
            assert_eq!(close.client, *address, "{}", close.line);
        }
    }
    is_closed(relay.addr(), &v2([198, 51, 100, 1]));
    assert_eq!(relay.wait_stat("rejects_blocked", |n| n >= 1), 1);
    // Without the header nothing else is taken from a balancer, however good it is.
    let direct = Client::builder(Mode::Dd, relay.addr(), SECRET, 2).connect();
    drop(direct);
    is_closed(relay.addr(), b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(relay.wait_stat("rejects_malformed", |n| n >= 2), 2);
    assert_eq!(relay.stat("sessions_total"), ended as u64);
}

#[test]
fn a_proxy_header_has_the_handshake_deadline_and_untrusted_ones_are_refused() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr()).option("handshake_timeout", 1);
    let relay = start(&config.clone().list("proxy_protocol_from", "127.0.0.1"));
    is_closed(relay.addr(), b"PROXY TCP4 203.0.113.7 ");
    assert_eq!(relay.wait_stat("rejects_timeout", |n| n >= 1), 1);
    let relay = start(&config.list("block", "203.0.113.7"));
    let header = [
        b"PROXY TCP4 203.0.113.7 127.0.0.1 5000 443\r\n".as_slice(),
        &[0; 64],
    ]
    .concat();
    is_closed(relay.addr(), &header);
    assert_eq!(relay.wait_stat("rejects_bad_secret", |n| n >= 1), 1);
    assert_eq!(relay.stat("rejects_blocked"), 0);
}

#[test]
fn handshakes_per_source_are_bounded_and_with_limit_lan_for_the_lan_too() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr()).option("handshake_timeout", 60);
    for (limit_lan, budget) in [(0, 0), (1, 36)] {
        let relay = start(&config.clone().option("limit_lan", limit_lan));
        let silent: Vec<_> = (0..100)
            .map(|_| TcpStream::connect(relay.addr()).expect("the relay accepts"))
            .collect();
        // The honest one takes a place too.
        echoes(&mut Client::connect(
            Mode::ee("example.org"),
            relay.addr(),
            SECRET,
            2,
        ));
        let cut = budget + u64::from(limit_lan == 1);
        assert_eq!(relay.wait_stat("rejects_budget", |n| n >= cut), cut);
        drop(silent);
    }
}
