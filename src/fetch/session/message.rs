//! Messages in a decrypted packet: offsets and checked reads.

use super::error::SessionError;
use crate::answer::bytes_within;
use crate::gzip;
use grammers_tl_types::{Cursor, Deserializable};
use std::ops::Range;

/// Offsets in a decrypted packet.
pub(super) mod field {
    use std::ops::Range;

    /// Bytes before the encrypted part: the ids of key and message.
    pub(crate) const ENVELOPE: usize = 24;
    pub(crate) const SALT: usize = 24;
    pub(crate) const SESSION: usize = 32;
    pub(crate) const MESSAGE: usize = 40;
    pub(crate) const BODY: usize = 56;
    /// Lengths of the padding behind the message.
    pub(crate) const PADDING: Range<usize> = 12..1025;
}

/// Constructors of service messages that grammers does not name.
pub(super) mod id {
    pub(crate) const RPC_RESULT: u32 = 0xf35c_6d01;
    pub(crate) const CONTAINER: u32 = 0x73f1_f8dc;
    pub(crate) const GZIP_PACKED: u32 = 0x3072_cfa1;
}

/// A message in a packet.
pub(super) struct Message {
    pub(super) msg_id: i64,
    pub(super) sequence: i32,
    /// The place of the body.
    pub(super) body: Range<usize>,
}

/// The message whose header is at `at`, and which ends before `end`.
pub(super) fn message_at(bytes: &[u8], at: usize, end: usize) -> Result<Message, SessionError> {
    let len = word(bytes, at + 12)? as usize;
    let start = at + 16;
    let body_end = start.checked_add(len).filter(|body_end| *body_end <= end);
    let body_end = body_end.ok_or(SessionError::Malformed)?;
    if !len.is_multiple_of(4) {
        return Err(SessionError::Malformed);
    }
    Ok(Message {
        msg_id: long(bytes, at)?,
        sequence: word(bytes, at + 8)?.cast_signed(),
        body: start..body_end,
    })
}

/// The content of `gzip_packed`.
pub(super) fn unpack(body: &[u8]) -> Result<Vec<u8>, SessionError> {
    let packed = bytes_within(body, 4).and_then(|range| body.get(range));
    packed.and_then(gzip::unpack).ok_or(SessionError::Malformed)
}

/// The object behind a constructor id.
pub(super) fn object<T: Deserializable>(body: &[u8]) -> Result<T, SessionError> {
    let mut cursor = Cursor::from_slice(body.get(4..).unwrap_or_default());
    T::deserialize(&mut cursor).map_err(|_| SessionError::Malformed)
}

/// A 32-bit word in little endian.
pub(super) fn word(bytes: &[u8], at: usize) -> Result<u32, SessionError> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map(|word| u32::from_le_bytes(*word))
        .ok_or(SessionError::Malformed)
}

/// A 64-bit word in little endian.
pub(super) fn long(bytes: &[u8], at: usize) -> Result<i64, SessionError> {
    let long = bytes.get(at..).and_then(|rest| rest.first_chunk());
    long.map(|long| i64::from_le_bytes(*long))
        .ok_or(SessionError::Malformed)
}
