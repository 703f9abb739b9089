//! What the owner may choose about connections to data centres.

use std::net::SocketAddr;
use std::time::Duration;

/// The address family that is tried first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreferIpv6 {
    /// Both families are raced. Among equally good addresses IPv6 is first.
    #[default]
    Auto,
    /// Every IPv6 address that is not failing goes before IPv4.
    Always,
    /// IPv4 only.
    Never,
}

impl PreferIpv6 {
    /// The words of the option `prefer_ipv6`.
    pub const WORDS: &'static [&'static str] = &["auto", "always", "never"];
    /// The values, in the order of [`PreferIpv6::WORDS`].
    pub const ALL: [PreferIpv6; 3] = [PreferIpv6::Auto, PreferIpv6::Always, PreferIpv6::Never];
}

/// Options of all connections of a [`super::Dialer`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DialOptions {
    /// Time limit of one attempt; `None` leaves it to the kernel.
    pub connect_timeout: Option<Duration>,
    /// The address family that is tried first.
    pub prefer_ipv6: PreferIpv6,
    /// The interface by which connections leave (SO_BINDTODEVICE).
    pub bind_interface: Option<String>,
    /// The packet mark of connections (SO_MARK), for policy routing.
    pub fwmark: Option<u32>,
    /// Limit of prewarmed connections for each recently used DC.
    pub prewarm: u32,
}

/// Whether `prefer` lets an address be used at all.
#[must_use]
pub fn allowed(address: SocketAddr, prefer: PreferIpv6) -> bool {
    prefer != PreferIpv6::Never || address.is_ipv4()
}
