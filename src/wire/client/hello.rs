//! The ClientHello that opens a connection to a fake-TLS proxy: a browser's, whose `random` is a digest and the time.
//!
//! Read RFC 8446, section 4.1.2, and [`crate::faketls::client_hello`], which reads what is written here. The hello imitates a browser of 2025:
//! GREASE (RFC 8701), extensions in a drawn order, a hybrid key share. Neither key share has a private key, as the connection
//! never becomes TLS; an X25519 share is nevertheless a point of the curve, and the ML-KEM key's coefficients are below the
//! modulus, for whoever looks.

use crate::faketls::client_hello::{GROUP_X25519, GROUP_X25519_MLKEM768};
use crate::faketls::x25519;
use crate::secret::Secret;
use alloc::vec::Vec;
use core::ops::Range;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Where the digest stands in the record.
pub(crate) const RANDOM: Range<usize> = 11..43;
/// Bytes of the digest that the time is not laid over.
const DIGEST_LEN: usize = 28;
/// The length that hellos without a hybrid share are padded to; some proxies know no other.
const PADDED_LEN: usize = 517;
/// Coefficients of an ML-KEM-768 key, their modulus, and the seed behind them (FIPS 203).
const MLKEM_COEFFICIENTS: usize = 768;
const MLKEM_MODULUS: u16 = 3329;
const MLKEM_SEED_LEN: usize = 32;

const CIPHERS: [u16; 15] = [
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
    0x002f, 0x0035,
];
const SIGNATURES: [u16; 8] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

/// Which key shares a hello offers, and with them its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shares {
    /// X25519MLKEM768 and X25519, as browsers do since 2025; 1.8 KB.
    #[default]
    Hybrid,
    /// X25519 alone, 517 bytes: for proxies that wait for just that length.
    Classic,
}

