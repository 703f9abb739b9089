//! The proxy's answer to a hello: three records, with a digest that proves knowledge of the secret.
//!
//! [`crate::faketls::server_hello`] writes the answer that is parsed here. The digest covers every byte of the three records, so
//! their other contents need no check.

use crate::faketls::handshake::RANDOM;
use crate::faketls::record;
use crate::secret::Secret;
use alloc::vec::Vec;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Types of the three records: ServerHello, ChangeCipherSpec, and the encrypted record that stands for certificates.
const RECORDS: [u8; 3] = [0x16, 0x14, 0x17];
/// Longest payload of a record in bytes (RFC 8446, section 5.2).
const MAX_RECORD_LEN: usize = record::MAX_PAYLOAD + 256;

/// Why an answer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// The bytes are not the three records of an answer. A proxy that does not know the secret answers as a site does.
    Records,
    /// The digest does not match.
    Digest,
    /// More bytes arrived than were asked for.
    Unasked,
}

impl core::fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            BadAnswer::Records => "the answer to the hello is not a proxy's",
            BadAnswer::Digest => "the peer that answered the hello does not know the secret",
            BadAnswer::Unasked => "more bytes than an answer arrived",
        })
    }
}

impl core::error::Error for BadAnswer {}

/// Collects an answer record by record, and verifies it.
#[derive(Debug)]
pub(super) struct ServerAnswer {
    secret: Secret,
    /// The `random` of the client's hello.
    random: [u8; 32],
    bytes: Vec<u8>,
    /// The number of complete records.
    whole: usize,
    /// Where the current header, or the record's payload after it, ends.
    end: usize,
    has_header: bool,
}

impl ServerAnswer {
    pub(super) fn new(secret: &Secret, hello: &[u8]) -> ServerAnswer {
        let random = hello.get(RANDOM).and_then(|random| random.try_into().ok());
        ServerAnswer {
            secret: *secret,
            random: random.unwrap_or_default(),
            bytes: Vec::new(),
            whole: 0,
            end: record::HEADER_LEN,
            has_header: false,
        }
    }

    pub(super) fn wanted(&self) -> usize {
        if self.whole == RECORDS.len() {
            0
        } else {
            self.end.saturating_sub(self.bytes.len())
        }
    }

    pub(super) fn handle_input(&mut self, bytes: &[u8]) -> Result<(), BadAnswer> {
        if bytes.len() > self.wanted() {
            return Err(BadAnswer::Unasked);
        }
        self.bytes.extend_from_slice(bytes);
        while self.bytes.len() == self.end && self.whole < RECORDS.len() {
            if !self.has_header {
                let len = self.record_len().ok_or(BadAnswer::Records)?;
                self.end = self.end.saturating_add(len);
                self.has_header = true;
                continue;
            }
            self.whole = self.whole.saturating_add(1);
            if self.whole == RECORDS.len() {
                return self.check();
            }
            self.end = self.end.saturating_add(record::HEADER_LEN);
            self.has_header = false;
        }
        Ok(())
    }

    /// The length in the header at the end of the bytes, if the header is of the expected record.
    fn record_len(&self) -> Option<usize> {
        let [kind, 0x03, 0x03, high, low] = *self.bytes.last_chunk()? else {
            return None;
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let expected = *RECORDS.get(self.whole)?;
        // The first record must be long enough for the digest.
        let min_len = if self.whole == 0 {
            RANDOM.end.saturating_sub(record::HEADER_LEN)
        } else {
            1
        };
        (kind == expected && (min_len..=MAX_RECORD_LEN).contains(&len)).then_some(len)
    }

    fn check(&self) -> Result<(), BadAnswer> {
        let part = |range: Option<&[u8]>| range.map(<[u8]>::to_vec).ok_or(BadAnswer::Records);
        let random = part(self.bytes.get(RANDOM))?;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).map_err(|_| BadAnswer::Digest)?;
        mac.update(&self.random);
        mac.update(self.bytes.get(..RANDOM.start).unwrap_or_default());
        mac.update(&[0; 32]);
        mac.update(self.bytes.get(RANDOM.end..).unwrap_or_default());
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        if bool::from(digest.ct_eq(random.as_slice())) {
            Ok(())
        } else {
            Err(BadAnswer::Digest)
        }
    }
}
