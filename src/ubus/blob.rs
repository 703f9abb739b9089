//! Blobs, in which everything on ubus is packed, and blobmsg, the named values inside of them. All numbers are big-endian.
//!
//! A blob is a header (one bit "extended", seven of id, 24 of length with the header) and a payload, padded to four
//! bytes; the padding is not in the length. A payload can be blobs again. blobmsg sets the extended bit, takes the id for
//! the value's type, and begins the payload with the name: its length in two bytes, the name, a NUL, padding to four.
//!
//! Reading borrows and copies nothing. No input makes it panic, and it goes no deeper than its caller does.

/// The bytes of a blob's header.
pub const HEADER_LEN: usize = 4;
const EXTENDED: u32 = 1 << 31;
const LEN_MASK: u32 = 0x00ff_ffff;

/// The types of blobmsg, as ids.
pub mod kind {
    /// Nothing known: JSON's null.
    pub const NULL: u8 = 0;
    /// Values without names of their own.
    pub const ARRAY: u8 = 1;
    /// Values with names.
    pub const TABLE: u8 = 2;
    /// Text, closed by a NUL.
    pub const STRING: u8 = 3;
    /// 64 bits, signed.
    pub const INT64: u8 = 4;
    /// 32 bits, signed.
    pub const INT32: u8 = 5;
    /// 16 bits, signed.
    pub const INT16: u8 = 6;
    /// One byte, used as yes or no.
    pub const BOOL: u8 = 7;
    /// IEEE 754.
    pub const DOUBLE: u8 = 8;
}

/// Bytes that are no blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// One blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr<'a> {
    /// Whether its payload begins with a name.
    pub extended: bool,
    /// What it is: seven bits.
    pub id: u8,
    /// Its content, without padding.
    pub payload: &'a [u8],
}

impl Attr<'_> {
    /// The content as a number of 32 bits, if that is its length.
    #[must_use]
    pub fn u32(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.payload.try_into().ok()?))
    }
}

/// The blobs of a payload, one after the other. Ends after the first that is malformed.
#[derive(Clone, Debug)]
pub struct Attrs<'a>(&'a [u8]);

/// The blobs in `payload`.
#[must_use]
pub const fn attrs(payload: &[u8]) -> Attrs<'_> {
    Attrs(payload)
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<Attr<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let attr = split(self.0);
        self.0 = attr.map_or(&[], |(_, rest)| rest);
        Some(attr.map(|(attr, _)| attr).ok_or(Malformed))
    }
}

fn split(bytes: &[u8]) -> Option<(Attr<'_>, &[u8])> {
    let (header, _) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let header = u32::from_be_bytes(*header);
    let len = blob_len(header);
    let attr = Attr {
        extended: header & EXTENDED != 0,
        id: (header >> 24) as u8 & 0x7f,
        payload: bytes.get(HEADER_LEN..len)?,
    };
    // The last one's padding may have been left out.
    Some((attr, bytes.get(padded(len)..).unwrap_or_default()))
}

/// The length in a blob's header, which counts the header.
#[must_use]
pub const fn blob_len(header: u32) -> usize {
    (header & LEN_MASK) as usize
}

/// `len` with its padding.
#[must_use]
pub const fn padded(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// One named value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// Its name; empty in arrays.
    pub name: &'a [u8],
    /// What it is.
    pub value: Value<'a>,
}

