//! Telegram's data centres: how clients name them, and where they are.
//!
//! A client names the data centre in the header that opens its connection (see `wire::obfuscated2`): a signed number, negative
//! for the media server. The addresses of an id come from a built-in list, as in the clients. The list changes once in some
//! years; `dc` sections of the configuration replace the addresses of an id.
//!
//! Promise: a [`DcId`] is never zero and always has a positive counterpart.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A data centre as a client names it: negative means the media server of the positive one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DcId(i16);

impl DcId {
    /// The data centre with this signed number. `None` for zero, which names none, and for the one number whose
    /// positive counterpart an `i16` cannot hold.
    #[must_use]
    pub const fn new(raw: i16) -> Option<DcId> {
        if raw == 0 || raw == i16::MIN {
            None
        } else {
            Some(DcId(raw))
        }
    }

    /// The number in a client's header, even if it names no data centre, for lookups and the log.
    #[must_use]
    pub const fn from_wire(raw: i16) -> DcId {
        DcId(raw)
    }

    /// The signed number in the header. The sign must reach the data centre, or media fails to load.
    #[must_use]
    pub const fn raw(self) -> i16 {
        self.0
    }

    /// Whether the id names a media server.
    #[must_use]
    pub const fn is_media(self) -> bool {
        self.0 < 0
    }

    /// The media server of the same data centre.
    #[must_use]
    pub const fn media(self) -> DcId {
        DcId(self.main().0.wrapping_neg())
    }

    /// The main server of the same data centre.
    #[must_use]
    pub const fn main(self) -> DcId {
        DcId(self.0.saturating_abs())
    }
}

impl fmt::Display for DcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The port of every data centre. Ports 80 and 5222 answer too, without an advantage here.
const PORT: u16 = 443;

/// The clients' built-in list. The order of the families has no meaning: the dialer decides which is tried first.
#[rustfmt::skip]
const BUILT_IN: [(i16, &[IpAddr]); 9] = [
    (1, &[v4(149, 154, 175, 50), v6([0x2001, 0x0b28, 0xf23d, 0xf001, 0, 0, 0, 0xa])]),
    (2, &[v4(149, 154, 167, 51), v4(95, 161, 76, 100), v6([0x2001, 0x067c, 0x04e8, 0xf002, 0, 0, 0, 0xa])]),
    (3, &[v4(149, 154, 175, 100), v6([0x2001, 0x0b28, 0xf23d, 0xf003, 0, 0, 0, 0xa])]),
    (4, &[v4(149, 154, 167, 91), v6([0x2001, 0x067c, 0x04e8, 0xf004, 0, 0, 0, 0xa])]),
    (5, &[v4(149, 154, 171, 5), v4(91, 108, 56, 100), v6([0x2001, 0x0b28, 0xf23f, 0xf005, 0, 0, 0, 0xa])]),
    // The CDN: files of public channels.
    (203, &[v4(91, 105, 192, 100), v6([0x2a0a, 0xf280, 0x0203, 0x000a, 0x5000, 0, 0, 0x0100])]),
    // Ids above 10000 name test servers.
    (10001, &[v4(149, 154, 175, 10), v6([0x2001, 0x0b28, 0xf23d, 0xf001, 0, 0, 0, 0xe])]),
    (10002, &[v4(149, 154, 167, 40), v6([0x2001, 0x067c, 0x04e8, 0xf002, 0, 0, 0, 0xe])]),
    (10003, &[v4(149, 154, 175, 117), v6([0x2001, 0x0b28, 0xf23d, 0xf003, 0, 0, 0, 0xe])]),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(s: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]))
}

/// The addresses of each data centre: a sorted vector of about a dozen entries, searched once per connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table(Vec<(DcId, Vec<SocketAddr>)>);

impl Table {
    /// The table of the built-in addresses.
    #[must_use]
    pub fn built_in() -> Table {
        let row = |&(raw, addresses): &(i16, &[IpAddr])| {
            (
                DcId(raw),
                addresses
                    .iter()
                    .map(|&address| SocketAddr::new(address, PORT))
                    .collect(),
            )
        };
        Table(BUILT_IN.iter().map(row).collect())
    }

    /// Replaces the addresses of this id alone; its media or main counterpart keeps its own. An empty list removes the id.
    pub fn set(&mut self, id: DcId, addresses: Vec<SocketAddr>) {
        let found = self.0.binary_search_by_key(&id, |row| row.0);
        match (found, addresses.is_empty()) {
            (Ok(at), false) => self.0[at].1 = addresses,
            (Err(at), false) => self.0.insert(at, (id, addresses)),
            (Ok(at), true) => drop(self.0.remove(at)),
            (Err(_), true) => {}
        }
    }

