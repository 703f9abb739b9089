//! The length of a site's first flight: a browser's hello to ask with, and a counter of the answer's encrypted bytes.
//!
//! In TLS 1.3 everything after the ServerHello is encrypted, but the records' lengths are visible (RFC 8446, section 5.2). A
//! server sends its certificates at once and then waits for the client's `Finished`, which is never sent here. The flight is
//! what has arrived when the server falls silent.

use crate::faketls::client_hello::GROUP_X25519;
use crate::faketls::handshake::block16;
use crate::faketls::{record, x25519};
use alloc::vec::Vec;

/// Accepted lengths of a flight in bytes: at least 200, which every certificate exceeds, at most the payload of one record.
const PLAUSIBLE_LENS: core::ops::RangeInclusive<usize> = 200..=record::MAX_PAYLOAD;

/// A browser's hello for `server_name`. `fill` is the source of random bytes.
#[must_use]
pub fn client_hello(server_name: Option<&str>, fill: &mut dyn FnMut(&mut [u8])) -> Vec<u8> {
    let mut drawn = [0; 64 + 5];
    fill(&mut drawn);
    let grease = |place: usize| {
        // GREASE values (RFC 8701) have two equal bytes, whose lower half is 0xa.
        let byte = drawn.get(place.saturating_add(64)).copied().unwrap_or(0) & 0xf0 | 0x0a;
        [byte, byte]
    };
    let mut body = Vec::with_capacity(512);
    body.extend([0x03, 0x03]);
    body.extend(drawn.iter().take(32));
    body.push(32);
    body.extend(drawn.iter().skip(32).take(32));
    block16(&mut body, |out| {
        out.extend(grease(0));
        for suite in [
            0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
            0x009d, 0x002f, 0x0035,
        ] {
            out.extend(u16::to_be_bytes(suite));
        }
    });
    body.extend([0x01, 0x00]);
    block16(&mut body, |out| {
        extensions(out, server_name, grease, fill);
    });
    let mut out = Vec::with_capacity(body.len().saturating_add(9));
    out.extend([0x16, 0x03, 0x01]);
    block16(&mut out, |out| {
        out.extend([0x01, 0x00]);
        block16(out, |out| out.extend(body));
    });
    out
}

/// Appends the extensions. `grease` gives the GREASE values by number.
fn extensions(
    out: &mut Vec<u8>,
    server_name: Option<&str>,
    grease: impl Fn(usize) -> [u8; 2],
    fill: &mut dyn FnMut(&mut [u8]),
) {
    let mut extension = |kind: [u8; 2], body: &[u8]| {
        out.extend(kind);
        block16(out, |out| out.extend(body));
    };
    extension(grease(1), &[]);
    if let Some(name) = server_name {
        let mut list = Vec::new();
        block16(&mut list, |out| {
            out.push(0);
            block16(out, |out| out.extend(name.as_bytes()));
        });
        extension([0x00, 0x00], &list);
    }
    extension([0x00, 0x17], &[]);
    extension([0xff, 0x01], &[0]);
    let [high, low] = grease(2);
    extension(
        [0x00, 0x0a],
        &[0, 8, high, low, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18],
    );
    extension([0x00, 0x0b], &[1, 0]);
    extension([0x00, 0x23], &[]);
    extension([0x00, 0x10], b"\0\x0c\x02h2\x08http/1.1");
    extension([0x00, 0x05], &[1, 0, 0, 0, 0]);
    let algorithms = [
        0, 16, 0x04, 0x03, 0x08, 0x04, 0x04, 0x01, 0x05, 0x03, 0x08, 0x05, 0x05, 0x01, 0x08, 0x06, 0x06, 0x01,
    ];
    extension([0x00, 0x0d], &algorithms);
    extension([0x00, 0x12], &[]);
    let mut shares = Vec::new();
    block16(&mut shares, |out| {
        out.extend([high, low, 0, 1, 0]);
        out.extend(GROUP_X25519.to_be_bytes());
        block16(out, |out| out.extend(x25519::key_share(fill)));
    });
    extension([0x00, 0x33], &shares);
    extension([0x00, 0x2d], &[1, 1]);
    let [high, low] = grease(3);
    extension([0x00, 0x2b], &[6, high, low, 0x03, 0x04, 0x03, 0x03]);
    extension([0x00, 0x1b], &[2, 0x00, 0x02]);
    extension(grease(4), &[0]);
}

/// Counter of the encrypted bytes of a server's first flight.
#[derive(Debug, Default)]
pub struct Flight {
    header: [u8; record::HEADER_LEN],
    header_len: usize,
    /// Bytes of the current record that have not arrived yet.
    left: usize,
    encrypted: usize,
    is_broken: bool,
}

impl Flight {
    /// Takes the next bytes of the stream, in pieces of any length.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.left > 0 {
                self.left = self.left.saturating_sub(1);
                continue;
            }
            if let Some(place) = self.header.get_mut(self.header_len) {
                *place = *byte;
            }
            self.header_len = self.header_len.saturating_add(1);
            if self.header_len < record::HEADER_LEN {
                continue;
            }
            self.header_len = 0;
            let [kind, _, _, high, low] = self.header;
            self.left = u16::from_be_bytes([high, low]).into();
            match kind {
                0x17 => self.encrypted = self.encrypted.saturating_add(self.left),
                0x14 | 0x16 => {}
                _ => self.is_broken = true,
            }
        }
    }

    /// The flight's length in bytes. `None` for an alert, an older TLS version or an incomplete record.
    #[must_use]
    pub fn encrypted_len(&self) -> Option<usize> {
        let is_whole = !self.is_broken && self.left == 0 && self.header_len == 0;
        Some(self.encrypted).filter(|len| is_whole && PLAUSIBLE_LENS.contains(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faketls::client_hello::{ClientHello, GROUP_X25519};

    #[test]
    fn the_hello_is_read_by_the_parser() {
        for name in [Some("www.example.org"), None] {
            let mut byte = 7_u8;
            let hello = client_hello(name, &mut |bytes| {
                for place in bytes {
                    byte = byte.wrapping_mul(13).wrapping_add(101);
                    *place = byte;
                }
            });
            let hello = ClientHello::parse(&hello).expect("a hello");
            assert_eq!((hello.server_name, hello.group), (name, GROUP_X25519));
            assert_eq!((hello.session_id.len(), hello.cipher_suite), (32, 0x1301));
        }
    }

    #[test]
    fn encrypted_records_are_counted_however_they_are_cut() {
        let record = |kind: u8, len: usize| {
            let head = [kind, 3, 3, (len >> 8) as u8, len as u8];
            [&head[..], &[0x17].repeat(len)].concat()
        };
        let flight = [
            record(0x16, 122),
            record(0x14, 1),
            record(0x17, 27),
            record(0x17, 2900),
        ]
        .concat();
        for at_once in [1, 3, 100, usize::MAX] {
            let mut counted = Flight::default();
            for piece in flight.chunks(at_once.min(flight.len())) {
                counted.handle_input(piece);
            }
            assert_eq!(counted.encrypted_len(), Some(2927));
            counted.handle_input(&[0x17, 3, 3]);
            assert_eq!(counted.encrypted_len(), None, "cut in a record");
        }
        for bad in [
            record(0x15, 2),
            record(0x16, 3000),
            record(0x17, 20),
            b"HTTP/1.1 400".to_vec(),
        ] {
            let mut counted = Flight::default();
            counted.handle_input(&bad);
            assert_eq!(counted.encrypted_len(), None);
        }
    }
}
