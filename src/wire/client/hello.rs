//! The ClientHello that opens a connection to a fake-TLS proxy: a browser's hello, whose `random` is a digest and the time.
//!
//! Read RFC 8446, section 4.1.2, and [`crate::faketls::client_hello`], which parses this hello, first. The hello imitates a
//! browser of 2025: GREASE (RFC 8701), extensions in random order, a hybrid key share. Neither key share has a private key,
//! because the connection never becomes TLS. Both are well-formed all the same: an X25519 share is a point of the subgroup, and
//! the ML-KEM key's coefficients are below the modulus.

use crate::faketls::client_hello::{GROUP_X25519, GROUP_X25519_MLKEM768};
use crate::faketls::handshake::{RANDOM, block16, put16};
use crate::faketls::x25519;
use crate::secret::Secret;
use alloc::vec::Vec;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Length in bytes of the digest's part that the time is not XORed into.
const DIGEST_LEN: usize = 28;
/// Length in bytes to which a hello without a hybrid share is padded. Some proxies accept no other length.
const PADDED_LEN: usize = 517;
/// Number of coefficients of an ML-KEM-768 key (FIPS 203).
const MLKEM_COEFFICIENTS: usize = 768;
/// Modulus of the coefficients.
const MLKEM_MODULUS: u16 = 3329;
/// Length in bytes of the seed after the coefficients.
const MLKEM_SEED_LEN: usize = 32;

/// Cipher suites in a browser's order.
const CIPHERS: [u16; 15] = [
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
    0x002f, 0x0035,
];
/// Signature algorithms in a browser's order.
const SIGNATURES: [u16; 8] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

/// The key shares of a hello. They decide its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shares {
    /// X25519MLKEM768 and X25519, as browsers offer since 2025; the hello has 1.8 KB.
    #[default]
    Hybrid,
    /// X25519 alone, in a hello of 517 bytes, for proxies that accept only that length.
    Classic,
}

/// The whole record. `now` is Unix time in seconds, `fill` the source of random bytes.
#[must_use]
pub(super) fn client_hello(
    secret: &Secret,
    domain: &str,
    shares: Shares,
    now: u32,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Vec<u8> {
    let mut random = RandomValues(fill);
    let mut record = alloc::vec![0x16, 0x03, 0x01];
    block16(&mut record, |record| {
        // The length of a handshake message has three bytes; the first is always zero here.
        record.extend([0x01, 0x00]);
        block16(record, |hello| {
            hello.extend([0x03, 0x03]);
            hello.extend([0; 32]);
            hello.push(32);
            hello.extend(random.bytes::<32>());
            block16(hello, |list| {
                put16(list, random.grease());
                CIPHERS.iter().for_each(|suite| put16(list, *suite));
            });
            hello.extend([1, 0]);
            block16(hello, |list| extensions(list, domain, shares, &mut random));
        });
    });
    sign(&mut record, secret, now);
    record
}

/// Appends the extensions, in random order between two GREASE extensions.
fn extensions(list: &mut Vec<u8>, domain: &str, shares: Shares, random: &mut RandomValues<'_>) {
    let group = random.grease();
    let mut middle = common_extensions(domain, shares, group, random);
    for last in (1..middle.len()).rev() {
        middle.swap(last, random.below(last.saturating_add(1)));
    }
    list.extend(extension(random.grease(), |_| {}));
    middle.iter().for_each(|extension| list.extend(extension));
    list.extend(extension(random.grease(), |body| body.push(0)));
    if shares == Shares::Classic {
        // `list` is the record under construction, so its length is that of the whole hello so far.
        let missing = PADDED_LEN.saturating_sub(list.len().saturating_add(4));
        if missing > 0 {
            list.extend(extension(0x0015, |padding| {
                padding.resize(padding.len().saturating_add(missing), 0)
            }));
        }
    }
}

fn common_extensions(
    domain: &str,
    shares: Shares,
    group: u16,
    random: &mut RandomValues<'_>,
) -> Vec<Vec<u8>> {
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
        extension(0x0033, |out| key_shares(out, hybrid, group, random)),
        extension(0x002d, |modes| modes.extend([1, 1])),
        extension(0x002b, |versions| {
            versions.push(6);
            put16(versions, random.grease());
            versions.extend([0x03, 0x04, 0x03, 0x03]);
        }),
        extension(0x001b, |compression| compression.extend([2, 0, 2])),
    ];
    if hybrid {
        // A GREASE Encrypted ClientHello: outer, HKDF-SHA256 with AES-128-GCM, an id, a key, a payload.
        all.push(extension(0xfe0d, |hello| {
            hello.extend([0, 0, 1, 0, 1]);
            hello.extend(random.bytes::<1>());
            block16(hello, |key| key.extend(x25519::key_share(random.0)));
            block16(hello, |payload| payload.extend(random.bytes::<208>()));
        }));
    }
    all
}

/// Appends the key shares: GREASE, the hybrid one if asked for, and X25519.
fn key_shares(out: &mut Vec<u8>, hybrid: bool, grease: u16, random: &mut RandomValues<'_>) {
    block16(out, |list| {
        put16(list, grease);
        block16(list, |share| share.push(0));
        if hybrid {
            put16(list, GROUP_X25519_MLKEM768);
            block16(list, |share| {
                mlkem_key(share, random);
                share.extend(x25519::key_share(random.0));
            });
        }
        put16(list, GROUP_X25519);
        block16(list, |share| share.extend(x25519::key_share(random.0)));
    });
}

/// Appends a well-formed ML-KEM key: random coefficients below the modulus, two in three bytes, and a random seed.
fn mlkem_key(share: &mut Vec<u8>, random: &mut RandomValues<'_>) {
    for _ in 0..MLKEM_COEFFICIENTS / 2 {
        let (low, high) = (random.coefficient(), random.coefficient());
        let [a, b, c, _] = (u32::from(low) | u32::from(high) << 12).to_le_bytes();
        share.extend([a, b, c]);
    }
    share.extend(random.bytes::<MLKEM_SEED_LEN>());
}

/// Writes the digest of the whole record into `random`, with the time XORed into its last four bytes.
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

/// Random values from a source of random bytes.
struct RandomValues<'a>(&'a mut dyn FnMut(&mut [u8]));

impl RandomValues<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.0)(&mut bytes);
        bytes
    }

    /// One of the sixteen GREASE values.
    fn grease(&mut self) -> u16 {
        let [byte] = self.bytes();
        u16::from_be_bytes([byte & 0xf0 | 0x0a; 2])
    }

    /// A number below a small `bound`. It is slightly biased, which is enough for the order of extensions.
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