    /// The addresses of this id, in their order. A media id without its own addresses has those of its main id. `None` if the data
    /// centre is unknown; never an empty list.
    #[must_use]
    pub fn lookup(&self, id: DcId) -> Option<&[SocketAddr]> {
        self.exact(id).or_else(|| self.exact(id.main()))
    }

    /// Every id with its own addresses, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (DcId, &[SocketAddr])> {
        self.0.iter().map(|(id, addresses)| (*id, addresses.as_slice()))
    }

    fn exact(&self, id: DcId) -> Option<&[SocketAddr]> {
        let at = self.0.binary_search_by_key(&id, |row| row.0).ok()?;
        Some(&self.0[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dc(raw: i16) -> DcId {
        DcId::new(raw).unwrap()
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn zero_and_the_number_without_a_counterpart_name_no_dc() {
        assert_eq!(DcId::new(0), None);
        assert_eq!(DcId::new(i16::MIN), None);
        assert_eq!(dc(i16::MIN + 1).main(), dc(i16::MAX));
    }

    #[test]
    fn a_media_dc_keeps_its_sign_and_knows_its_main_one() {
        assert!(dc(-2).is_media());
        assert!(!dc(2).is_media());
        assert_eq!(dc(-2).raw(), -2);
        assert_eq!(dc(-2).main(), dc(2));
        assert_eq!(dc(2).main(), dc(2));
        assert_eq!(dc(-10002).to_string(), "-10002");
    }

    #[test]
    fn the_built_in_table_is_the_clients_list() {
        let rows = [
            (1, &["149.154.175.50:443", "[2001:b28:f23d:f001::a]:443"][..]),
            (
                2,
                &[
                    "149.154.167.51:443",
                    "95.161.76.100:443",
                    "[2001:67c:4e8:f002::a]:443",
                ],
            ),
            (3, &["149.154.175.100:443", "[2001:b28:f23d:f003::a]:443"]),
            (4, &["149.154.167.91:443", "[2001:67c:4e8:f004::a]:443"]),
            (
                5,
                &[
                    "149.154.171.5:443",
                    "91.108.56.100:443",
                    "[2001:b28:f23f:f005::a]:443",
                ],
            ),
            (203, &["91.105.192.100:443", "[2a0a:f280:203:a:5000::100]:443"]),
            (10001, &["149.154.175.10:443", "[2001:b28:f23d:f001::e]:443"]),
            (10002, &["149.154.167.40:443", "[2001:67c:4e8:f002::e]:443"]),
            (10003, &["149.154.175.117:443", "[2001:b28:f23d:f003::e]:443"]),
        ];
        let table = Table::built_in();
        assert_eq!(table.iter().count(), rows.len());
        for (row, (id, texts)) in table.iter().zip(rows) {
            assert_eq!(row, (dc(id), addresses(texts).as_slice()));
        }
    }

    #[test]
    fn a_media_id_uses_its_main_ones_addresses_until_it_has_its_own() {
        let mut table = Table::built_in();
        assert_eq!(table.lookup(dc(-4)), table.lookup(dc(4)));
        assert_eq!(table.lookup(dc(-203)), table.lookup(dc(203)));
        let own = addresses(&["127.0.0.1:1"]);
        table.set(dc(-4), own.clone());
        assert_eq!(table.lookup(dc(-4)), Some(own.as_slice()));
        assert_eq!(table.lookup(dc(4)), Table::built_in().lookup(dc(4)));
        table.set(dc(-4), Vec::new());
        assert_eq!(table, Table::built_in());
    }

    #[test]
    fn a_main_id_never_uses_its_media_ones_addresses() {
        let mut table = Table::built_in();
        table.set(dc(-9), addresses(&["127.0.0.1:1"]));
        assert_eq!(table.lookup(dc(9)), None);
    }

    #[test]
    fn an_unknown_dc_has_no_addresses() {
        let table = Table::built_in();
        for id in [6, -6, 100, 10000, -10000, 10004, i16::MAX, i16::MIN + 1] {
            assert_eq!(table.lookup(dc(id)), None, "{id}");
        }
    }

    #[test]
    fn addresses_keep_the_order_in_which_they_were_given() {
        let mut table = Table::built_in();
        let own = addresses(&["[::1]:9", "127.0.0.1:8", "127.0.0.2:7"]);
        table.set(dc(2), own.clone());
        assert_eq!(table.lookup(dc(2)), Some(own.as_slice()));
        let ids: Vec<i16> = table.iter().map(|(id, _)| id.raw()).collect();
        assert!(ids.is_sorted());
    }
}
