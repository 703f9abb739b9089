//! Obfuscated2: the 64-byte header and the two AES-256-CTR streams that it opens.
//!
//! Read the transport obfuscation page of the MTProto documentation first. Written without the relay's own codec; both
//! ends are here, the client's (keys hashed with a secret, or raw) and the data centre's (raw).

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use sha2::{Digest, Sha256};
use std::fmt;

use crate::rng::Rng;

/// A header's length.
pub const HEADER_LEN: usize = 64;

mod field {
    use std::ops::Range;
    pub(super) const KEY: Range<usize> = 8..40;
    pub(super) const IV: Range<usize> = 40..56;
    pub(super) const KEY_AND_IV: Range<usize> = 8..56;
    pub(super) const TAG: Range<usize> = 56..60;
    pub(super) const DC: Range<usize> = 60..62;
    pub(super) const SEALED: Range<usize> = 56..64;
}

/// AES-256-CTR with a 128-bit big-endian counter, somewhere in its stream.
pub struct Cipher(Ctr128BE<Aes256>);

impl Cipher {
    /// At the start of the stream.
    pub fn new(key: &[u8; 32], iv: &[u8; 16]) -> Cipher {
        Cipher(Ctr128BE::new(&(*key).into(), &(*iv).into()))
    }

    /// Encrypts or decrypts the next bytes: it is the same.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

/// What a header says about the frames that follow. Any four bytes, so that tests can write a forbidden one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(pub [u8; 4]);

impl Tag {
    /// One length byte, counted in words.
    pub const ABRIDGED: Tag = Tag([0xef; 4]);
    /// Four length bytes.
    pub const INTERMEDIATE: Tag = Tag([0xee; 4]);
    /// Four length bytes, and padding inside the length.
    pub const PADDED: Tag = Tag([0xdd; 4]);
    /// The three that are allowed.
    pub const ALL: [Tag; 3] = [Tag::ABRIDGED, Tag::INTERMEDIATE, Tag::PADDED];
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

/// A header as a client sends it, and the ciphers of its two directions.
#[derive(Debug)]
pub struct Init {
    /// The bytes that go onto the wire.
    pub bytes: [u8; HEADER_LEN],
    /// Client to server, standing after the header.
    pub up: Cipher,
    /// Server to client, at its start.
    pub down: Cipher,
}

/// Draws a header that obeys the forbidden starts. With a secret: what a proxy expects; without: what a DC expects.
pub fn init_header(secret: Option<&[u8; 16]>, tag: Tag, dc: i16, seed: u64) -> Init {
    let mut rng = Rng::new(seed);
    loop {
        let random: [u8; HEADER_LEN] = rng.array();
        if forbidden_start(&random).is_none() {
            return seal(random, secret, tag, dc);
        }
    }
}

/// Makes a header of these random bytes, whatever they start with.
pub fn seal(random: [u8; HEADER_LEN], secret: Option<&[u8; 16]>, tag: Tag, dc: i16) -> Init {
    let mut plain = random;
    plain[field::TAG].copy_from_slice(&tag.0);
    plain[field::DC].copy_from_slice(&dc.to_le_bytes());
    let (mut up, down) = ciphers(&plain, secret);
    let mut sealed = plain;
    up.apply(&mut sealed);
    let mut bytes = plain;
    bytes[field::SEALED].copy_from_slice(&sealed[field::SEALED]);
    Init { bytes, up, down }
}

/// The ciphers of both directions, each at its start. The order is the sender's: (its own, the answer's).
fn ciphers(header: &[u8; HEADER_LEN], secret: Option<&[u8; 16]>) -> (Cipher, Cipher) {
    let forward = (array(&header[field::KEY]), array(&header[field::IV]));
    let mut reversed: [u8; 48] = array(&header[field::KEY_AND_IV]);
    reversed.reverse();
    let backward = (array(&reversed[..32]), array(&reversed[32..]));
    let cipher = |(key, iv): ([u8; 32], [u8; 16])| match secret {
        Some(secret) => {
            let hashed = Sha256::new().chain_update(key).chain_update(secret).finalize();
            Cipher::new(&hashed.into(), &iv)
        }
        None => Cipher::new(&key, &iv),
    };
    (cipher(forward), cipher(backward))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the field's length is a constant")
}

/// What a data centre reads out of the first 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// As they came.
    pub raw: [u8; HEADER_LEN],
    /// How frames are cut.
    pub tag: Tag,
    /// Which DC the sender believes this to be; negative for media.
    pub dc: i16,
    /// Which forbidden start the sender used, if it did.
    pub violation: Option<&'static str>,
}

/// Opens a header, as a data centre (no secret) or a proxy does: the header, the cipher of what follows, and the one to answer with.
pub fn open(raw: &[u8; HEADER_LEN], secret: Option<&[u8; 16]>) -> (Header, Cipher, Cipher) {
    let (mut up, down) = ciphers(raw, secret);
    let mut plain = *raw;
    up.apply(&mut plain);
    let header = Header {
        raw: *raw,
        tag: Tag(array(&plain[field::TAG])),
        dc: i16::from_le_bytes(array(&plain[field::DC])),
        violation: forbidden_start(raw),
    };
    (header, up, down)
}

/// Why a header must not start like this: its first bytes would pass for another protocol or transport.
pub fn forbidden_start(header: &[u8; HEADER_LEN]) -> Option<&'static str> {
    if header[0] == 0xef {
        return Some("starts with ef");
    }
    match &header[..4] {
        b"HEAD" => return Some("starts with HEAD"),
        b"POST" => return Some("starts with POST"),
        b"GET " => return Some("starts with GET"),
        b"OPTI" => return Some("starts with OPTI"),
        [0xee, 0xee, 0xee, 0xee] => return Some("starts with eeeeeeee"),
        [0xdd, 0xdd, 0xdd, 0xdd] => return Some("starts with dddddddd"),
        [0x16, 0x03, 0x01, 0x02] => return Some("starts with 16030102"),
        _ => {}
    }
    (header[4..8] == [0; 4]).then_some("its second word is zero")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
            .collect()
    }

    /// NIST SP 800-38A, F.5.5.
    #[test]
    fn cipher_agrees_with_the_published_vector() {
        let key = array(&hex(
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        ));
        let iv = array(&hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"));
        let mut bytes = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        Cipher::new(&key, &iv).apply(&mut bytes);
        assert_eq!(
            bytes,
            hex("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5")
        );
    }

    /// Computed with OpenSSL through Python's cryptography package: bytes 1 to 64, tag dd, DC −2.
    #[test]
    fn headers_agree_with_another_implementation() {
        let random = std::array::from_fn(|at| at as u8 + 1);
        for (secret, sealed, next_up, first_down) in [
            (
                Some(b"0123456789abcdef"),
                "7240e57902272a44",
                "82e02822ce3265813c11277d55f68783",
                "1c55c3d067162585500a5e99e2d829e2",
            ),
            (
                None,
                "008ea7b70d044e3a",
                "dd004d2a9d4aeedc3c99effa6b5679fa",
                "f88d187aea16c74f41860652b91da7ae",
            ),
        ] {
            let mut init = seal(random, secret, Tag::PADDED, -2);
            assert_eq!(init.bytes[..56], random[..56]);
            assert_eq!(init.bytes[56..], hex(sealed));
            let (mut up, mut down) = ([0; 16], [0; 16]);
            init.up.apply(&mut up);
            init.down.apply(&mut down);
            assert_eq!((up.to_vec(), down.to_vec()), (hex(next_up), hex(first_down)));
        }
    }

    #[test]
    fn data_centre_reads_what_a_direct_client_wrote() {
        for (seed, tag) in Tag::ALL.into_iter().enumerate() {
            let mut client = init_header(None, tag, -203, seed as u64);
            let (header, mut up, mut down) = open(&client.bytes, None);
            assert_eq!((header.tag, header.dc, header.violation), (tag, -203, None));
            let mut bytes = *b"both ways";
            client.up.apply(&mut bytes);
            up.apply(&mut bytes);
            down.apply(&mut bytes);
            client.down.apply(&mut bytes);
            assert_eq!(&bytes, b"both ways");
        }
    }

    #[test]
    fn forbidden_starts_are_named() {
        for start in [
            b"HEAD",
            b"POST",
            b"GET ",
            b"OPTI",
            b"\xee\xee\xee\xee",
            b"\xdd\xdd\xdd\xdd",
            b"\x16\x03\x01\x02",
        ] {
            let mut header = [1; HEADER_LEN];
            header[..4].copy_from_slice(start);
            assert!(forbidden_start(&header).is_some());
        }
        let mut header = [1; HEADER_LEN];
        assert_eq!(forbidden_start(&header), None);
        header[4..8].fill(0);
        assert!(forbidden_start(&header).is_some());
        header = [1; HEADER_LEN];
        header[0] = 0xef;
        assert!(forbidden_start(&header).is_some());
    }
}
