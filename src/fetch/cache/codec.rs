//! The binary format of cache entries, in the file and in Redis.
//!
//! Numbers are big-endian; texts and byte strings follow their length (u16). An entry: Unix time (u32), number of media (u8), the
//! media. The file: `mtfetch cache`, a zero byte, the version (u8), the account (i64), the number of entries (u32), per entry its
//! link and itself, then the SHA-256 of everything before. A file that differs in anything is not read.

use super::entry::{Entry, MAX_ENTRIES};
use crate::link::Link;
use crate::source::Media;
use sha2::{Digest as _, Sha256};

/// Version of the format.
pub(super) const VERSION: u8 = 1;
const MAGIC: &[u8] = b"mtfetch cache\0";
const SUM_LEN: usize = 32;

/// Encodes an entry.
pub(super) fn entry_bytes(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_entry(&mut bytes, entry);
    bytes
}

/// Decodes an entry.
pub(super) fn entry(bytes: &[u8]) -> Option<Entry> {
    let mut input = Input(bytes);
    let entry = input.entry()?;
    input.0.is_empty().then_some(entry)
}

/// Encodes the file.
pub(super) fn file_bytes<'a>(
    account: i64,
    entries: impl ExactSizeIterator<Item = (&'a String, &'a Entry)>,
) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    bytes.extend(account.to_be_bytes());
    bytes.extend((entries.len() as u32).to_be_bytes());
    for (link, entry) in entries {
        put(&mut bytes, link.as_bytes());
        put_entry(&mut bytes, entry);
    }
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

/// Decodes the file, if it belongs to this account.
pub(super) fn file(bytes: &[u8], account: i64) -> Option<Vec<(String, Entry)>> {
    let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_LEN)?)?;
    if Sha256::digest(content)[..] != *sum {
        return None;
    }
    let mut input = Input(content.strip_prefix(MAGIC)?);
    if input.array() != Some([VERSION]) || input.array().map(i64::from_be_bytes) != Some(account) {
        return None;
    }
    let count = u32::from_be_bytes(input.array()?) as usize;
    if count > MAX_ENTRIES {
        return None;
    }
    let entries: Option<Vec<_>> = (0..count)
        .map(|_| Some((input.text()?, input.entry()?)))
        .collect();
    input.0.is_empty().then_some(entries?)
}

fn put_entry(bytes: &mut Vec<u8>, entry: &Entry) {
    bytes.extend(entry.looked_up.to_be_bytes());
    bytes.push(entry.media.len() as u8);
    for media in &entry.media {
        bytes.extend(media.id.to_be_bytes());
        bytes.extend(media.dc.to_be_bytes());
        bytes.extend(media.access_hash.to_be_bytes());
        put(bytes, &media.file_reference);
        put(bytes, media.thumb_size.as_bytes());
        bytes.extend(media.size.to_be_bytes());
        put(bytes, media.name.as_bytes());
        put(bytes, media.mime.as_bytes());
        put(bytes, media.origin.to_string().as_bytes());
    }
}

/// Appends the length and the text. A text of more than 65,535 bytes is cut: the caller checks that the entry decodes to itself.
fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend(len.to_be_bytes());
    bytes.extend_from_slice(&text[..len.into()]);
}

/// The bytes that are left to decode.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        self.take(LEN)?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u16::from_be_bytes(self.array()?);
        self.take(len.into())
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn entry(&mut self) -> Option<Entry> {
        let looked_up = u32::from_be_bytes(self.array()?);
        let [count] = self.array()?;
        let media: Option<Vec<Media>> = (0..count).map(|_| self.media()).collect();
        Some(Entry {
            looked_up,
            media: media?,
        })
    }

    fn media(&mut self) -> Option<Media> {
        Some(Media {
            id: i64::from_be_bytes(self.array()?),
            dc: i32::from_be_bytes(self.array()?),
            access_hash: i64::from_be_bytes(self.array()?),
            file_reference: self.bytes()?.to_vec(),
            thumb_size: self.text()?,
            size: u64::from_be_bytes(self.array()?),
            name: self.text()?,
            mime: self.text()?,
            origin: self.text()?.parse::<Link>().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_source;

    fn some() -> Entry {
        Entry {
            looked_up: 1_800_000_000,
            media: vec![memory_source::media(1, u64::MAX), memory_source::media(-2, 0)],
        }
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        assert_eq!(entry(&entry_bytes(&some())), Some(some()));
        let link = String::from("t.me/news/1");
        let bytes = file_bytes(7, [(&link, &some())].into_iter());
        assert_eq!(file(&bytes, 7), Some(vec![(link, some())]));
        assert_eq!(file(&bytes, 8), None);
    }

    #[test]
    fn entries_that_are_not_whole_are_none() {
        let bytes = entry_bytes(&some());
        for len in 0..bytes.len() {
            assert_eq!(entry(&bytes[..len]), None, "{len}");
        }
        assert_eq!(entry(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn nothing_that_is_read_panics() {
        let good = entry_bytes(&some());
        let mut state = 0x2545_f491_u32;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..3 {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let at = state as usize % bytes.len();
                bytes[at] = (state >> 24) as u8;
            }
            let _ = entry(&bytes);
        }
    }
}
