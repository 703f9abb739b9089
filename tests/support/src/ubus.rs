//! ubus as its other users speak it: frames, attributes, values, and a client that calls methods.
//!
//! Written apart from the relay's own codec, so that each checks the other; both are held against bytes recorded from the
//! real bus (tests/vectors/ubus).

pub mod client;
mod json;
pub mod value;

pub use client::{Answer, UbusClient};
pub use value::Value;

use std::io::{self, Read};

/// Types of messages.
#[allow(missing_docs, reason = "named as everywhere")]
pub mod kind {
    pub const HELLO: u8 = 0;
    pub const STATUS: u8 = 1;
    pub const DATA: u8 = 2;
    pub const PING: u8 = 3;
    pub const LOOKUP: u8 = 4;
    pub const INVOKE: u8 = 5;
    pub const ADD_OBJECT: u8 = 6;
    pub const REMOVE_OBJECT: u8 = 7;
    pub const SUBSCRIBE: u8 = 8;
    pub const UNSUBSCRIBE: u8 = 9;
    pub const NOTIFY: u8 = 10;
}

/// Attributes.
#[allow(missing_docs, reason = "named as everywhere")]
pub mod attr {
    pub const STATUS: u8 = 1;
    pub const OBJPATH: u8 = 2;
    pub const OBJID: u8 = 3;
    pub const METHOD: u8 = 4;
    pub const OBJTYPE: u8 = 5;
    pub const SIGNATURE: u8 = 6;
    pub const DATA: u8 = 7;
    pub const TARGET: u8 = 8;
    pub const ACTIVE: u8 = 9;
    pub const NO_REPLY: u8 = 10;
    pub const SUBSCRIBERS: u8 = 11;
    pub const USER: u8 = 12;
    pub const GROUP: u8 = 13;
}

/// Status codes.
#[allow(missing_docs, reason = "named as everywhere")]
pub mod status {
    pub const OK: u32 = 0;
    pub const INVALID_COMMAND: u32 = 1;
    pub const INVALID_ARGUMENT: u32 = 2;
    pub const METHOD_NOT_FOUND: u32 = 3;
    pub const NOT_FOUND: u32 = 4;
    pub const NO_DATA: u32 = 5;
    pub const PERMISSION_DENIED: u32 = 6;
    pub const NOT_SUPPORTED: u32 = 8;
    pub const UNKNOWN_ERROR: u32 = 9;
}

/// The longest message that the bus takes.
pub const MAX_LEN: usize = 1 << 20;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// Repeated by the answer.
    pub seq: u16,
    /// Whom it concerns.
    pub peer: u32,
    /// The attributes' bytes.
    pub body: Vec<u8>,
}

impl Frame {
    /// One without attributes yet.
    pub fn new(kind: u8, seq: u16, peer: u32) -> Frame {
        Frame {
            kind,
            seq,
            peer,
            body: Vec::new(),
        }
    }

    /// Adds an attribute.
    pub fn with(mut self, id: u8, payload: &[u8]) -> Frame {
        put(&mut self.body, u32::from(id) << 24, payload);
        self
    }

    /// Adds a number of 32 bits.
    pub fn with_u32(self, id: u8, value: u32) -> Frame {
        self.with(id, &value.to_be_bytes())
    }

    /// Adds a text.
    pub fn with_str(self, id: u8, text: &str) -> Frame {
        self.with(id, &[text.as_bytes(), &[0]].concat())
    }

    /// What goes over the socket.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0, self.kind];
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.peer.to_be_bytes());
        bytes.extend((self.body.len() as u32 + 4).to_be_bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// Reads one.
    pub fn read(from: &mut impl Read) -> io::Result<Frame> {
        let mut header = [0; 12];
        from.read_exact(&mut header)?;
        let [version, kind, s0, s1, p0, p1, p2, p3, _, l0, l1, l2] = header;
        let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if version != 0 || !(4..=MAX_LEN).contains(&len) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("no message: {header:02x?}"),
            ));
        }
        let mut body = vec![0; len - 4];
        from.read_exact(&mut body)?;
        Ok(Frame {
            kind,
            seq: u16::from_be_bytes([s0, s1]),
            peer: u32::from_be_bytes([p0, p1, p2, p3]),
            body,
        })
    }

    /// The last attribute with this id.
    pub fn attr(&self, id: u8) -> Option<&[u8]> {
        let mut all = split(&self.body).ok()?;
        all.retain(|(header, _)| (header >> 24) as u8 & 0x7f == id);
        all.pop().map(|(_, payload)| payload)
    }

    /// An attribute of 32 bits.
    pub fn u32(&self, id: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.attr(id)?.try_into().ok()?))
    }

    /// An attribute that is a text.
    pub fn str(&self, id: u8) -> Option<&str> {
        std::str::from_utf8(self.attr(id)?.strip_suffix(&[0])?).ok()
    }
}

/// Appends a blob; `header` has everything but the length.
pub(crate) fn put(to: &mut Vec<u8>, header: u32, payload: &[u8]) {
    to.extend((header | (payload.len() as u32 + 4)).to_be_bytes());
    to.extend(payload);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// Headers and payloads of blobs that stand one after the other.
pub(crate) fn split(mut bytes: &[u8]) -> Result<Vec<(u32, &[u8])>, String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let header = bytes.first_chunk().map(|header| u32::from_be_bytes(*header));
        let header = header.ok_or("half a header")?;
        let len = (header & 0xff_ffff) as usize;
        let payload = bytes
            .get(4..len)
            .ok_or_else(|| format!("a blob of {len} in {} bytes", bytes.len()))?;
        all.push((header, payload));
        bytes = bytes.get(len.next_multiple_of(4)..).ok_or("no padding")?;
    }
    Ok(all)
}
