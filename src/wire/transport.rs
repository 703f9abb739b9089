//! The transports' frames as a relay needs them: where a frame ends, and whether a DC's first frame is an error.
//!
//! Read <https://core.telegram.org/mtproto/mtproto-transports> first. A frame is a length and that many bytes. The length
//! counts words of 4 bytes in the abridged transport, and bytes with the padding in the other two. In a client's frame the
//! highest bit of the length asks for a quick acknowledgement. From a DC it marks a token of 4 bytes in place of a frame.

use crate::obfuscated2::Tag;

/// Mask of a length's bits, without the flag in the highest bit.
pub(crate) const LENGTH: u32 = 0x7fff_ffff;
/// First byte of a long frame in the abridged transport: three bytes of length follow.
pub(crate) const LONG: u8 = 0x7f;
/// Length of a transport error in bytes.
pub(crate) const ERROR_LEN: u32 = 4;
/// Longest padding in bytes in the padded transport.
pub(crate) const MAX_PADDING: u32 = 15;
/// Range of transport errors: negated HTTP status codes, and a few others such as −444.
pub(crate) const ERRORS: core::ops::Range<i32> = -999..0;

/// Finder of the ends of frames in a stream of decrypted bytes, which may be cut anywhere.
///
/// Promise: it stores five bytes and accepts any input. In a stream without frames it reads some length, and may then wait for an
/// end that does not come.
#[derive(Clone, Copy, Debug)]
pub struct Frames {
    tag: Tag,
    prefix: [u8; 4],
    prefix_len: u8,
    /// Bytes of the current frame that have not arrived yet.
    left: u32,
}

impl Frames {
    /// A stream at its first byte after the header.
    #[must_use]
    pub const fn new(tag: Tag) -> Frames {
        Frames {
            tag,
            prefix: [0; 4],
            prefix_len: 0,
            left: 0,
        }
    }

    /// Takes the next bytes and returns whether a frame ends in them.
    pub fn handle_input(&mut self, mut bytes: &[u8]) -> bool {
        let mut whole = false;
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let len = bytes.len().min(self.left as usize);
                bytes = bytes.get(len..).unwrap_or_default();
                // `len` is at most `left`, so it fits.
                self.left = self.left.saturating_sub(len as u32);
                whole |= self.left == 0;
                continue;
            }
            bytes = rest;
            if let Some(byte) = self.prefix.get_mut(usize::from(self.prefix_len)) {
                *byte = *first;
                self.prefix_len = self.prefix_len.saturating_add(1);
            }
            if let Some(len) = length(self.tag, self.prefix, self.prefix_len) {
                (self.prefix, self.prefix_len, self.left) = ([0; 4], 0, len);
                whole |= len == 0;
            }
        }
        whole
    }
}

/// Length of a frame in bytes, once enough of its first bytes have arrived.
fn length(tag: Tag, prefix: [u8; 4], prefix_len: u8) -> Option<u32> {
    let [first, a, b, c] = prefix;
    match (tag, prefix_len) {
        (Tag::Abridged, 1) if first & LONG != LONG => Some(u32::from(first & LONG) << 2),
        (Tag::Abridged, 4) => Some(u32::from_le_bytes([a, b, c, 0]) << 2),
        (Tag::Intermediate | Tag::Padded, 4) => Some(u32::from_le_bytes(prefix) & LENGTH),
        _ => None,
    }
}

