//! The result of a request: its bytes, and checked decoding.
//!
//! The generated decoders are unsafe for hostile input in two ways: they recurse as deep as objects are nested, and one word on
//! the wire can become a value of some hundred bytes. So [`Answer::decode`] limits the length, and the number of constructors
//! that can contain themselves. A part of a file, by far the most frequent answer, is not decoded: its bytes stay in place.

use grammers_tl_types::deserialize::Error;
use grammers_tl_types::{Cursor, Deserializable};
use std::ops::Range;

/// Upper bound of an object in bytes. Only parts of files are longer.
const MAX_OBJECT_BYTES: usize = 512 << 10;
/// Upper bound of self-containing objects in an answer. Each level of nesting takes up to 2 KB of stack.
const MAX_NESTED: usize = 256;

/// Constructor of `upload.file`: type, mtime, bytes.
const FILE: u32 = 0x096a_18d5;
/// Offset of the bytes in `upload.file`.
const FILE_BYTES: usize = 12;

/// Constructors through which a type of the API contains itself: texts in texts, blocks in blocks, media in stories in media.
/// Every such cycle passes through one of these. In ascending order.
#[rustfmt::skip]
const NESTED: [u32; 40] = [
    0x01a9_fbfc, 0x02ff_29d3, 0x031f_9590, 0x034b_8621, 0x0e6e_47c4, 0x16a4_b93c, 0x1ccb_966a, 0x1fd6_f6c1,
    0x24c2_6789, 0x3553_7762, 0x39f2_3300, 0x3c28_84c1, 0x3cd2_a36a, 0x4c2a_5d62, 0x5195_24ea, 0x65a0_fa4d,
    0x6724_abc4, 0x68cb_6283, 0x6c3f_19b9, 0x7676_8bed, 0x773f_4e66, 0x7b9e_1801, 0x7e62_60d7, 0x9686_cb50,
    0x9bf8_bb95, 0xa5b4_5e2b, 0xa885_2491, 0xac6a_83aa, 0xafc7_9cd6, 0xb956_812d, 0xc126_22c4, 0xc556_a45d,
    0xc7fb_5e01, 0xcd24_cf44, 0xd912_a59c, 0xde5a_0dd6, 0xe4e8_8011, 0xed6a_8504, 0xf259_a80b, 0xf6a5_48d3,
];

/// The bytes of one answer, as a range of the packet that carried it.
#[derive(Debug)]
pub struct Answer {
    bytes: Vec<u8>,
    range: Range<usize>,
}

impl Answer {
    /// The answer in this range of `bytes`.
    pub(crate) fn new(bytes: Vec<u8>, range: Range<usize>) -> Answer {
        debug_assert!(range.start <= range.end && range.end <= bytes.len());
        Answer { bytes, range }
    }

    /// The answer that `bytes` are as a whole.
    pub(crate) fn whole(bytes: Vec<u8>) -> Answer {
        let range = 0..bytes.len();
        Answer { bytes, range }
    }

    /// The bytes of the answer.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.range.clone()).unwrap_or_default()
    }

    /// Decodes the answer.
    ///
    /// # Errors
    /// The answer has another type, is malformed, or exceeds a limit.
    pub fn decode<T: Deserializable>(&self) -> Result<T, Error> {
        let bytes = self.as_slice();
        if bytes.len() > MAX_OBJECT_BYTES || nested(bytes) > MAX_NESTED {
            return Err(Error::UnexpectedEof);
        }
        T::deserialize(&mut Cursor::from_slice(bytes))
    }

    /// The file bytes of `upload.file`, moved within the same buffer.
    ///
    /// # Errors
    /// The answer has another type or is malformed.
    pub fn into_file_part(mut self) -> Result<Vec<u8>, Error> {
        let bytes = self.as_slice();
        let id = bytes.first_chunk().map(|id| u32::from_le_bytes(*id));
        match id {
            Some(FILE) => {}
            Some(id) => return Err(Error::UnexpectedConstructor { id }),
            None => return Err(Error::UnexpectedEof),
        }
        let part = bytes.get(FILE_BYTES..).and_then(|bytes| bytes_within(bytes, 0));
        let part = part.ok_or(Error::UnexpectedEof)?;
        let start = self.range.start + FILE_BYTES + part.start;
        self.bytes.truncate(start + part.len());
        self.bytes.drain(..start);
        Ok(self.bytes)
    }
}

/// The range of a TL string's content. Its length is at `at`.
pub(crate) fn bytes_within(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = bytes.get(at..)?;
    let (start, len) = match *rest.first()? {
        254 => {
            let [_, a, b, c] = *rest.first_chunk()?;
            (4, u32::from_le_bytes([a, b, c, 0]) as usize)
        }
        255 => return None,
        len => (1, usize::from(len)),
    };
    rest.get(start..start + len)?;
    Some(at + start..at + start + len)
}

/// The number of words that are constructors of self-containing types.
fn nested(bytes: &[u8]) -> usize {
    let words = bytes.chunks_exact(4).filter_map(|word| word.first_chunk());
    words
        .filter(|word| NESTED.binary_search(&u32::from_le_bytes(**word)).is_ok())
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use grammers_tl_types::{Serializable as _, enums, types};

    fn file(bytes: Vec<u8>) -> Vec<u8> {
        enums::upload::File::File(types::upload::File {
            r#type: enums::storage::FileType::FilePartial,
            mtime: 5,
            bytes,
        })
        .to_bytes()
    }

    #[test]
    fn a_part_of_a_file_comes_out_of_what_surrounds_it() {
        for len in [0, 1, 253, 254, 255, 4096, 100_000] {
            let part: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let object = file(part.clone());
            let mut bytes = vec![9; 44];
            bytes.extend(&object);
            bytes.extend([8; 20]);
            let answer = Answer::new(bytes, 44..44 + object.len());
            assert_eq!(answer.into_file_part().unwrap(), part);
        }
    }

    #[test]
    fn a_part_that_is_cut_short_is_none() {
        let object = file(vec![7; 300]);
        for len in 0..FILE_BYTES + 4 + 300 {
            assert!(
                Answer::whole(object[..len].to_vec()).into_file_part().is_err(),
                "{len}"
            );
        }
        assert!(Answer::whole(true.to_bytes()).into_file_part().is_err());
    }

    #[test]
    fn the_nested_constructors_are_in_their_order() {
        assert!(NESTED.is_sorted());
    }

    #[test]
    fn texts_in_texts_are_followed_so_deep_and_no_deeper() {
        let text = |depth| {
            let plain = enums::RichText::TextPlain(types::TextPlain { text: "x".into() });
            let deep = (0..depth).fold(plain, |text, _| {
                enums::RichText::TextBold(Box::new(types::TextBold { text }))
            });
            Answer::whole(deep.to_bytes())
        };
        assert!(text(MAX_NESTED).decode::<enums::RichText>().is_ok());
        assert!(text(MAX_NESTED + 1).decode::<enums::RichText>().is_err());
    }
}
