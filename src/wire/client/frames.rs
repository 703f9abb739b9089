//! Encoder and decoder of the three transports' frames.
//!
//! Read <https://core.telegram.org/mtproto/mtproto-transports> first. [`crate::transport`] finds only the ends of frames, for a
//! relay. This module decodes their contents.

use crate::obfuscated2::Tag;
use crate::transport::{ERROR_LEN, ERRORS, LENGTH, LONG, MAX_PADDING};
use alloc::vec::Vec;

/// Length limit of a frame in bytes. The longest frames carry a part of a file, at most 1 MiB.
pub(super) const MAX_FRAME_LEN: usize = 0x0011_0000;
/// Length of the shortest message in bytes: key id, message id and length of an unencrypted one.
const MIN_MESSAGE_LEN: usize = 20;
/// Length in bytes of an encrypted message's key id and message key. Whole AES blocks follow.
const ENCRYPTED_AT: usize = 24;
/// Length of an AES block in bytes.
const BLOCK_LEN: usize = 16;

/// The contents of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message, without the transport's padding.
    Message(Vec<u8>),
    /// A transport error: −404, −429 or −444.
    Error(i32),
    /// A quick acknowledgement, with its token.
    QuickAck(u32),
}

/// Why a frame is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// The frame is longer than the limit. Holds its length in bytes.
    TooLong(u32),
    /// The frame is shorter than any message, and not a transport error. Holds its length in bytes.
    TooShort(usize),
    /// The bytes around the frame are not TLS records.
    Records,
}

impl core::fmt::Display for BadFrame {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            BadFrame::TooLong(len) => write!(f, "a frame of {len} bytes"),
            BadFrame::TooShort(len) => write!(f, "a frame of only {len} bytes"),
            BadFrame::Records => f.write_str("not a TLS record"),
        }
    }
}

impl core::error::Error for BadFrame {}

/// Appends a frame with this message, whose length must be a multiple of 4. `fill` is the source of the padding's random bytes.
pub(super) fn write(tag: Tag, message: &[u8], fill: &mut dyn FnMut(&mut [u8]), out: &mut Vec<u8>) {
    debug_assert!(message.len().is_multiple_of(4), "a message of whole words");
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let [a, b, c, _] = (len >> 2).to_le_bytes();
    match tag {
        Tag::Abridged if len >> 2 < u32::from(LONG) => out.push(a),
        Tag::Abridged => out.extend([LONG, a, b, c]),
        Tag::Intermediate => out.extend(len.to_le_bytes()),
        Tag::Padded => {
            let mut padding = [0; MAX_PADDING as usize + 1];
            fill(&mut padding);
            let [.., last] = padding;
            let padding = padding
                .get(..usize::from(last & MAX_PADDING as u8))
                .unwrap_or_default();
            out.extend(len.saturating_add(u32::from(last) & MAX_PADDING).to_le_bytes());
            out.extend_from_slice(message);
            out.extend_from_slice(padding);
            return;
        }
    }
    out.extend_from_slice(message);
}

/// Decoder of a stream of decrypted bytes into frames.
///
/// Promise: it holds at most one frame of at most [`MAX_FRAME_LEN`] bytes.
#[derive(Debug)]
pub(super) struct FrameDecoder {
    tag: Tag,
    prefix: [u8; 4],
    prefix_len: u8,
    /// Length of the current frame in bytes, once it is known.
    len: Option<usize>,
    body: Vec<u8>,
}

impl FrameDecoder {
    /// A stream at its first byte.
    #[must_use]
    pub(super) const fn new(tag: Tag) -> FrameDecoder {
        FrameDecoder {
            tag,
            prefix: [0; 4],
            prefix_len: 0,
            len: None,
            body: Vec::new(),
        }
    }

    /// Takes the next bytes and appends the frames that end in them.
    ///
    /// # Errors
    /// On an invalid frame. The stream cannot be decoded any further then.
    pub(super) fn handle_input(&mut self, mut bytes: &[u8], frames: &mut Vec<Frame>) -> Result<(), BadFrame> {
        while let Some((first, rest)) = bytes.split_first() {
            let Some(len) = self.len else {
                bytes = rest;
                if let Some(byte) = self.prefix.get_mut(usize::from(self.prefix_len)) {
                    *byte = *first;
                    self.prefix_len = self.prefix_len.saturating_add(1);
                }
                match prefix(self.tag, self.prefix, self.prefix_len) {
                    Prefix::Short => continue,
                    Prefix::QuickAck(token) => frames.push(Frame::QuickAck(token)),
                    Prefix::Len(len) => {
                        let short = usize::try_from(len).ok().filter(|len| *len <= MAX_FRAME_LEN);
                        let short = short.ok_or(BadFrame::TooLong(len))?;
                        if short < ERROR_LEN as usize {
                            return Err(BadFrame::TooShort(short));
                        }
                        self.len = Some(short);
                        self.body.reserve_exact(short);
                    }
                }
                (self.prefix, self.prefix_len) = ([0; 4], 0);
                continue;
            };
            let (body, after) = bytes.split_at(bytes.len().min(len.saturating_sub(self.body.len())));
            self.body.extend_from_slice(body);
            bytes = after;
            if self.body.len() == len {
                self.len = None;
                frames.push(frame(self.tag, core::mem::take(&mut self.body))?);
            }
        }
        Ok(())
    }
}

enum Prefix {
    Short,
    Len(u32),
    QuickAck(u32),
}

fn prefix(tag: Tag, bytes: [u8; 4], len: u8) -> Prefix {
    let [first, a, b, c] = bytes;
    match (tag, len) {
        (Tag::Abridged, 1) if first < LONG => Prefix::Len(u32::from(first) << 2),
        (Tag::Abridged, 4) if first > LONG => Prefix::QuickAck(u32::from_be_bytes(bytes)),
        (Tag::Abridged, 4) => Prefix::Len(u32::from_le_bytes([a, b, c, 0]) << 2),
        (Tag::Intermediate | Tag::Padded, 4) => match u32::from_le_bytes(bytes) {
            token if token > LENGTH => Prefix::QuickAck(token),
            len => Prefix::Len(len),
        },
        _ => Prefix::Short,
    }
}

/// Distinguishes messages from transport errors, and removes the transport's padding.
fn frame(tag: Tag, mut body: Vec<u8>) -> Result<Frame, BadFrame> {
    if body.len() < MIN_MESSAGE_LEN {
        let code = body.first_chunk().map(|code| i32::from_le_bytes(*code));
        let is_whole = tag == Tag::Padded || body.len() == ERROR_LEN as usize;
        return match code.filter(|code| is_whole && ERRORS.contains(code)) {
            Some(code) => Ok(Frame::Error(code)),
            None => Err(BadFrame::TooShort(body.len())),
        };
    }
    if tag == Tag::Padded {
        let len = if body.starts_with(&[0; 8]) {
            let len = body
                .get(16..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |len| u32::from_le_bytes(*len));
            MIN_MESSAGE_LEN.saturating_add(usize::try_from(len).unwrap_or(usize::MAX))
        } else {
            let blocks = body.len().saturating_sub(ENCRYPTED_AT) / BLOCK_LEN;
            ENCRYPTED_AT.saturating_add(blocks.saturating_mul(BLOCK_LEN))
        };
        // A message that claims to be longer than its frame is left for its own decoder to refuse.
        body.truncate(len);
    }
    Ok(Frame::Message(body))
}
