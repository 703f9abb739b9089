//! Obfuscated2: the 64-byte header that opens every connection and keys both of its directions.
//!
//! Read <https://core.telegram.org/mtproto/mtproto-transports#transport-obfuscation> first. Between client and relay both keys
//! are hashed with the user's secret. Between relay and DC the header's keys are used unhashed.
//!
//! ```text
//!  0        8                    40        56     60   62   64
//!  | random | key                | iv      | tag  | dc | random |
//! ```

use crate::cipher::{Stream, StreamKey};
use crate::secret::Secret;
use core::ops::Range;
use sha2::{Digest as _, Sha256};

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 64;

pub(crate) mod field {
    use super::Range;

    pub(crate) const START: Range<usize> = 0..8;
    /// Key and IV of the direction from the header's sender. The same bytes reversed are those of the other direction.
    pub(crate) const KEYS: Range<usize> = 8..56;
    pub(crate) const TAG: Range<usize> = 56..60;
    pub(crate) const DC: Range<usize> = 60..62;
    pub(crate) const REST: Range<usize> = 62..64;
    pub(crate) const KEYS_LEN: usize = 48;
    /// The part of a header that identifies it in the replay window: an attacker cannot change these bytes of a recorded header.
    /// Bytes 0..8 and 60..64 could be changed without breaking it.
    pub(crate) const REPLAY: Range<usize> = 8..24;
}

/// First bytes that an outgoing header must not have, because a middlebox or the peer takes them for another protocol.
const FORBIDDEN_STARTS: [[u8; 4]; 7] = [
    *b"HEAD",
    *b"POST",
    *b"GET ",
    *b"OPTI",
    [0xee, 0xee, 0xee, 0xee],
    [0xdd, 0xdd, 0xdd, 0xdd],
    [0x16, 0x03, 0x01, 0x02],
];

/// The transport after the header, which frames the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Length in words, in one byte or four.
    Abridged,
    /// Length in four bytes.
    Intermediate,
    /// Length in four bytes, and up to 15 bytes of padding.
    Padded,
}

impl Tag {
    /// The tag's four bytes in the header.
    #[must_use]
    pub const fn bytes(self) -> [u8; 4] {
        match self {
            Tag::Abridged => [0xef; 4],
            Tag::Intermediate => [0xee; 4],
            Tag::Padded => [0xdd; 4],
        }
    }

    const fn from_bytes(bytes: [u8; 4]) -> Option<Tag> {
        match bytes {
            [0xef, 0xef, 0xef, 0xef] => Some(Tag::Abridged),
            [0xee, 0xee, 0xee, 0xee] => Some(Tag::Intermediate),
            [0xdd, 0xdd, 0xdd, 0xdd] => Some(Tag::Padded),
            _ => None,
        }
    }
}

/// The 16 bytes that identify a handshake in the replay window.
pub type ReplayKey = [u8; 16];

/// A parsed header of a client.
#[derive(Debug)]
pub struct ClientInit {
    /// The transport.
    pub tag: Tag,
    /// The DC id: negative for media. A hostile client may send any number.
    pub dc: i16,
    /// Cipher of the client's bytes, from the first one after the header.
    pub up: Stream,
    /// Key of the bytes to the client, from the first one.
    pub down: StreamKey,
    /// The header's key for the replay window.
    pub replay_key: ReplayKey,
}

impl ClientInit {
    /// Parses a client's header with a user's secret. `None` if it is not a header of this user.
    #[must_use]
    pub fn parse(header: &[u8; HEADER_LEN], secret: &Secret) -> Option<ClientInit> {
        let keys: [u8; field::KEYS_LEN] = array(header, field::KEYS)?;
        let mut up = Stream::new(&hashed(&keys, secret));
        let mut plain = *header;
        up.apply(&mut plain);
        Some(ClientInit {
            tag: Tag::from_bytes(array(&plain, field::TAG)?)?,
            dc: i16::from_le_bytes(array(&plain, field::DC)?),
            up,
            down: hashed(&reversed(&keys), secret),
            replay_key: array(header, field::REPLAY)?,
        })
    }
}

/// The header to the DC and the two streams that it keys.
#[derive(Debug)]
pub struct DcInit {
    /// The 64 bytes to send first.
    pub header: [u8; HEADER_LEN],
    /// Cipher of the bytes after the header.
    pub up: Stream,
    /// Key of the DC's bytes, from the first one.
    pub down: StreamKey,
}

impl DcInit {
    /// A header with random keys.
    ///
    /// `fill` is the source of random bytes.
    #[must_use]
    pub fn new(tag: Tag, dc: i16, fill: &mut dyn FnMut(&mut [u8])) -> DcInit {
        let mut keys = [0; field::KEYS_LEN];
        fill(&mut keys);
        DcInit::with_keys(tag, dc, &keys, fill)
    }

    /// A header for fast mode: the DC encrypts with the key that the client expects (`client_down`), so that its bytes pass
    /// unchanged. The DC takes its key from the reversed bytes, unhashed, so the header holds the client's key reversed.
    #[must_use]
    pub fn fast(tag: Tag, dc: i16, client_down: &StreamKey, fill: &mut dyn FnMut(&mut [u8])) -> DcInit {
        DcInit::with_keys(tag, dc, &reversed(&client_down.to_bytes()), fill)
    }

