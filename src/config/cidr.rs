//! Blocks of addresses, as in the allow and block lists.
//!
//! Read first: RFC 4632, section 3.1, for the notation.

use crate::access::AddressSet;
use mtrelay_core::config::value::{Read, number, wrong};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A block of addresses: `192.168.1.0/24`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    base: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Adds the block to a set.
    pub(super) fn add_to(&self, set: &mut AddressSet) {
        set.add(self.base, self.prefix);
    }
}

fn masked(ip: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & !u32::MAX.checked_shr(prefix).unwrap_or(0)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::MAX.checked_shr(prefix).unwrap_or(0)).into()),
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Read<Cidr> {
        let (ip, prefix) = text
            .split_once('/')
            .map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let Ok(ip) = ip.parse::<IpAddr>() else {
            return wrong("is not a block of addresses (such as 192.168.1.0/24 or fd00::/8)");
        };
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => match number(digits, &(0..=longest)) {
                Ok(prefix) => prefix,
                Err(_) => return wrong(format!("has a wrong length behind the slash (0 to {longest})")),
            },
        };
        // Bits after the prefix are accepted and cleared: owners write the router's own address, 192.168.1.1/24.
        let prefix = prefix as u8;
        Ok(Cidr {
            base: masked(ip, prefix),
            prefix,
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_contain_their_addresses() {
        let cases = [
            ("192.168.1.0/24", "192.168.1.255", true),
            ("192.168.1.1/24", "192.168.1.77", true),
            ("192.168.1.0/24", "192.168.2.1", false),
            ("192.168.1.0/24", "::ffff:192.168.1.9", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("fd00::/8", "fdab::1", true),
            ("fd00::/8", "fe80::1", false),
            ("2001:db8::1/128", "2001:db8::1", true),
        ];
        for (block, ip, inside) in cases {
            let set = crate::config::lists::set(&[block.parse().unwrap()]);
            assert_eq!(set.contains(ip.parse().unwrap()), inside, "{block} {ip}");
        }
        for text in [
            "",
            "lan",
            "192.168.1.0/33",
            "192.168.1.0/",
            "192.168.1.0/255.255.255.0",
            "::/129",
            "1.2.3/8",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        assert_eq!(
            "192.168.1.1/24".parse::<Cidr>().unwrap().to_string(),
            "192.168.1.0/24"
        );
    }
}
