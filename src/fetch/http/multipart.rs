//! The body of a response: one range of a medium, or several as `multipart/byteranges` (RFC 9110 §14.6).

use crate::random_word::random_word;
use std::ops::Range;

/// The ranges of a body, each with the text before it.
pub(super) struct Parts {
    pub(super) boundary: String,
    pub(super) parts: Vec<(String, Range<u64>)>,
    /// The text after the last range.
    pub(super) end: String,
}

impl Parts {
    /// A body of one range without a frame.
    pub(super) fn single(range: Range<u64>) -> Parts {
        Parts {
            boundary: String::new(),
            parts: vec![(String::new(), range)],
            end: String::new(),
        }
    }

    /// A multipart body. The boundary is random, so that the author of a medium cannot have put it into its bytes.
    pub(super) fn multiple(ranges: Vec<Range<u64>>, content_type: &str, size: u64) -> Parts {
        let boundary = random_word();
        let framed = |range: Range<u64>| {
            let content_range = content_range(&range, size);
            let title = format!(
                "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range}\r\n\r\n"
            );
            (title, range)
        };
        Parts {
            parts: ranges.into_iter().map(framed).collect(),
            end: format!("\r\n--{boundary}--\r\n"),
            boundary,
        }
    }

    /// Bytes of the whole body.
    pub(super) fn len(&self) -> u64 {
        let parts = self
            .parts
            .iter()
            .map(|(title, range)| title.len() as u64 + range.end - range.start);
        parts.sum::<u64>() + self.end.len() as u64
    }
}

/// The value of `Content-Range`.
pub(super) fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}
