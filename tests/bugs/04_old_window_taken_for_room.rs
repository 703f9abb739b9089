//! The data centre's window is kept small until the client reads, or seems to: its window has room. What it had announced last was
//! taken for that room, although acknowledgements were late and as much was already on its way: behind TLS records every reader
//! that never read got twice the memory for its data centre's bytes.

use crate::{SECRET, start};
use mtrelay_test_support::{Client, FakeDc, Mode, RelayConfig, Script, Then};
use std::fs;
use std::net::SocketAddr;

/// What waits to be read in each socket of this machine that is connected to `peer`.
fn waiting_from(peer: SocketAddr) -> Vec<u64> {
    let port = format!("{:04X}", peer.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let rows = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, peer_port) = words.get(2)?.split_once(':')?;
        let (_, waiting) = words.get(4)?.split_once(':')?;
        (peer_port == port).then(|| u64::from_str_radix(waiting, 16).ok())?
    });
    rows.filter(|waiting| *waiting > 0).collect()
}

/// Bytes; one that has grown is twice as large at least.
fn first_receive_buffer() -> u64 {
    let sizes = fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").expect("Linux has it");
    let size = sizes.split_whitespace().nth(1).and_then(|size| size.parse().ok());
    size.expect("three numbers of bytes")
}

#[test]
fn who_never_reads_behind_tls_records_gets_no_larger_window() {
    const READERS: usize = 8;
    let dc = FakeDc::start(Script::source(3, 32 << 20, Then::Close));
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    let _stalled: Vec<_> = (0..READERS)
        .map(|_| Client::connect(Mode::ee("example.org"), relay.addr(), SECRET, 2))
        .collect();
    relay.wait_stat("bytes_down", |bytes| bytes > READERS as u64 * 64 * 1024);
    relay.wait_still("bytes_down");
    let waiting = waiting_from(dc.addr());
    assert_eq!(waiting.len(), READERS);
    let usual = first_receive_buffer();
    assert!(
        waiting.iter().all(|bytes| *bytes <= usual),
        "{waiting:?} of {usual}"
    );
}
