//! Parts that the hellos and the server's answer share.

use alloc::vec::Vec;
use core::ops::Range;

/// Where `random` stands in a record with a ClientHello or a ServerHello.
pub(crate) const RANDOM: Range<usize> = 11..43;
/// A ChangeCipherSpec record, which TLS 1.3 sends for middleboxes only (RFC 8446, appendix D.4).
pub(crate) const CHANGE_CIPHER_SPEC: [u8; 6] = [0x14, 0x03, 0x03, 0x00, 0x01, 0x01];

/// Appends a number of two bytes.
pub(crate) fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend(value.to_be_bytes());
}

/// Appends a length of two bytes and, after it, what `write` appends.
pub(crate) fn block16(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0, 0]);
    write(out);
    let len = u16::try_from(out.len().saturating_sub(start).saturating_sub(2)).unwrap_or(u16::MAX);
    for (to, from) in out.iter_mut().skip(start).zip(len.to_be_bytes()) {
        *to = from;
    }
}