/// The whole record. `fill` is the source of random bytes, `now` unix seconds.
#[must_use]
pub fn client_hello(
    secret: &Secret,
    domain: &str,
    shares: Shares,
    now: u32,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Vec<u8> {
    let mut draw = Draw(fill);
    let mut record = alloc::vec![0x16, 0x03, 0x01];
    block16(&mut record, |record| {
        // A handshake message has a length of three bytes; ours never need the first.
        record.extend([0x01, 0x00]);
        block16(record, |hello| {
            hello.extend([0x03, 0x03]);
            hello.extend([0; 32]);
            hello.push(32);
            hello.extend(draw.bytes::<32>());
            block16(hello, |list| {
                put16(list, draw.grease());
                CIPHERS.iter().for_each(|suite| put16(list, *suite));
            });
            hello.extend([1, 0]);
            block16(hello, |list| extensions(list, domain, shares, &mut draw));
        });
    });
    sign(&mut record, secret, now);
    record
}

/// The extensions, in a drawn order between the two that mean nothing.
fn extensions(list: &mut Vec<u8>, domain: &str, shares: Shares, draw: &mut Draw<'_>) {
    let group = draw.grease();
    let mut middle = common_extensions(domain, shares, group, draw);
    for last in (1..middle.len()).rev() {
        middle.swap(last, draw.below(last.saturating_add(1)));
    }
    list.extend(extension(draw.grease(), |_| {}));
    middle.iter().for_each(|extension| list.extend(extension));
    list.extend(extension(draw.grease(), |body| body.push(0)));
    if shares == Shares::Classic {
        // The list stands in the record, so its bytes are all bytes so far.
        let missing = PADDED_LEN.saturating_sub(list.len().saturating_add(4));
        if missing > 0 {
            list.extend(extension(0x0015, |padding| {
                padding.resize(padding.len().saturating_add(missing), 0)
            }));
        }
    }
}

fn common_extensions(domain: &str, shares: Shares, group: u16, draw: &mut Draw<'_>) -> Vec<Vec<u8>> {
    let hybrid = shares == Shares::Hybrid;
    let mut all = alloc::vec![
        extension(0x0000, |names| {
            block16(names, |names| {
                names.push(0);
                block16(names, |name| name.extend(domain.as_bytes()));
            });
        }),
        extension(0x0017, |_| {}),
        extension(0xff01, |renegotiation| renegotiation.push(0)),
        extension(0x000a, |groups| {
            block16(groups, |groups| {
                put16(groups, group);
                if hybrid {
                    put16(groups, GROUP_X25519_MLKEM768);
                }
                [GROUP_X25519, 0x0017, 0x0018]
                    .iter()
                    .for_each(|group| put16(groups, *group));
            });
        }),
        extension(0x000b, |formats| formats.extend([1, 0])),
        extension(0x0023, |_| {}),
        extension(0x0010, |protocols| {
            block16(protocols, |list| list.extend(b"\x02h2\x08http/1.1"));
        }),
        extension(0x0005, |status| status.extend([1, 0, 0, 0, 0])),
        extension(0x000d, |signatures| {
            block16(signatures, |list| {
                SIGNATURES.iter().for_each(|scheme| put16(list, *scheme));
            });
        }),
        extension(0x0012, |_| {}),
        extension(0x0033, |key_share| {
            block16(key_share, |list| {
                put16(list, group);
                block16(list, |share| share.push(0));
                if hybrid {
                    put16(list, GROUP_X25519_MLKEM768);
                    block16(list, |share| {
                        mlkem_key(share, draw);
                        share.extend(x25519::key_share(draw.0));
                    });
                }
                put16(list, GROUP_X25519);
                block16(list, |share| share.extend(x25519::key_share(draw.0)));
            });
        }),
        extension(0x002d, |modes| modes.extend([1, 1])),
        extension(0x002b, |versions| {
            versions.push(6);
            put16(versions, draw.grease());
            versions.extend([0x03, 0x04, 0x03, 0x03]);
        }),
        extension(0x001b, |compression| compression.extend([2, 0, 2])),
    ];
    if hybrid {
        // An Encrypted ClientHello that means nothing: outer, HKDF-SHA256 with AES-128-GCM, an id, a key, a payload.
        all.push(extension(0xfe0d, |hello| {
            hello.extend([0, 0, 1, 0, 1]);
            hello.extend(draw.bytes::<1>());
            block16(hello, |key| key.extend(x25519::key_share(draw.0)));
            block16(hello, |payload| payload.extend(draw.bytes::<208>()));
        }));
    }
    all
}

/// Random coefficients below the modulus, two in three bytes, and a random seed.
fn mlkem_key(share: &mut Vec<u8>, draw: &mut Draw<'_>) {
    for _ in 0..MLKEM_COEFFICIENTS / 2 {
        let (low, high) = (draw.coefficient(), draw.coefficient());
        let [a, b, c, _] = (u32::from(low) | u32::from(high) << 12).to_le_bytes();
        share.extend([a, b, c]);
    }
    share.extend(draw.bytes::<MLKEM_SEED_LEN>());
}

/// Puts the digest over the whole record, and the time over its end, where `random` was zero.
fn sign(record: &mut [u8], secret: &Secret, now: u32) {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return;
    };
    mac.update(record);
    let mut random = mac.finalize().into_bytes();
    for (byte, time) in random.iter_mut().skip(DIGEST_LEN).zip(now.to_le_bytes()) {
        *byte ^= time;
    }
    for (to, from) in record.iter_mut().skip(RANDOM.start).zip(random) {
        *to = from;
    }
}

/// Random values out of random bytes.
struct Draw<'a>(&'a mut dyn FnMut(&mut [u8]));

impl Draw<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// One of the sixteen values that mean nothing.
    fn grease(&mut self) -> u16 {
        let [byte] = self.bytes();
        u16::from_be_bytes([byte & 0xf0 | 0x0a; 2])
    }

    /// A number below `bound`, which is small: for an order that is only to differ.
    fn below(&mut self, bound: usize) -> usize {
        usize::from(u16::from_be_bytes(self.bytes()))
            .checked_rem(bound)
            .unwrap_or_default()
    }

    fn coefficient(&mut self) -> u16 {
        loop {
            let value = u16::from_be_bytes(self.bytes()) & 0x0fff;
            if value < MLKEM_MODULUS {
                return value;
            }
        }
    }
}

fn extension(kind: u16, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    put16(&mut bytes, kind);
    block16(&mut bytes, write);
    bytes
}

fn put16(bytes: &mut Vec<u8>, value: u16) {
    bytes.extend(value.to_be_bytes());
}

/// A two-byte length and what `write` appends behind it.
fn block16(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    put16(bytes, 0);
    write(bytes);
    let len = u16::try_from(bytes.len().saturating_sub(start).saturating_sub(2)).unwrap_or(u16::MAX);
    for (to, from) in bytes.iter_mut().skip(start).zip(len.to_be_bytes()) {
        *to = from;
    }
}
