//! What `/proc/net/tcp` says about sockets.

use std::fs;
use std::net::SocketAddr;

/// The bytes in the receive queues of all sockets connected to `peer`, one number each; empty queues are left out.
pub(crate) fn receive_queues_from(peer: SocketAddr) -> Vec<u64> {
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
