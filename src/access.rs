//! The allow and block lists, as sets of addresses.
//!
//! A country's block list has tens of thousands of lines, and a router little memory. A set is therefore two sorted arrays of
//! disjoint ranges, with 8 bytes for each IPv4 range and 32 for each IPv6 range, and a lookup is a binary search. An IPv4-mapped
//! IPv6 address counts as the IPv4 address.

use std::net::IpAddr;

/// A set of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    /// IPv4 ranges: the first address in the upper half, the last in the lower half.
    v4: Vec<u64>,
    /// IPv6 ranges: first and last address.
    v6: Vec<(u128, u128)>,
}

impl AddressSet {
    /// Adds the addresses that share the first `prefix` bits with `base`. [`Self::contains`] sees them after [`Self::seal`].
    pub fn add(&mut self, base: IpAddr, prefix: u8) {
        const MAPPED: u8 = 96;
        match base {
            IpAddr::V4(base) => self.add_v4(base.to_bits(), prefix),
            IpAddr::V6(base) => match base.to_ipv4_mapped() {
                Some(base) if prefix >= MAPPED => self.add_v4(base.to_bits(), prefix - MAPPED),
                _ => {
                    let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
                    self.v6.push((base.to_bits() & !host, base.to_bits() | host));
                }
            },
        }
    }

    fn add_v4(&mut self, base: u32, prefix: u8) {
        let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        self.v4
            .push(u64::from(base & !host) << 32 | u64::from(base | host));
    }

    /// Sorts and joins the added ranges, and frees unused memory.
    pub fn seal(&mut self) {
        self.v4.sort_unstable();
        self.v4.dedup_by(|next, last| {
            let joined = first(*next) <= end(*last).saturating_add(1);
            if joined {
                *last = *last & !u64::from(u32::MAX) | u64::from(end(*last).max(end(*next)));
            }
            joined
        });
        self.v4.shrink_to_fit();
        self.v6.sort_unstable();
        self.v6.dedup_by(|next, last| {
            let joined = next.0 <= last.1.saturating_add(1);
            if joined {
                last.1 = last.1.max(next.1);
            }
            joined
        });
        self.v6.shrink_to_fit();
    }

    /// Whether the set contains `ip`.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        // The last range that begins at or before the address.
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let ip = ip.to_bits();
                let at = self.v4.partition_point(|range| first(*range) <= ip);
                at > 0 && ip <= end(self.v4[at - 1])
            }
            IpAddr::V6(ip) => {
                let ip = ip.to_bits();
                let at = self.v6.partition_point(|range| range.0 <= ip);
                at > 0 && ip <= self.v6[at - 1].1
            }
        }
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

fn first(range: u64) -> u32 {
    (range >> 32) as u32
}

fn end(range: u64) -> u32 {
    range as u32
}

/// The address lists of the listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Addresses that may connect; `None` allows all.
    pub allow: Option<AddressSet>,
    /// Addresses that may not connect, even if `allow` has them.
    pub block: AddressSet,
    /// Load balancers: their connections begin with a PROXY header.
    pub balancers: AddressSet,
}

impl Access {
    /// Whether `ip` may connect.
    #[must_use]
    pub fn admits(&self, ip: IpAddr) -> bool {
        !self.block.contains(ip) && self.allow.as_ref().is_none_or(|allow| allow.contains(ip))
    }
}

