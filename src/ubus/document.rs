//! A document for the bus: what [`Emit`] is told, as blobmsg.
//!
//! Its length is bounded: beyond [`MAX_LEN`] no further elements are taken into arrays, and the field `truncated` says so.

use super::blob::{Writer, kind};
use crate::metrics::Emit;

/// 1,000 users with names of twenty letters are about 220 KiB. The bus itself drops what goes beyond 1 MiB for one reader.
const MAX_LEN: usize = 256 << 10;

/// A table in the making.
#[derive(Debug, Default)]
pub struct Document {
    writer: Writer,
    /// How many tables and arrays are open.
    depth: usize,
    /// While an element is left out: how many are open inside of it.
    skipping: usize,
    truncated: bool,
}

impl Document {
    /// An empty one.
    #[must_use]
    pub fn new() -> Document {
        Document::default()
    }

    /// The fields, one after the other.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if self.truncated {
            self.bool("truncated", true);
        }
        self.writer.finish()
    }

    fn open(&mut self, kind: u8, name: &str) {
        // Only elements have no name: what has one belongs to the shape of the document.
        if self.skipping > 0 || (name.is_empty() && self.writer.len() >= MAX_LEN) {
            self.truncated = true;
            self.skipping += 1;
        } else {
            self.writer.open_field(kind, name);
            self.depth += 1;
        }
    }

    fn put(&mut self, kind: u8, name: &str, content: &[u8]) {
        if self.skipping == 0 {
            self.writer.put_field(kind, name, content);
        }
    }
}

impl Emit for Document {
    fn table(&mut self, name: &str) {
        self.open(kind::TABLE, name);
    }

    fn array(&mut self, name: &str) {
        self.open(kind::ARRAY, name);
    }

    fn end(&mut self) {
        if self.skipping > 0 {
            self.skipping -= 1;
        } else if self.depth > 0 {
            self.depth -= 1;
            self.writer.close();
        }
    }

    /// Always of 64 bits, so that the type of a counter does not change while it grows.
    fn int(&mut self, name: &str, value: i64) {
        self.put(kind::INT64, name, &value.to_be_bytes());
    }

    fn str(&mut self, name: &str, value: &str) {
        if self.skipping == 0 {
            self.writer.put_text(name, value);
        }
    }

    fn bool(&mut self, name: &str, value: bool) {
        self.put(kind::BOOL, name, &[value.into()]);
    }

    fn null(&mut self, name: &str) {
        self.put(kind::NULL, name, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::blob::{Value, fields};
    use super::*;

    fn users(count: usize) -> Vec<u8> {
        let mut document = Document::new();
        document.array("users");
        for user in 0..count {
            document.table("");
            document.str("name", &format!("user{user}"));
            document.table("bytes");
            document.int("up", 1 << 40);
            document.end();
            document.null("expires");
            document.end();
        }
        document.end();
        document.int("total", 3);
        document.finish()
    }

    #[test]
    fn a_document_that_fits_is_whole() {
        let bytes = users(200);
        let names: Vec<_> = fields(&bytes)
            .map(|field| field.map(|field| field.name))
            .collect();
        assert_eq!(names, [Ok(&b"users"[..]), Ok(b"total")]);
        let Some(Ok(Value::Array(list))) = fields(&bytes).next().map(|field| field.map(|field| field.value))
        else {
            panic!("no array");
        };
        assert_eq!(fields(list).filter(Result::is_ok).count(), 200);
    }

    #[test]
    fn a_document_that_grows_too_long_is_cut_between_elements_and_says_so() {
        let bytes = users(100_000);
        assert!(bytes.len() < MAX_LEN + 200, "{}", bytes.len());
        let all: Vec<_> = fields(&bytes).map(|field| field.expect("well-formed")).collect();
        let names: Vec<_> = all.iter().map(|field| field.name).collect();
        assert_eq!(names, [&b"users"[..], b"total", b"truncated"]);
        let Value::Array(list) = all[0].value else {
            panic!("no array");
        };
        for element in fields(list) {
            let Ok(Value::Table(user)) = element.map(|field| field.value) else {
                panic!("a broken element");
            };
            assert_eq!(fields(user).filter(Result::is_ok).count(), 3);
        }
    }
}
