//! Decompression of gzip answers (RFC 1952) with a limit, since the stated size cannot be trusted.

use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// Upper bound of an unpacked answer in bytes. Some hundred messages with all their text have a tenth of it.
pub(crate) const MAX_BYTES: usize = 2 << 20;

mod flag {
    pub(super) const HEADER_CRC: u8 = 0x02;
    pub(super) const EXTRA: u8 = 0x04;
    pub(super) const NAME: u8 = 0x08;
    pub(super) const COMMENT: u8 = 0x10;
}

/// Unpacks a gzip member. `None` if it is malformed or larger than [`MAX_BYTES`].
///
/// The checksum is not verified: MTProto has authenticated the packet.
#[must_use]
pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = packed.split_first_chunk::<10>()?;
    let [0x1f, 0x8b, 0x08, flags, ..] = *header else {
        return None;
    };
    if flags & flag::EXTRA != 0 {
        let (len, after) = rest.split_first_chunk()?;
        rest = after.get(usize::from(u16::from_le_bytes(*len))..)?;
    }
    for text in [flag::NAME, flag::COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & flag::HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    let (deflated, trailer) = rest.split_last_chunk::<8>()?;
    let unpacked = decompress_to_vec_with_limit(deflated, MAX_BYTES).ok()?;
    let said = trailer.last_chunk().map(|len| u32::from_le_bytes(*len));
    (said == u32::try_from(unpacked.len()).ok()).then_some(unpacked)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use miniz_oxide::deflate::compress_to_vec;

    /// A gzip member, as a server makes it.
    pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
        packed.extend(compress_to_vec(bytes, 6));
        packed.extend([0; 4]);
        packed.extend((bytes.len() as u32).to_le_bytes());
        packed
    }

    #[test]
    fn what_was_packed_comes_back() {
        for len in [0, 1, 1000, MAX_BYTES] {
            let bytes: Vec<u8> = (0..len).map(|at| (at / 7) as u8).collect();
            assert_eq!(unpack(&pack(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn optional_fields_are_skipped() {
        let mut packed = pack(b"abc");
        packed[3] = 0x1f;
        let fields = [&[2, 0, 9, 9][..], b"name\0", b"comment\0", &[7, 7]].concat();
        packed.splice(10..10, fields);
        assert_eq!(unpack(&packed).as_deref(), Some(&b"abc"[..]));
    }

    #[test]
    fn bombs_and_pieces_bring_nothing() {
        assert_eq!(unpack(&pack(&vec![0; MAX_BYTES + 1])), None);
        let packed = pack(b"some text, some text");
        for len in 0..packed.len() {
            assert_eq!(unpack(&packed[..len]), None, "{len}");
        }
    }
}
