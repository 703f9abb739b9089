//! An open connection: encodes messages as encrypted frames, in TLS records with fake TLS, and decodes them.

use super::frames::{self, BadFrame, Frame, FrameDecoder};
use crate::cipher::{Stream, StreamKey};
use crate::faketls::handshake::CHANGE_CIPHER_SPEC;
use crate::faketls::record::{self, Unwrapper};
use crate::obfuscated2::{HEADER_LEN, Tag};
use alloc::vec::Vec;

/// Both directions of a connection.
#[derive(Debug)]
pub struct Channel {
    tag: Tag,
    up: Stream,
    down: Stream,
    decoder: FrameDecoder,
    /// State of the record stream, with fake TLS.
    records: Option<Unwrapper>,
    /// The header, until it is sent with the first message.
    header: Option<[u8; HEADER_LEN]>,
}

impl Channel {
    pub(super) fn bare(tag: Tag, header: &[u8; HEADER_LEN], up: Stream, down: &StreamKey) -> Channel {
        Channel {
            tag,
            up,
            down: Stream::new(down),
            decoder: FrameDecoder::new(tag),
            records: None,
            header: Some(*header),
        }
    }

    pub(super) fn in_records(tag: Tag, header: &[u8; HEADER_LEN], up: Stream, down: &StreamKey) -> Channel {
        Channel {
            records: Some(Unwrapper::default()),
            ..Channel::bare(tag, header, up, down)
        }
    }

    /// Appends the bytes that carry this message to `out`. The first message is preceded by the header. `fill` is the source of the
    /// padding's random bytes.
    pub fn send(&mut self, message: &[u8], fill: &mut dyn FnMut(&mut [u8]), out: &mut Vec<u8>) {
        let header = self.header.take();
        let opens = header.is_some();
        let mut bytes: Vec<u8> = header.into_iter().flatten().collect();
        let start = bytes.len();
        frames::write(self.tag, message, fill, &mut bytes);
        self.up.apply(bytes.get_mut(start..).unwrap_or_default());
        if self.records.is_none() {
            out.extend(bytes);
            return;
        }
        if opens {
            out.extend(CHANGE_CIPHER_SPEC);
        }
        for payload in bytes.chunks(record::MAX_PAYLOAD) {
            out.extend(record::header(payload.len()));
            out.extend_from_slice(payload);
        }
    }

    /// Decrypts the read bytes in place and appends the frames that end in them.
    ///
    /// # Errors
    /// On an invalid frame. The channel cannot be used any further then.
    pub fn receive(&mut self, bytes: &mut [u8], frames: &mut Vec<Frame>) -> Result<(), BadFrame> {
        let payload = match &mut self.records {
            Some(records) => records.unwrap_in_place(bytes).map_err(|_| BadFrame::Records)?,
            None => 0..bytes.len(),
        };
        let payload = bytes.get_mut(payload).unwrap_or_default();
        self.down.apply(payload);
        self.decoder.handle_input(payload, frames)
    }
}
