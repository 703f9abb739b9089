//! Messages of ubus: a header of eight bytes (version, type, sequence number, peer), then one blob of attributes.
//!
//! [`Inbox`] turns the bytes of a socket into messages. Calls of this object are a few hundred bytes long; of a message longer than
//! [`MAX_REQUEST_LEN`] only the header is kept, so that a caller can neither make a small router hold a megabyte nor end the
//! connection for all others.

use super::blob::{self, Malformed, Writer};

/// The types of messages.
pub mod kind {
    /// Greeting of the bus; the peer is our own id.
    pub const HELLO: u8 = 0;
    /// The status of a finished request.
    pub const STATUS: u8 = 1;
    /// The data that answers a request.
    pub const DATA: u8 = 2;
    /// A request for a sign of life.
    pub const PING: u8 = 3;
    /// A call of a method.
    pub const INVOKE: u8 = 5;
    /// The registration of an object.
    pub const ADD_OBJECT: u8 = 6;
    /// To the bus: a notification for all subscribers. From it: whether there is a subscriber.
    pub const NOTIFY: u8 = 10;
}

/// The attributes of messages.
pub mod attr {
    /// A status code.
    pub const STATUS: u8 = 1;
    /// An object's name.
    pub const OBJPATH: u8 = 2;
    /// An object's number.
    pub const OBJID: u8 = 3;
    /// A method's name.
    pub const METHOD: u8 = 4;
    /// An object's methods and their arguments.
    pub const SIGNATURE: u8 = 6;
    /// Arguments, or an answer.
    pub const DATA: u8 = 7;
    /// One byte: the caller expects no answer.
    pub const NO_REPLY: u8 = 10;
}

/// The status of a call, in the numbers of ubus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// Success.
    pub const OK: Status = Status(0);
    /// An argument of the wrong type or with an impossible value.
    pub const INVALID_ARGUMENT: Status = Status(2);
    /// The object has no such method.
    pub const METHOD_NOT_FOUND: Status = Status(3);
    /// The item that an argument names does not exist.
    pub const NOT_FOUND: Status = Status(4);
    /// No data for an answer.
    pub const NO_DATA: Status = Status(5);
    /// The call took too long.
    pub const TIMEOUT: Status = Status(7);
    /// Not possible the way the daemon runs.
    pub const NOT_SUPPORTED: Status = Status(8);
    /// It failed; the answer's `error` says how.
    pub const UNKNOWN_ERROR: Status = Status(9);
    /// The answer would not fit into a message.
    pub const NO_MEMORY: Status = Status(11);
}

/// The header before the blob.
const HEADER_LEN: usize = 8;
/// The longest message that the bus passes on.
pub const MAX_LEN: usize = 1 << 20;
/// The longest that is listened to: a call with the longest names of users and hosts is far below.
pub const MAX_REQUEST_LEN: usize = 8 << 10;

mod field {
    use std::ops::Range;

    pub(super) const VERSION: usize = 0;
    pub(super) const KIND: usize = 1;
    pub(super) const SEQ: Range<usize> = 2..4;
    pub(super) const PEER: Range<usize> = 4..8;
    pub(super) const BLOB: Range<usize> = 8..12;
}

/// What stands before the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// One of [`kind`].
    pub kind: u8,
    /// The number of the request, chosen by who asks; an answer repeats it.
    pub seq: u16,
    /// Whom it concerns.
    pub peer: u32,
}

/// A message that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub header: Header,
    /// Its attributes; `None` when they were too long to be kept.
    pub body: Option<Vec<u8>>,
}

/// The bytes are no message: nothing that follows can be understood either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Puts messages together. At most [`MAX_REQUEST_LEN`] and one piece are held.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// What is still to come of a message that is too long.
    skip: usize,
}

impl Inbox {
    /// Takes a piece of what the socket gave.
    pub fn feed(&mut self, piece: &[u8]) {
        let skipped = self.skip.min(piece.len());
        self.skip -= skipped;
        self.bytes.extend_from_slice(&piece[skipped..]);
    }

    /// The next message that is complete.
    ///
    /// # Errors
    /// When there cannot be another one.
    pub fn next_message(&mut self) -> Result<Option<Message>, Broken> {
        let Some((header, len)) = parse_header(&self.bytes)? else {
            return Ok(None);
        };
        if len > MAX_REQUEST_LEN {
            self.skip = len.saturating_sub(self.bytes.len());
            self.bytes.drain(..len.min(self.bytes.len()));
            return Ok(Some(Message { header, body: None }));
        }
        let Some(body) = self.bytes.get(HEADER_LEN + blob::HEADER_LEN..len) else {
            return Ok(None);
        };
        let body = Some(body.to_vec());
        self.bytes.drain(..len);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some(Message { header, body }))
    }
}

/// The header, and the length of the whole message.
fn parse_header(bytes: &[u8]) -> Result<Option<(Header, usize)>, Broken> {
    let Some(start) = bytes.first_chunk::<{ HEADER_LEN + blob::HEADER_LEN }>() else {
        return Ok(None);
    };
    let u32_at = |range: std::ops::Range<usize>| {
        start[range]
            .iter()
            .fold(0, |n: u32, byte| n << 8 | u32::from(*byte))
    };
    let blob_len = blob::blob_len(u32_at(field::BLOB));
    if start[field::VERSION] != 0 || blob_len < blob::HEADER_LEN || blob::padded(blob_len) > MAX_LEN {
        return Err(Broken);
    }
    let header = Header {
        kind: start[field::KIND],
        seq: u32_at(field::SEQ) as u16,
        peer: u32_at(field::PEER),
    };
    Ok(Some((header, HEADER_LEN + blob_len)))
}

