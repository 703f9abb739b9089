//! The data centre's window is kept small until the client reads, or seems to: its window has room. What it had announced last was
//! taken for that room, although acknowledgements were late and as much was already on its way: behind TLS records every reader
//! that never read got twice the memory for its data centre's bytes.

use crate::proc_net::receive_queues_from;
use crate::{SECRET, start};
use mtrelay_test_support::{Client, FakeDc, Mode, RelayConfig, Script, Then};
use std::fs;

/// Bytes; one that has grown is twice as large at least.
fn first_receive_buffer() -> u64 {
    let sizes = fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").expect("Linux has it");
    let size = sizes.split_whitespace().nth(1).and_then(|size| size.parse().ok());
    size.expect("three numbers of bytes")
}

#[test]
fn a_stalled_reader_behind_tls_records_gets_no_larger_window() {
    const READERS: usize = 8;
    let dc = FakeDc::start(Script::source(3, 32 << 20, Then::Close));
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    let _stalled: Vec<_> = (0..READERS)
        .map(|_| Client::connect(Mode::ee("example.org"), relay.addr(), SECRET, 2))
        .collect();
    relay.wait_stat("bytes_down", |bytes| bytes > READERS as u64 * 64 * 1024);
    relay.wait_still("bytes_down");
    let waiting = receive_queues_from(dc.addr());
    assert_eq!(waiting.len(), READERS);
    let usual = first_receive_buffer();
    assert!(
        waiting.iter().all(|bytes| *bytes <= usual),
        "{waiting:?} of {usual}"
    );
}
