//! AES-256-CTR with a 128-bit big-endian counter: the only code that runs once for every relayed byte.
//!
//! The ctr crate makes the keystream in batches. The XOR with the bytes is done here: one pass serves both ciphers of a
//! direction, while the crate's own XOR works byte by byte in a program that is optimised for size.
//!
//! The functions are deliberately not generic. Generic code is compiled where it is used, at that crate's optimisation level,
//! and this crate is compiled at level 3. That decides the relay's speed on a router without AES instructions.

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

#[cfg(test)]
extern crate alloc;
#[cfg(test)]
extern crate std;

use aes::Aes256Enc;
use aes::cipher::{Array, InnerIvInit as _, KeyInit as _, StreamCipherCore as _, StreamCipherSeekCore as _};
use core::fmt;
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;

/// AES-256 in counter mode, block by block.
type BlockCipher = CtrCore<Aes256Enc, Ctr128BE>;

/// Length of an AES block in bytes.
const BLOCK_LEN: usize = 16;
/// BlockCipher of keystream per batch: 64, as the widest back end (AVX-512) takes. The keystreams of two streams are 2 KiB of stack and
/// fit into a router's L1 data cache together with the bytes.
const BATCH: usize = 64;

/// A key and the initial counter block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StreamKey {
    /// The AES-256 key.
    pub key: [u8; 32],
    /// The counter block that encrypts the first 16 bytes.
    pub iv: [u8; 16],
}

impl StreamKey {
    /// The key and the IV, concatenated in `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 48]) -> StreamKey {
        let (mut key, mut iv) = ([0; 32], [0; 16]);
        for (to, from) in key.iter_mut().chain(iv.iter_mut()).zip(bytes) {
            *to = *from;
        }
        StreamKey { key, iv }
    }

    /// Key and IV, concatenated.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        for (to, from) in bytes.iter_mut().zip(self.key.iter().chain(&self.iv)) {
            *to = *from;
        }
        bytes
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey(redacted)")
    }
}

/// The cipher of one direction: a key and a position in its keystream.
///
/// Each call derives the round keys on its stack. That costs a few percent of the time of 1 KiB, and an idle session holds 56
/// bytes instead of 200 to 1,000.
#[derive(Clone)]
pub struct Stream {
    key: StreamKey,
    position: u64,
}

/// The keystream of one batch.
type Keystream = [[u8; BLOCK_LEN]; BATCH];

const NO_KEYSTREAM: Keystream = [[0; BLOCK_LEN]; BATCH];

impl Stream {
    /// A stream at its first byte.
    #[must_use]
    pub fn new(key: &StreamKey) -> Stream {
        Stream::at(key, 0)
    }

    /// A stream at byte `position`.
    #[must_use]
    pub fn at(key: &StreamKey, position: u64) -> Stream {
        Stream { key: *key, position }
    }

    /// Encrypts or decrypts `bytes` in place, which is the same in counter mode, and advances.
    #[inline(never)]
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let mut cipher = self.cipher();
        let mut keystream = NO_KEYSTREAM;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at_mut(rest.len().min(self.room()));
            let at = self.fill(&mut cipher, &mut keystream, piece.len());
            xor(piece, keystream.as_flattened().get(at..).unwrap_or_default());
            rest = after;
        }
    }

    fn cipher(&self) -> BlockCipher {
        BlockCipher::inner_iv_init(Aes256Enc::new(&self.key.key.into()), &self.key.iv.into())
    }

    /// The number of bytes that one batch serves from this position.
    fn room(&self) -> usize {
        BATCH * BLOCK_LEN - self.offset()
    }

    /// The next byte's offset in its block.
    fn offset(&self) -> usize {
        (self.position % BLOCK_LEN as u64) as usize
    }

    /// Makes the keystream of the next `len` bytes, at most [`Stream::room`], and advances. Returns its offset in `keystream`.
    fn fill(&mut self, cipher: &mut BlockCipher, keystream: &mut Keystream, len: usize) -> usize {
        let offset = self.offset();
        let blocks = keystream
            .get_mut(..(offset + len).div_ceil(BLOCK_LEN))
            .unwrap_or_default();
        cipher.set_block_pos(u128::from(self.position / BLOCK_LEN as u64));
        cipher.write_keystream_blocks(Array::cast_slice_from_core_mut(blocks));
        self.position = self.position.wrapping_add(len as u64);
        offset
    }

    /// Moves back by `len` bytes, which are then encrypted again.
    pub fn rewind(&mut self, len: usize) {
        self.position = self.position.saturating_sub(len as u64);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream(redacted)")
    }
}