/// The attributes of a message that an object's owner reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// The status of a request of ours.
    pub status: Option<u32>,
    /// The object's number.
    pub objid: Option<u32>,
    /// The method's name, without its NUL.
    pub method: Option<&'a [u8]>,
    /// The arguments: [`blob::fields`].
    pub data: Option<&'a [u8]>,
    /// The caller expects no answer.
    pub no_reply: bool,
}

impl Attributes<'_> {
    /// Reads a message's body. Of attributes that come twice the last one counts, as on the bus.
    ///
    /// # Errors
    /// When one is malformed, or of the wrong length.
    pub fn parse(body: &[u8]) -> Result<Attributes<'_>, Malformed> {
        let mut all = Attributes::default();
        for attr in blob::attrs(body) {
            let attr = attr?;
            match attr.id {
                attr::STATUS => all.status = Some(attr.u32().ok_or(Malformed)?),
                attr::OBJID => all.objid = Some(attr.u32().ok_or(Malformed)?),
                attr::METHOD => all.method = Some(attr.payload.strip_suffix(&[0]).ok_or(Malformed)?),
                attr::DATA => all.data = Some(attr.payload),
                attr::NO_REPLY => all.no_reply = attr.payload.first().is_some_and(|byte| *byte != 0),
                _ => {}
            }
        }
        Ok(all)
    }
}

/// Begins a message; [`finish`] ends it.
#[must_use]
pub fn begin(header: Header) -> Writer {
    let mut writer = Writer::new();
    writer.raw(&[0, header.kind]);
    writer.raw(&header.seq.to_be_bytes());
    writer.raw(&header.peer.to_be_bytes());
    writer.open(0);
    writer
}

/// The message's bytes; `None` if the bus would refuse its length.
#[must_use]
pub fn finish(writer: Writer) -> Option<Vec<u8>> {
    let bytes = writer.finish();
    (bytes.len() - HEADER_LEN <= MAX_LEN).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVOKE: Header = Header {
        kind: kind::INVOKE,
        seq: 0x1234,
        peer: 0x5678_9abc,
    };

    fn invoke(arguments: usize) -> Vec<u8> {
        let mut writer = begin(INVOKE);
        writer.put_u32(attr::OBJID, 7);
        writer.put_str(attr::METHOD, "status");
        writer.put(attr::DATA, &vec![0; arguments]);
        finish(writer).expect("it fits")
    }

    fn all(inbox: &mut Inbox) -> Vec<Message> {
        std::iter::from_fn(|| inbox.next_message().expect("not broken")).collect()
    }

    #[test]
    fn messages_come_out_whole_however_they_are_cut() {
        let bytes = [invoke(0), invoke(5), invoke(100)].concat();
        let mut whole = Inbox::default();
        whole.feed(&bytes);
        let expected = all(&mut whole);
        assert_eq!(expected.len(), 3);
        for piece in 1..20 {
            let mut inbox = Inbox::default();
            let mut messages = Vec::new();
            for piece in bytes.chunks(piece) {
                inbox.feed(piece);
                messages.extend(all(&mut inbox));
            }
            assert_eq!(messages, expected);
        }
        let body = expected[1].body.as_deref().expect("short enough");
        let attributes = Attributes::parse(body).expect("good");
        assert_eq!(expected[1].header, INVOKE);
        assert_eq!(
            (attributes.objid, attributes.method, attributes.data),
            (Some(7), Some(&b"status"[..]), Some(&[0; 5][..]))
        );
    }

    #[test]
    fn a_message_that_is_too_long_is_named_and_skipped() {
        for long in [MAX_REQUEST_LEN, 1_000_000] {
            let bytes = [invoke(long), invoke(0)].concat();
            let mut inbox = Inbox::default();
            let mut messages = Vec::new();
            for piece in bytes.chunks(4096) {
                inbox.feed(piece);
                assert!(inbox.bytes.len() <= MAX_REQUEST_LEN + 4096);
                messages.extend(all(&mut inbox));
            }
            assert_eq!(messages.len(), 2);
            assert_eq!((messages[0].header, &messages[0].body), (INVOKE, &None));
            assert!(messages[1].body.is_some());
        }
    }

    #[test]
    fn what_is_no_message_is_broken() {
        let good = invoke(0);
        for (at, value) in [(field::VERSION, 1), (field::BLOB.start + 1, 0x11)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            let mut inbox = Inbox::default();
            inbox.feed(&bytes);
            assert_eq!(inbox.next_message(), Err(Broken));
        }
        let mut inbox = Inbox::default();
        inbox.feed(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3]);
        assert_eq!(inbox.next_message(), Err(Broken));
    }

    #[test]
    fn attributes_of_the_wrong_length_are_malformed() {
        for (id, payload) in [
            (attr::OBJID, &[0, 0, 7][..]),
            (attr::STATUS, &[]),
            (attr::METHOD, b"status"),
        ] {
            let mut writer = Writer::new();
            writer.put(id, payload);
            assert_eq!(Attributes::parse(&writer.finish()), Err(Malformed), "{id}");
        }
        assert_eq!(Attributes::parse(&[]), Ok(Attributes::default()));
    }

    #[test]
    fn a_message_longer_than_the_bus_allows_is_not_sent() {
        let mut writer = begin(INVOKE);
        writer.put(attr::DATA, &vec![0; MAX_LEN]);
        assert_eq!(finish(writer), None);
    }
}