/// A value of blobmsg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing known.
    Null,
    /// A byte that is used as yes or no.
    Bool(bool),
    /// A whole number of 16, 32 or 64 bits.
    Int(i64),
    /// Any other number.
    Double(f64),
    /// Text up to its first NUL, in any encoding.
    Str(&'a [u8]),
    /// The payload of a list: [`fields`] without names.
    Array(&'a [u8]),
    /// The payload of a table: [`fields`].
    Table(&'a [u8]),
}

/// The named values in `payload`. What is inside of tables and arrays is looked at only when asked for.
pub fn fields(payload: &[u8]) -> impl Iterator<Item = Result<Field<'_>, Malformed>> {
    attrs(payload).map(|attr| field(attr?).ok_or(Malformed))
}

fn field(attr: Attr<'_>) -> Option<Field<'_>> {
    if !attr.extended {
        return None;
    }
    let (name_len, rest) = attr.payload.split_first_chunk::<2>()?;
    let name_len = usize::from(u16::from_be_bytes(*name_len));
    let name = rest.get(..name_len)?;
    if *rest.get(name_len)? != 0 {
        return None;
    }
    let content = attr.payload.get(padded(2 + name_len + 1)..)?;
    let value = match attr.id {
        kind::NULL => Value::Null,
        kind::ARRAY => Value::Array(content),
        kind::TABLE => Value::Table(content),
        kind::STRING => {
            content.last().filter(|last| **last == 0)?;
            Value::Str(content.split(|byte| *byte == 0).next()?)
        }
        kind::INT64 => Value::Int(i64::from_be_bytes(content.try_into().ok()?)),
        kind::INT32 => Value::Int(i32::from_be_bytes(content.try_into().ok()?).into()),
        kind::INT16 => Value::Int(i16::from_be_bytes(content.try_into().ok()?).into()),
        kind::BOOL => Value::Bool(<[u8; 1]>::try_from(content).ok()? != [0]),
        kind::DOUBLE => Value::Double(f64::from_be_bytes(content.try_into().ok()?)),
        _ => return None,
    };
    Some(Field { name, value })
}

/// Writes blobs, nested as they are opened and closed.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    /// Where the headers of the open ones stand.
    open: Vec<usize>,
}

impl Writer {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Writer {
        Writer {
            bytes: Vec::new(),
            open: Vec::new(),
        }
    }

    /// How much there is.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes as they are, such as a message's header or fields that were written elsewhere.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Opens a blob for others.
    pub fn open(&mut self, id: u8) {
        self.header(u32::from(id) << 24);
    }

    /// Closes the table or array opened last.
    pub fn close(&mut self) {
        if let Some(at) = self.open.pop() {
            // What may be written is bounded far below 24 bits; see `message::MAX_LEN`.
            let len = u32::try_from(self.bytes.len() - at).unwrap_or(LEN_MASK) & LEN_MASK;
            if let Some(header) = self.bytes.get_mut(at..at + HEADER_LEN) {
                header[1..].copy_from_slice(&len.to_be_bytes()[1..]);
            }
            self.bytes.resize(padded(self.bytes.len()), 0);
        }
    }

    /// A blob with this content.
    pub fn put(&mut self, id: u8, payload: &[u8]) {
        self.open(id);
        self.bytes.extend_from_slice(payload);
        self.close();
    }

    /// A blob with a text, which gets its NUL.
    pub fn put_str(&mut self, id: u8, text: &str) {
        self.open(id);
        self.text(text);
        self.close();
    }

    /// A blob with a number.
    pub fn put_u32(&mut self, id: u8, value: u32) {
        self.put(id, &value.to_be_bytes());
    }

    /// Opens a value of this [`kind`]; tables and arrays take values until they are closed.
    pub fn open_field(&mut self, kind: u8, name: &str) {
        self.header(EXTENDED | u32::from(kind) << 24);
        // Names are ours and short.
        let name = &name.as_bytes()[..name.len().min(u16::MAX.into())];
        self.bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.bytes.resize(padded(self.bytes.len()), 0);
    }

    /// A named value of this [`kind`].
    pub fn put_field(&mut self, kind: u8, name: &str, content: &[u8]) {
        self.open_field(kind, name);
        self.bytes.extend_from_slice(content);
        self.close();
    }

    /// A named text. It is cut at its first NUL, where every reader would end it.
    pub fn put_text(&mut self, name: &str, text: &str) {
        self.open_field(kind::STRING, name);
        self.text(text);
        self.close();
    }

    /// What was written, with everything closed.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        while !self.open.is_empty() {
            self.close();
        }
        self.bytes
    }

    fn header(&mut self, header: u32) {
        self.open.push(self.bytes.len());
        self.bytes.extend_from_slice(&header.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        let text = text.split('\0').next().unwrap_or_default();
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(payload: &[u8]) -> Result<Field<'_>, Malformed> {
        let mut all = fields(payload);
        let first = all.next().expect("there is one");
        assert!(all.next().is_none());
        first
    }

    #[test]
    fn values_are_read_as_they_were_written() {
        let mut writer = Writer::new();
        writer.put_field(kind::NULL, "", &[]);
        writer.put_field(kind::BOOL, "b", &[1]);
        writer.put_field(kind::INT16, "ab", &(-2_i16).to_be_bytes());
        writer.put_field(kind::INT32, "abc", &(-3_i32).to_be_bytes());
        writer.put_field(kind::INT64, "abcd", &(-4_i64).to_be_bytes());
        writer.put_field(kind::DOUBLE, "d", &0.5_f64.to_be_bytes());
        writer.put_text("text", "é\0hidden");
        writer.open_field(kind::TABLE, "table");
        writer.open_field(kind::ARRAY, "array");
        writer.put_text("", "inside");
        let bytes = writer.finish();
        assert_eq!(bytes.len() % 4, 0);
        let read: Vec<Field<'_>> = fields(&bytes).collect::<Result<_, _>>().expect("all good");
        let expected: [(&str, Value<'_>); 7] = [
            ("", Value::Null),
            ("b", Value::Bool(true)),
            ("ab", Value::Int(-2)),
            ("abc", Value::Int(-3)),
            ("abcd", Value::Int(-4)),
            ("d", Value::Double(0.5)),
            ("text", Value::Str("é".as_bytes())),
        ];
        for (read, (name, value)) in read.iter().zip(expected) {
            assert_eq!((read.name, read.value), (name.as_bytes(), value));
        }
        let Value::Table(table) = read[7].value else {
            panic!("{:?}", read[7]);
        };
        let Ok(Field {
            name: b"array",
            value: Value::Array(array),
        }) = only(table)
        else {
            panic!("{table:x?}");
        };
        assert_eq!(only(array).map(|field| field.value), Ok(Value::Str(b"inside")));
    }

    #[test]
    fn a_field_has_the_bytes_of_the_format() {
        let mut writer = Writer::new();
        writer.put_field(kind::BOOL, "ok", &[1]);
        writer.put_text("a", "bc");
        let bytes = [
            0x87, 0, 0, 13, 0, 2, b'o', b'k', 0, 0, 0, 0, 1, 0, 0,
            0, // the length leaves the padding out
            0x83, 0, 0, 11, 0, 1, b'a', 0, b'b', b'c', 0, 0,
        ];
        assert_eq!(writer.finish(), bytes);
    }

    #[test]
    fn what_is_malformed_ends_the_reading() {
        let cases: [&[u8]; 12] = [
            &[0, 0, 0],                                         // no header
            &[0, 0, 0, 3],                                      // shorter than its own header
            &[0, 0, 0, 5],                                      // longer than what there is
            &[0x03, 0, 0, 8, 0, 0, 0, 0],                       // no name at all
            &[0x83, 0, 0, 5, 0],                                // half a name's length
            &[0x83, 0, 0, 8, 0, 9, b'a', 0],                    // a name behind the end
            &[0x83, 0, 0, 8, 0, 1, b'a', b'b'],                 // a name without its NUL
            &[0x83, 0, 0, 8, 0, 1, b'a', 0],                    // a text without its NUL
            &[0x83, 0, 0, 10, 0, 1, b'a', 0, b'b', b'c'],       // likewise
            &[0x85, 0, 0, 11, 0, 1, b'a', 0, 0, 0, 0, 0],       // 24 bits
            &[0x87, 0, 0, 10, 0, 1, b'a', 0, 0, 0, 0, 0],       // a bool of two bytes
            &[0x89, 0, 0, 12, 0, 1, b'a', 0, 0, 0, 0, 0, 0xff], // no such type
        ];
        for bytes in cases {
            let mut read = fields(bytes);
            assert_eq!(read.next(), Some(Err(Malformed)), "{bytes:x?}");
        }
        assert_eq!(
            fields(&[0, 0, 0, 0, 0x87, 0, 0, 9]).count(),
            1,
            "nothing after it"
        );
        assert_eq!(
            attrs(&[0x03, 0, 0, 8, 0, 0, 0, 7])
                .next()
                .map(|attr| attr.ok().and_then(|attr| attr.u32())),
            Some(Some(7))
        );
    }
}