/// The transport error with which a DC's decrypted stream begins, if it does. The first 8 bytes are enough.
#[must_use]
pub fn transport_error(tag: Tag, start: &[u8]) -> Option<i32> {
    let (prefix, rest) = match tag {
        Tag::Abridged => start.split_at_checked(1)?,
        Tag::Intermediate | Tag::Padded => start.split_at_checked(4)?,
    };
    let len = match *prefix {
        [words] => u32::from(words) << 2,
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
        _ => return None,
    };
    let longest = ERROR_LEN.saturating_add(if tag == Tag::Padded { MAX_PADDING } else { 0 });
    let code = i32::from_le_bytes(*rest.first_chunk()?);
    ((ERROR_LEN..=longest).contains(&len) && ERRORS.contains(&code)).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    const TAGS: [Tag; 3] = [Tag::Abridged, Tag::Intermediate, Tag::Padded];

    /// A frame of this many zero bytes, as the transports' page says.
    fn frame(tag: Tag, len: usize, quick_ack: bool) -> Vec<u8> {
        let flag = u8::from(quick_ack) << 7;
        let mut bytes = match tag {
            Tag::Abridged if len / 4 < 0x7f => vec![(len / 4) as u8 | flag],
            Tag::Abridged => {
                let [a, b, c, _] = ((len / 4) as u32).to_le_bytes();
                vec![0x7f | flag, a, b, c]
            }
            Tag::Intermediate | Tag::Padded => {
                let [a, b, c, d] = (len as u32).to_le_bytes();
                vec![a, b, c, d | flag]
            }
        };
        bytes.resize(bytes.len() + len, 0);
        bytes
    }

    #[test]
    fn a_frame_is_whole_with_its_last_byte_however_it_is_cut() {
        for tag in TAGS {
            for len in [4, 40, 4 * 0x7e, 4 * 0x7f, 4 * 0x100, 70_000] {
                for quick_ack in [false, true] {
                    let bytes = frame(tag, len, quick_ack);
                    for cut in [1, 2, 3, 4, 5, 7, bytes.len() - 1] {
                        let mut frames = Frames::new(tag);
                        let (head, tail) = bytes.split_at(cut.min(bytes.len() - 1));
                        assert!(!frames.handle_input(head), "{tag:?} {len} cut at {cut}");
                        assert!(frames.handle_input(tail), "{tag:?} {len} cut at {cut}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_next_frame_begins_where_the_last_one_ended() {
        for tag in TAGS {
            let mut frames = Frames::new(tag);
            let mut bytes = frame(tag, 40, false);
            bytes.extend(frame(tag, 4 * 0x80, true));
            let last = bytes.pop().unwrap();
            assert!(frames.handle_input(&bytes), "the first of two");
            assert!(!frames.handle_input(&[]));
            assert!(frames.handle_input(&[last]), "the second");
        }
    }

    #[test]
    fn the_longest_length_is_only_a_long_one() {
        for tag in TAGS {
            let mut frames = Frames::new(tag);
            assert!(!frames.handle_input(&[0xff; 4]));
            assert!(!frames.handle_input(&vec![0xff; 100_000]));
        }
    }

    #[test]
    fn errors_are_told_from_tokens_and_other_frames() {
        let code = (-404_i32).to_le_bytes();
        let with = |prefix: &[u8]| [prefix, &code].concat();
        assert_eq!(transport_error(Tag::Abridged, &with(&[1])), Some(-404));
        assert_eq!(
            transport_error(Tag::Intermediate, &with(&[4, 0, 0, 0])),
            Some(-404)
        );
        for padding in 0..=15 {
            let bytes = with(&[4 + padding, 0, 0, 0]);
            assert_eq!(transport_error(Tag::Padded, &bytes), Some(-404));
            assert_eq!(transport_error(Tag::Padded, &bytes[..7]), None, "not all of it");
        }
        assert_eq!(transport_error(Tag::Padded, &with(&[20, 0, 0, 0])), None);
        assert_eq!(transport_error(Tag::Intermediate, &with(&[5, 0, 0, 0])), None);
        // Quick acknowledgements: a bare token with the top bit set, byte-swapped in the abridged transport.
        assert_eq!(
            transport_error(Tag::Abridged, &[0x81, 0, 0, 4, 0x6c, 0xfe, 0xff, 0xff]),
            None
        );
        assert_eq!(
            transport_error(Tag::Intermediate, &[4, 0, 0, 0x80, 0x6c, 0xfe, 0xff, 0xff]),
            None
        );
        for code in [0, 1, -1000, i32::MIN] {
            let bytes = [[4, 0, 0, 0], i32::to_le_bytes(code)].concat();
            assert_eq!(transport_error(Tag::Padded, &bytes), None, "{code}");
        }
    }
}