    fn with_keys(tag: Tag, dc: i16, keys: &[u8; field::KEYS_LEN], fill: &mut dyn FnMut(&mut [u8])) -> DcInit {
        let mut plain = [0; HEADER_LEN];
        put(&mut plain, field::START, &allowed_start(fill));
        put(&mut plain, field::KEYS, keys);
        put(&mut plain, field::TAG, &tag.bytes());
        put(&mut plain, field::DC, &dc.to_le_bytes());
        let mut rest = [0; 2];
        fill(&mut rest);
        put(&mut plain, field::REST, &rest);

        let mut up = Stream::new(&StreamKey::from_bytes(keys));
        let mut header = plain;
        up.apply(&mut header);
        put(
            &mut header,
            0..field::TAG.start,
            plain.get(..field::TAG.start).unwrap_or_default(),
        );
        DcInit {
            header,
            up,
            down: StreamKey::from_bytes(&reversed(keys)),
        }
    }
}

/// Whether a header may start with these bytes.
#[must_use]
pub(crate) fn start_is_allowed(start: &[u8; 8]) -> bool {
    let [a, b, c, d, second @ ..] = *start;
    a != 0xef && second != [0; 4] && !FORBIDDEN_STARTS.contains(&[a, b, c, d])
}

pub(crate) fn allowed_start(fill: &mut dyn FnMut(&mut [u8])) -> [u8; 8] {
    loop {
        let mut start = [0; 8];
        fill(&mut start);
        if start_is_allowed(&start) {
            return start;
        }
    }
}

pub(crate) fn hashed(keys: &[u8; field::KEYS_LEN], secret: &Secret) -> StreamKey {
    let raw = StreamKey::from_bytes(keys);
    let digest = Sha256::new()
        .chain_update(raw.key)
        .chain_update(secret.as_bytes())
        .finalize();
    StreamKey {
        key: digest.into(),
        iv: raw.iv,
    }
}

pub(crate) fn reversed(bytes: &[u8; field::KEYS_LEN]) -> [u8; field::KEYS_LEN] {
    let mut reversed = *bytes;
    reversed.reverse();
    reversed
}

pub(crate) fn array<const N: usize>(bytes: &[u8; HEADER_LEN], range: Range<usize>) -> Option<[u8; N]> {
    bytes.get(range)?.try_into().ok()
}

pub(crate) fn put(bytes: &mut [u8; HEADER_LEN], range: Range<usize>, value: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(range.start).take(range.len()).zip(value) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const SECRET: Secret = Secret::from_bytes([0x42; 16]);

    fn counting() -> impl FnMut(&mut [u8]) {
        let mut next = 1_u8;
        move |bytes: &mut [u8]| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(37);
            }
        }
    }

    #[test]
    fn the_dc_reads_back_what_was_written() {
        for (tag, dc) in [
            (Tag::Abridged, 2),
            (Tag::Intermediate, -4),
            (Tag::Padded, 203),
            (Tag::Padded, -10_002),
        ] {
            let mut init = DcInit::new(tag, dc, &mut counting());
            // What a DC does: raw keys, then the same plaintext fields.
            let keys: [u8; 48] = init.header[field::KEYS].try_into().unwrap();
            let mut from_relay = Stream::new(&StreamKey::from_bytes(&keys));
            let mut plain = init.header;
            from_relay.apply(&mut plain);
            assert_eq!(plain[field::TAG], tag.bytes());
            assert_eq!(plain[field::DC], dc.to_le_bytes());

            let mut message = *b"up we go";
            init.up.apply(&mut message);
            from_relay.apply(&mut message);
            assert_eq!(&message, b"up we go");
        }
    }

    #[test]
    fn in_fast_mode_the_dc_encrypts_as_the_client_expects() {
        let client_down = StreamKey {
            key: [3; 32],
            iv: [5; 16],
        };
        let init = DcInit::fast(Tag::Padded, 4, &client_down, &mut counting());
        let mut keys: [u8; 48] = init.header[field::KEYS].try_into().unwrap();
        keys.reverse();
        assert_eq!(StreamKey::from_bytes(&keys), client_down);
        assert_eq!(init.down, client_down);
    }

    #[test]
    fn forbidden_starts_are_drawn_again() {
        let mut draws: Vec<[u8; 8]> = FORBIDDEN_STARTS
            .iter()
            .map(|start| [start[0], start[1], start[2], start[3], 1, 1, 1, 1])
            .chain([
                [0xef, 1, 1, 1, 1, 1, 1, 1],
                [1, 1, 1, 1, 0, 0, 0, 0],
                [1, 2, 3, 4, 5, 6, 7, 8],
            ])
            .rev()
            .collect();
        let mut fill = |bytes: &mut [u8]| match <&mut [u8; 8]>::try_from(&mut *bytes) {
            Ok(start) => *start = draws.pop().unwrap(),
            Err(_) => bytes.fill(0x77),
        };
        let init = DcInit::new(Tag::Padded, 2, &mut fill);
        assert_eq!(init.header[field::START], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(draws.is_empty());
    }

    #[test]
    fn another_secret_parses_no_header() {
        let mut header = [0x5a; HEADER_LEN];
        for byte in 0..=255 {
            header[9] = byte;
            assert!(ClientInit::parse(&header, &SECRET).is_none());
        }
    }
}
