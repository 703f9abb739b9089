//! TLS records (RFC 8446, section 5.1) as the carrier of a byte stream.
//!
//! [`Unwrapper`] extracts the payload of the client's records in place. [`header`] makes the header of a record to the client.

use core::ops::Range;

/// Length of a record's header in bytes.
pub const HEADER_LEN: usize = 5;
/// Longest payload in bytes of a record that is sent.
pub const MAX_PAYLOAD: usize = 16_384;

const CHANGE_CIPHER_SPEC: u8 = 0x14;
const APPLICATION_DATA: u8 = 0x17;
/// Bytes beyond [`MAX_PAYLOAD`] that RFC 8446 allows in a protected record.
const MAX_EXPANSION: usize = 256;

/// The header of an application data record of `len` bytes, at most [`MAX_PAYLOAD`].
#[must_use]
pub fn header(len: usize) -> [u8; HEADER_LEN] {
    debug_assert!(len <= MAX_PAYLOAD, "a record of {len} bytes");
    let [high, low] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    [APPLICATION_DATA, 0x03, 0x03, high, low]
}

/// A record that no client sends: of another type or version, or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord;

/// Extractor of the payload from a stream of records. Records and reads may be cut anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwrapper {
    header: [u8; HEADER_LEN],
    header_len: u8,
    /// Bytes of the current record that have not arrived yet.
    left: u16,
    /// The current record is a ChangeCipherSpec, whose single byte TLS 1.3 ignores.
    skip: bool,
}

impl Unwrapper {
    /// Moves the payload in `bytes` together and returns its range. The payload of a single record is not moved.
    ///
    /// # Errors
    /// On a record that no client sends. None of this call's bytes may be used then.
    pub fn unwrap_in_place(&mut self, bytes: &mut [u8]) -> Result<Range<usize>, BadRecord> {
        let mut payload: Range<usize> = 0..0;
        let mut at = 0;
        while at < bytes.len() {
            if self.left == 0 {
                at = at.saturating_add(self.take_header(bytes.get(at..).unwrap_or_default())?);
                continue;
            }
            let len = usize::from(self.left).min(bytes.len().saturating_sub(at));
            // `len` is at most `self.left`, so it fits.
            self.left = self.left.saturating_sub(len as u16);
            let piece = at..at.saturating_add(len);
            at = piece.end;
            if self.skip {
                continue;
            }
            if payload.is_empty() {
                payload = piece;
            } else {
                bytes.copy_within(piece, payload.end);
                payload.end = payload.end.saturating_add(len);
            }
        }
        Ok(payload)
    }

    /// Advances by the part of `bytes` that holds the next `payload_left` bytes of payload, and returns that part's length.
    ///
    /// # Errors
    /// As [`Unwrapper::unwrap_in_place`].
    pub fn advance(&mut self, bytes: &[u8], payload_left: &mut usize) -> Result<usize, BadRecord> {
        let mut at = 0_usize;
        while *payload_left > 0 && at < bytes.len() {
            if self.left == 0 {
                at = at.saturating_add(self.take_header(bytes.get(at..).unwrap_or_default())?);
                continue;
            }
            let len = usize::from(self.left).min(bytes.len().saturating_sub(at));
            let len = if self.skip { len } else { len.min(*payload_left) };
            // `len` is at most `self.left`, so it fits.
            self.left = self.left.saturating_sub(len as u16);
            at = at.saturating_add(len);
            if !self.skip {
                *payload_left = payload_left.saturating_sub(len);
            }
        }
        Ok(at)
    }

    /// The number of bytes that certainly belong to the next `payload_len` bytes of payload and the headers before them. Reading
    /// at most this many takes no byte of what follows.
    #[must_use]
    pub fn wanted(&self, payload_len: usize) -> usize {
        if self.left > 0 && !self.skip {
            payload_len
        } else if self.left > 0 {
            usize::from(self.left)
                .saturating_add(HEADER_LEN)
                .saturating_add(payload_len)
        } else {
            HEADER_LEN
                .saturating_sub(self.header_len.into())
                .saturating_add(payload_len)
        }
    }

