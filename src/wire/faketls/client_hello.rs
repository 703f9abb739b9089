//! The ClientHello (RFC 8446, section 4.1.2), whose `random` holds a digest under the user's secret.
//!
//! The digest is HMAC-SHA256(secret, the whole record with `random` zeroed), with the Unix time XORed into its last four bytes.
//! The time is therefore *not* authenticated: an attacker who changes it leaves the first 28 bytes valid. Only a replay window
//! over the digest stops a replay.

use crate::faketls::handshake::RANDOM;
use crate::faketls::record;
use crate::obfuscated2::ReplayKey;
use crate::secret::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Longest record in bytes that is accepted as a hello. A hello with an ML-KEM share has about 1.9 KB.
pub const MAX_RECORD_LEN: usize = record::HEADER_LEN + 16_384;
/// The key exchange group X25519.
pub(crate) const GROUP_X25519: u16 = 0x001d;
/// The hybrid group X25519MLKEM768.
pub(crate) const GROUP_X25519_MLKEM768: u16 = 0x11ec;

const DIGEST_LEN: usize = 28;
const SESSION_ID_AT: usize = 43;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_KEY_SHARE: u16 = 0x0033;

/// A view of a whole, well-formed ClientHello record.
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    record: &'a [u8],
    random: &'a [u8; 32],
    /// The legacy session id, which the server echoes.
    pub session_id: &'a [u8],
    /// The first cipher suite of TLS 1.3 that the client offers.
    pub cipher_suite: u16,
    /// The server name.
    pub server_name: Option<&'a str>,
    /// The group of the first key share that can be answered.
    pub group: u16,
}

/// The result of [`ClientHello::verify`] for the user's own hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The time in the hello, unauthenticated: Unix time in seconds, or an uptime from some clients.
    pub time: u32,
    /// The key for the replay window: the first 16 bytes of the digest.
    pub replay_key: ReplayKey,
}

impl<'a> ClientHello<'a> {
    /// Parses one whole record. `None` if it is not a ClientHello that TLS 1.3 can answer.
    #[must_use]
    pub fn parse(record: &'a [u8]) -> Option<ClientHello<'a>> {
        let mut input = Cursor(record);
        let [0x16, 0x03, _] = *input.array::<3>()? else {
            return None;
        };
        let mut input = Cursor(input.block16()?);
        let [0x01, high, mid, low] = *input.array::<4>()? else {
            return None;
        };
        if u32::from_be_bytes([0, high, mid, low]) as usize != input.0.len() {
            return None;
        }
        let [0x03, 0x03] = *input.array::<2>()? else {
            return None;
        };
        let random = input.array::<32>()?;
        let session_id = input.block8().filter(|id| id.len() <= 32)?;
        let cipher_suite = first_tls13_suite(input.block16().filter(|list| list.len() % 2 == 0)?)?;
        let _compression_methods = input.block8()?;

        let mut extensions = Cursor(input.block16()?);
        let mut server_name = None;
        let mut group = None;
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let body = extensions.block16()?;
            match kind {
                EXTENSION_SERVER_NAME => server_name = Some(read_server_name(body)?),
                EXTENSION_KEY_SHARE => group = first_known_group(body)?,
                _ => {}
            }
        }
        Some(ClientHello {
            record,
            random,
            session_id,
            cipher_suite,
            server_name,
            group: group?,
        })
    }

    /// Checks the digest with a user's secret. `None` if the secret does not match.
    #[must_use]
    pub fn verify(&self, secret: &Secret) -> Option<Verified> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        mac.update(self.record.get(..RANDOM.start)?);
        mac.update(&[0; 32]);
        mac.update(self.record.get(RANDOM.end..)?);
        let digest: [u8; 32] = mac.finalize().into_bytes().into();

        let (ours, our_tail) = digest.split_first_chunk::<DIGEST_LEN>()?;
        let (theirs, their_tail) = self.random.split_first_chunk::<DIGEST_LEN>()?;
        if !bool::from(ours.ct_eq(theirs)) {
            return None;
        }
        let time =
            u32::from_le_bytes(our_tail.try_into().ok()?) ^ u32::from_le_bytes(their_tail.try_into().ok()?);
        Some(Verified {
            time,
            replay_key: *theirs.first_chunk()?,
        })
    }

    /// The hello's `random`, which the answer's digest covers.
    #[must_use]
    pub fn random(&self) -> &'a [u8; 32] {
        self.random
    }
}

