//! Compressed objects: a gzip file (RFC 1952) as a string.

use grammers_tl_types::Serializable as _;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

const MAGIC: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const TRAILER_LEN: usize = 8;
/// No call is longer.
const MOST_BYTES: usize = 1 << 20;

/// The object that is compressed inside. Only files without names and comments are read.
pub(crate) fn unpack(file: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = file.split_first_chunk::<10>()?;
    let body = rest.get(..rest.len().checked_sub(TRAILER_LEN)?)?;
    (header[..4] == MAGIC[..4]).then(|| decompress_to_vec_with_limit(body, MOST_BYTES).ok())?
}

/// `gzip_packed` with this object in it.
pub(crate) fn packed_object(object: &[u8]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend(compress_to_vec(object, 6));
    file.extend(crc32(object).to_le_bytes());
    file.extend((object.len() as u32).to_le_bytes());
    let mut bytes = 0x3072_cfa1_u32.to_le_bytes().to_vec();
    file.serialize(&mut bytes);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use grammers_tl_types::Deserializable as _;

    #[test]
    fn what_is_packed_is_unpacked() {
        let object = b"words words words words words words".repeat(20);
        let packed = packed_object(&object);
        let file = Vec::<u8>::from_bytes(&packed[4..]).expect("a string");
        assert_eq!(unpack(&file), Some(object));
        assert_eq!(unpack(&file[..12]), None);
        // The check value of this sum, from its definition.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