    /// Takes the available part of a header and returns its length.
    fn take_header(&mut self, bytes: &[u8]) -> Result<usize, BadRecord> {
        let mut taken = 0_usize;
        for (to, from) in self
            .header
            .iter_mut()
            .skip(usize::from(self.header_len))
            .zip(bytes)
        {
            *to = *from;
            taken = taken.saturating_add(1);
        }
        // At most five.
        self.header_len = self.header_len.saturating_add(taken as u8);
        if usize::from(self.header_len) == HEADER_LEN {
            self.header_len = 0;
            let [kind, 0x03, 0x03, high, low] = self.header else {
                return Err(BadRecord);
            };
            let len = u16::from_be_bytes([high, low]);
            self.skip = match (kind, len) {
                (CHANGE_CIPHER_SPEC, 1) => true,
                (APPLICATION_DATA, _) if usize::from(len) <= MAX_PAYLOAD + MAX_EXPANSION => false,
                _ => return Err(BadRecord),
            };
            self.left = len;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn records(payloads: &[&[u8]]) -> Vec<u8> {
        payloads
            .iter()
            .flat_map(|payload| [&header(payload.len()), *payload].concat())
            .collect()
    }

    fn unwrap_in_pieces(stream: &[u8], piece: usize) -> Result<Vec<u8>, BadRecord> {
        let mut unwrapper = Unwrapper::default();
        let mut payload = Vec::new();
        for bytes in stream.chunks(piece) {
            let mut bytes = bytes.to_vec();
            let range = unwrapper.unwrap_in_place(&mut bytes)?;
            payload.extend_from_slice(&bytes[range]);
        }
        Ok(payload)
    }

    #[test]
    fn payload_comes_out_however_it_was_cut() {
        let mut stream = b"\x14\x03\x03\x00\x01\x01".to_vec();
        stream.extend(records(&[b"hello", b"", b" ", b"world", &[b'!'; 300]]));
        let expected = [&b"hello world"[..], &[b'!'; 300]].concat();
        for piece in 1..=stream.len() {
            assert_eq!(
                unwrap_in_pieces(&stream, piece).as_deref(),
                Ok(&expected[..]),
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn one_record_is_not_moved() {
        let mut bytes = records(&[b"in place"]);
        assert_eq!(Unwrapper::default().unwrap_in_place(&mut bytes), Ok(5..13));
    }

    #[test]
    fn foreign_records_are_refused() {
        for bad in [
            b"\x15\x03\x03\x00\x02\x01\x00",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"\x17\x03\x01\x00\x01\x00\x00",
            b"\x17\x03\x03\xff\xff\x00\x00",
            b"\x14\x03\x03\x00\x02\x01\x01",
        ] {
            assert_eq!(unwrap_in_pieces(bad, 1), Err(BadRecord), "{bad:02x?}");
            assert_eq!(unwrap_in_pieces(bad, 7), Err(BadRecord), "{bad:02x?}");
        }
    }

    #[test]
    fn advancing_takes_just_what_a_payload_needs() {
        let mut stream = b"\x14\x03\x03\x00\x01\x01".to_vec();
        stream.extend(records(&[&[1; 10], b"", &[2; 54]]));
        for len in 0..=64 {
            let mut unwrapper = Unwrapper::default();
            let taken = unwrapper.advance(&stream, &mut len.clone()).unwrap();
            let (mut before, mut after) = (stream[..taken].to_vec(), stream[taken..].to_vec());
            assert_eq!(
                Unwrapper::default().unwrap_in_place(&mut before).unwrap().len(),
                len
            );
            assert_eq!(unwrapper.unwrap_in_place(&mut after).unwrap().len(), 64 - len);
        }
    }

    #[test]
    fn what_is_wanted_is_never_too_much() {
        let mut stream = b"\x14\x03\x03\x00\x01\x01".to_vec();
        stream.extend(records(&[&[1; 10], b"", &[2; 54]]));
        let mut unwrapper = Unwrapper::default();
        let (mut at, mut have) = (0, 0);
        while have < 64 {
            let want = unwrapper.wanted(64 - have);
            let mut bytes = stream[at..at + want].to_vec();
            at += want;
            have += unwrapper.unwrap_in_place(&mut bytes).unwrap().len();
        }
        assert_eq!(at, stream.len());
    }
}
