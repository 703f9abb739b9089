//! The Host header of HTTP requests.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a Host header is an IP address or `localhost`.
///
/// Other names are refused against DNS rebinding, where a foreign DNS server points its own name at this machine.
#[must_use]
pub fn names_this_machine(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    let (name, rest) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            ("localhost", rest)
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_is_good = rest.is_empty()
        || rest
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    port_is_good && (name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok())
}
