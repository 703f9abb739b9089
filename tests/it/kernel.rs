//! What the kernel tells of sockets.

use std::fs;
use std::net::SocketAddr;

/// What waits to be read in each socket of this machine that is connected to `peer`.
pub(crate) fn waiting_from(peer: SocketAddr) -> Vec<u64> {
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