/// What the first bytes of a connection show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Too few bytes to decide.
    Short,
    /// A TLS handshake record with a ClientHello.
    Tls {
        /// Length of the record in bytes with its header; `None` if no ClientHello has this length.
        record_len: Option<usize>,
    },
    /// Another protocol.
    Other,
}

/// Recognises a TLS client by its first six bytes. Three are too few: one obfuscated2 header in 2^22 begins with them by chance.
#[must_use]
pub fn recognise(bytes: &[u8]) -> Start {
    let known = [Some(0x16), Some(0x03), None, None, None, Some(0x01)];
    for (byte, known) in bytes.iter().zip(known) {
        if known.is_some_and(|known| known != *byte) {
            return Start::Other;
        }
    }
    let Some(&[_, _, minor, high, low, _]) = bytes.first_chunk::<6>() else {
        return Start::Short;
    };
    if minor > 0x04 {
        return Start::Other;
    }
    let record_len = record::HEADER_LEN + usize::from(u16::from_be_bytes([high, low]));
    let plausible = (SESSION_ID_AT..=MAX_RECORD_LEN).contains(&record_len);
    Start::Tls {
        record_len: plausible.then_some(record_len),
    }
}

/// Whether a record that begins with `start` may still become a proxy client's hello.
#[must_use]
pub(crate) fn may_be_ours(start: &[u8]) -> bool {
    let Some(&[_, _, _, high, low, _, message @ ..]) = start.first_chunk::<11>() else {
        return true;
    };
    let message_len = u32::from(u16::from_be_bytes([high, low])).saturating_sub(4);
    let [_, len @ ..] = message_len.to_be_bytes();
    message == [len[0], len[1], len[2], 0x03, 0x03]
}

fn first_tls13_suite(list: &[u8]) -> Option<u16> {
    let mut suites = list
        .chunks_exact(2)
        .filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)));
    suites.find(|suite| (0x1301..=0x1303).contains(suite))
}

fn read_server_name(body: &[u8]) -> Option<&str> {
    let mut names = Cursor(Cursor(body).block16()?);
    let [0] = *names.array::<1>()? else {
        return None;
    };
    core::str::from_utf8(names.block16()?).ok()
}

/// The first key share's group that can be answered. GREASE (RFC 8701) and other groups are skipped.
fn first_known_group(body: &[u8]) -> Option<Option<u16>> {
    let mut shares = Cursor(Cursor(body).block16()?);
    while !shares.0.is_empty() {
        let group = shares.u16()?;
        let share_len = shares.block16()?.len();
        if matches!(
            (group, share_len),
            (GROUP_X25519, 32) | (GROUP_X25519_MLKEM768, 1216)
        ) {
            return Some(Some(group));
        }
    }
    Some(None)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().copied().map(u16::from_be_bytes)
    }

    /// Bytes after a length of one byte.
    fn block8(&mut self) -> Option<&'a [u8]> {
        let [len] = *self.array()?;
        self.take(usize::from(len))
    }

    /// Bytes after a length of two bytes.
    fn block16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_bytes_tell_a_tls_client() {
        assert_eq!(recognise(&[]), Start::Short);
        assert_eq!(recognise(&[0x16, 0x03, 0x01, 0x02, 0x00]), Start::Short);
        assert_eq!(
            recognise(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
            Start::Tls {
                record_len: Some(517)
            }
        );
        assert_eq!(
            recognise(&[0x16, 0x03, 0x01, 0xff, 0xff, 0x01]),
            Start::Tls { record_len: None }
        );
        assert_eq!(
            recognise(&[0x16, 0x03, 0x01, 0x00, 0x00, 0x01]),
            Start::Tls { record_len: None }
        );
        assert_eq!(recognise(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x02]), Start::Other);
        assert_eq!(recognise(&[0x16, 0x04]), Start::Other);
        assert_eq!(recognise(b"GET / HTTP/1.1"), Start::Other);
    }
}
