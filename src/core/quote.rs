//! Quoted texts of peers and owners in messages. The standard library's escaping would link 8 KB of Unicode tables.

use std::fmt::{self, Write as _};

/// A text between two quotation marks. The mark, line ends, control characters and bidirectional controls are escaped.
pub struct Quoted<'a> {
    /// The quotation mark.
    pub mark: char,
    /// The text.
    pub text: &'a str,
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char(self.mark)?;
        for c in self.text.chars() {
            let is_bidi = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
            if c.is_control() || is_bidi || c == self.mark || c == '\\' {
                for escaped in c.escape_default() {
                    f.write_char(escaped)?;
                }
            } else {
                f.write_char(c)?;
            }
        }
        f.write_char(self.mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        let quoted = |mark, text| Quoted { mark, text }.to_string();
        assert_eq!(quoted('\'', "Zoë \"B\""), "'Zoë \"B\"'");
        assert_eq!(quoted('\'', "it's\n\\\0"), "'it\\'s\\n\\\\\\u{0}'");
        assert_eq!(quoted('"', "it's \"\t"), "\"it's \\\"\\t\"");
        assert_eq!(quoted('"', "a\u{202e}b\u{85}"), "\"a\\u{202e}b\\u{85}\"");
    }
}