/// Whether `ip` is a LAN address: loopback, private (RFC 1918, unique local) or link-local.
#[must_use]
pub(crate) fn is_lan(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The source that per-client limits count: an IPv4 address, or the /64 of an IPv6 address, of which a host may use any address.
#[must_use]
pub(crate) fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn set(blocks: &[(&str, u8)]) -> AddressSet {
        let mut set = AddressSet::default();
        for (base, prefix) in blocks {
            set.add(ip(base), *prefix);
        }
        set.seal();
        set
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let set = set(&[
            ("10.0.1.0", 24),
            ("10.0.0.0", 24),
            ("10.0.0.128", 25),
            ("10.0.3.0", 24),
            ("255.255.255.255", 32),
            ("0.0.0.0", 32),
            ("fd00::", 64),
            ("fd00:0:0:1::", 64),
        ]);
        assert_eq!((set.v4.len(), set.v6.len()), (4, 1));
        for (inside, text) in [
            (true, "10.0.0.0"),
            (true, "10.0.1.255"),
            (false, "10.0.2.0"),
            (false, "9.255.255.255"),
            (true, "10.0.3.7"),
            (true, "255.255.255.255"),
            (true, "0.0.0.0"),
            (false, "0.0.0.1"),
            (true, "fd00::1:ffff:ffff:ffff:ffff"),
            (false, "fd00:0:0:2::"),
        ] {
            assert_eq!(set.contains(ip(text)), inside, "{text}");
        }
    }

    #[test]
    fn the_ends_of_both_families_are_handled() {
        let all = set(&[("0.0.0.0", 0), ("255.0.0.0", 8), ("::", 0), ("ffff::", 16)]);
        assert_eq!((all.v4.len(), all.v6.len()), (1, 1));
        assert!(all.contains(ip("255.255.255.255")) && all.contains(ip("ffff::1")));
        assert!(!AddressSet::default().contains(ip("::")));
    }

    #[test]
    fn mapped_addresses_are_ipv4_in_lists_and_out_of_sockets() {
        let set = set(&[("::ffff:192.0.2.0", 120)]);
        assert!(set.contains(ip("192.0.2.200")) && set.contains(ip("::ffff:192.0.2.200")));
        assert!(!set.contains(ip("192.0.3.0")));
        assert!(self::set(&[("192.0.2.0", 24)]).contains(ip("::ffff:192.0.2.1")));
    }

    #[test]
    fn it_finds_what_a_search_through_all_blocks_finds() {
        let mut state = 7_u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        for _ in 0..40 {
            let blocks: Vec<(Ipv4Addr, u8)> = (0..50)
                .map(|_| (Ipv4Addr::from(draw() << 8), 16 + (draw() % 17) as u8))
                .collect();
            let mut set = AddressSet::default();
            for (base, prefix) in &blocks {
                set.add((*base).into(), *prefix);
                let mapped: Ipv6Addr = [0x2001, 0xdb8, 0, 0, 0, 0, base.octets()[0].into(), 7].into();
                set.add(mapped.into(), 96 + prefix);
            }
            set.seal();
            for _ in 0..500 {
                let (base, prefix) = blocks[draw() as usize % blocks.len()];
                let near = base.to_bits().wrapping_add(draw() % 512).wrapping_sub(256);
                let mask = |prefix: u8| u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                let expected = blocks
                    .iter()
                    .any(|(base, prefix)| (base.to_bits() ^ near) & mask(*prefix) == 0);
                assert_eq!(
                    set.contains(Ipv4Addr::from(near).into()),
                    expected,
                    "{base}/{prefix}"
                );
            }
        }
    }

    #[test]
    fn the_block_list_wins() {
        let access = Access {
            allow: Some(set(&[("10.0.0.0", 8)])),
            block: set(&[("10.9.0.0", 16)]),
            ..Access::default()
        };
        let admitted = ["10.1.1.1", "10.9.1.1", "192.0.2.1", "::1"].map(|text| access.admits(ip(text)));
        assert_eq!(admitted, [true, false, false, false]);
        assert!(Access::default().admits(ip("192.0.2.1")));
        let nobody = Access {
            allow: Some(AddressSet::default()),
            ..Access::default()
        };
        assert!(!nobody.admits(ip("127.0.0.1")));
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_prefix() {
        assert_eq!(source(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(source(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        for (lan, text) in [
            (true, "127.3.2.1"),
            (true, "::ffff:10.0.0.1"),
            (true, "172.31.0.1"),
            (true, "192.168.9.9"),
            (true, "169.254.0.1"),
            (true, "fdab::1"),
            (true, "fe80::1"),
            (true, "::1"),
            (false, "172.32.0.1"),
            (false, "100.64.0.1"),
            (false, "2001:db8::1"),
        ] {
            assert_eq!(is_lan(ip(text)), lan, "{text}");
        }
    }
}
