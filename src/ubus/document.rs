//! A document for the bus: the values given to [`Emit`], as blobmsg.
//!
//! Its length is bounded: beyond [`MAX_LEN`] arrays take no further elements, and the field `truncated` is set.

use super::blob::{Writer, kind};
use crate::metrics::Emit;

/// The bound, in bytes: 1,000 users with names of twenty letters are about 220 KiB. The bus drops a reader that has 1 MiB waiting.
const MAX_LEN: usize = 256 << 10;

/// A document that is being written.
#[derive(Debug, Default)]
pub struct Document {
    writer: Writer,
    /// Open tables and arrays.
    depth: usize,
    /// Open tables and arrays inside of an element that is left out.
    skipping: usize,
    truncated: bool,
}

impl Document {
    /// An empty document.
    #[must_use]
    pub fn new() -> Document {
        Document::default()
    }

    /// The encoded fields.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if self.truncated {
            self.bool("truncated", true);
        }
        self.writer.finish()
    }

    fn open(&mut self, kind: u8, name: &str) {
        // Elements of arrays have no name. A named value belongs to the shape of the document and is never left out.
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

    /// Always 64 bits, so that the type of a counter does not change while it grows.
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