/// XORs `keystream` into `bytes`, word by word: with link-time optimisation for size the compiler does not vectorise the loop.
#[inline(always)]
fn xor(bytes: &mut [u8], keystream: &[u8]) {
    let (words, rest) = bytes.as_chunks_mut::<8>();
    let (keys, _) = keystream.as_chunks::<8>();
    let done = words.len() * 8;
    for (word, key) in words.iter_mut().zip(keys) {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(*key)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(keystream.get(done..).unwrap_or_default()) {
        *byte ^= key;
    }
}

/// XORs two keystreams into `bytes` in one pass, which saves a load and a store for each word.
#[inline(always)]
fn xor_both(bytes: &mut [u8], one: &[u8], other: &[u8]) {
    let (words, rest) = bytes.as_chunks_mut::<8>();
    let (keys, others) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    let done = words.len() * 8;
    for ((word, key), other) in words.iter_mut().zip(keys).zip(others) {
        let sum = u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(*key) ^ u64::from_ne_bytes(*other);
        *word = sum.to_ne_bytes();
    }
    xor(rest, one.get(done..).unwrap_or_default());
    xor(rest, other.get(done..).unwrap_or_default());
}

/// Decrypts `bytes` with one cipher and encrypts them with the other, in one pass.
#[inline(never)]
pub fn recrypt(from: &mut Stream, to: &mut Stream, bytes: &mut [u8]) {
    let (mut from_cipher, mut to_cipher) = (from.cipher(), to.cipher());
    let (mut off, mut on) = (NO_KEYSTREAM, NO_KEYSTREAM);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at_mut(rest.len().min(from.room()).min(to.room()));
        let off_at = from.fill(&mut from_cipher, &mut off, piece.len());
        let on_at = to.fill(&mut to_cipher, &mut on, piece.len());
        let off = off.as_flattened().get(off_at..).unwrap_or_default();
        let on = on.as_flattened().get(on_at..).unwrap_or_default();
        xor_both(piece, off, on);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    // NIST SP 800-38A, F.5.5 CTR-AES256.Encrypt
    const KEY: StreamKey = StreamKey {
        key: [
            0x60, 0x3d, 0xeb, 0x10, 0x15, 0xca, 0x71, 0xbe, 0x2b, 0x73, 0xae, 0xf0, 0x85, 0x7d, 0x77, 0x81,
            0x1f, 0x35, 0x2c, 0x07, 0x3b, 0x61, 0x08, 0xd7, 0x2d, 0x98, 0x10, 0xa3, 0x09, 0x14, 0xdf, 0xf4,
        ],
        iv: [
            0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
        ],
    };

    #[test]
    fn nist_vector() {
        let mut block = *b"\x6b\xc1\xbe\xe2\x2e\x40\x9f\x96\xe9\x3d\x7e\x11\x73\x93\x17\x2a";
        Stream::new(&KEY).apply(&mut block);
        assert_eq!(
            &block,
            b"\x60\x1e\xc3\x13\x77\x57\x89\xa5\xb7\xa7\xf5\x04\xbb\xf3\xd2\x28"
        );
    }

    #[test]
    fn a_stream_may_be_cut_anywhere() {
        let mut whole = vec![0x5a; 5000];
        Stream::new(&KEY).apply(&mut whole);
        for cut in [1, 15, 16, 17, 2048, 4999] {
            let mut pieces = vec![0x5a; 5000];
            let (head, tail) = pieces.split_at_mut(cut);
            Stream::new(&KEY).apply(head);
            Stream::at(&KEY, cut as u64).apply(tail);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }

    #[test]
    fn bytes_after_a_rewind_are_encrypted_alike() {
        for len in [0, 1, 16, 100, 4096] {
            let mut stream = Stream::new(&KEY);
            let mut whole = vec![0x5a; 4096];
            stream.apply(&mut whole);
            stream.rewind(len);
            let mut again = vec![0x5a; len];
            stream.apply(&mut again);
            assert_eq!(again, whole[4096 - len..], "{len}");
        }
    }

    #[test]
    fn recrypt_is_both_ciphers_one_after_the_other() {
        let other = StreamKey {
            key: [7; 32],
            iv: [9; 16],
        };
        let mut once = vec![0x5a; 7001];
        recrypt(&mut Stream::new(&KEY), &mut Stream::new(&other), &mut once);
        let mut twice = vec![0x5a; 7001];
        Stream::new(&KEY).apply(&mut twice);
        Stream::new(&other).apply(&mut twice);
        assert_eq!(once, twice);
    }

    #[test]
    fn printed_keys_are_redacted() {
        assert_eq!(
            format!("{KEY:?} {:?}", Stream::new(&KEY)),
            "StreamKey(redacted) Stream(redacted)"
        );
    }
}
