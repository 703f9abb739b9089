//! Checks that the front site is not the relay itself, which would connect to itself without end.

use super::model::Config;
use mtrelay_core::config::read::Reader;
use std::net::{IpAddr, SocketAddr};

/// Refuses a front site that is the relay itself.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    let Some(front) = &config.front_address else {
        return;
    };
    let line = reader.line("front_address").max(reader.line("front_domain"));
    let ips: &[IpAddr] = match front.host.parse::<IpAddr>() {
        Ok(ip) => &[ip],
        Err(_) if front.host.eq_ignore_ascii_case("localhost") => &[
            IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ],
        Err(_) => &[],
    };
    let is_listener = ips
        .iter()
        .any(|&ip| is_own_listener(&config.listen, SocketAddr::new(ip, front.port)));
    // From outside, link_host is the relay: a connection to it would come back.
    let is_link = config
        .link_host
        .as_ref()
        .is_some_and(|host| host.eq_ignore_ascii_case(&front.host))
        && config.link_port.map_or_else(
            || config.listen.iter().any(|own| own.port() == front.port),
            |port| port == front.port,
        );
    if is_listener || is_link {
        reader.error(
            line,
            format!(
                "front {front} is this relay itself (another server, which unauthenticated clients are shown)"
            ),
        );
    }
}

/// Whether a connection to `target` reaches one of our own listeners. A wildcard listener has every address that this machine can
/// bind.
fn is_own_listener(listen: &[SocketAddr], target: SocketAddr) -> bool {
    let ip = target.ip().to_canonical();
    listen.iter().any(|own| {
        let is_wildcard = own.ip().is_unspecified() && own.is_ipv4() == ip.is_ipv4();
        own.port() == target.port()
            && (own.ip() == ip || is_wildcard && std::net::UdpSocket::bind((ip, 0)).is_ok())
    })
}
