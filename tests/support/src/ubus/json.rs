//! Values as JSON, for those who come from the web.

use super::Value;
use std::fmt;

/// How deep tables and arrays may stand in each other.
const MAX_DEPTH: usize = 32;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Double(value) => write!(f, "{value}"),
            Value::Str(text) => quoted(f, text),
            Value::Array(list) => {
                for (at, value) in list.iter().enumerate() {
                    write!(f, "{}{value}", if at == 0 { "[" } else { "," })?;
                }
                f.write_str(if list.is_empty() { "[]" } else { "]" })
            }
            Value::Table(fields) => {
                for (at, (name, value)) in fields.iter().enumerate() {
                    f.write_str(if at == 0 { "{" } else { "," })?;
                    quoted(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_str(if fields.is_empty() { "{}" } else { "}" })
            }
            Value::Raw(kind, content) => write!(f, "\"type {kind}: {content:02x?}\""),
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

impl Value {
    /// Reads JSON.
    ///
    /// # Errors
    /// With the place where it ends to be any.
    pub fn parse_json(text: &str) -> Result<Value, String> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0);
        parser.space();
        match value {
            Some(value) if parser.at == text.len() => Ok(value),
            _ => Err(format!("no JSON at byte {}", parser.at)),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn take(&mut self, token: &str) -> Option<()> {
        self.space();
        self.rest().starts_with(token).then(|| self.at += token.len())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.space();
        if depth > MAX_DEPTH {
            return None;
        }
        match self.rest().chars().next()? {
            'n' => self.take("null").map(|()| Value::Null),
            't' => self.take("true").map(|()| Value::Bool(true)),
            'f' => self.take("false").map(|()| Value::Bool(false)),
            '"' => self.string().map(Value::Str),
            '[' => {
                let mut list = Vec::new();
                self.list("[", "]", |parser| {
                    list.push(parser.value(depth + 1)?);
                    Some(())
                })?;
                Some(Value::Array(list))
            }
            '{' => {
                let mut fields = Vec::new();
                self.list("{", "}", |parser| {
                    let name = parser.string()?;
                    parser.take(":")?;
                    fields.push((name, parser.value(depth + 1)?));
                    Some(())
                })?;
                Some(Value::Table(fields))
            }
            _ => self.number(),
        }
    }

    fn list(
        &mut self,
        open: &str,
        close: &str,
        mut element: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.take(open)?;
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            element(self)?;
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(",")?;
        }
    }

    fn number(&mut self) -> Option<Value> {
        let rest = self.rest();
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
        let text = &rest[..end.unwrap_or(rest.len())];
        let value = text
            .parse()
            .map(Value::Int)
            .or_else(|_| text.parse().map(Value::Double))
            .ok()?;
        self.at += text.len();
        Some(value)
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut text = String::new();
        // Escapes of UTF-16 come in pairs.
        let mut units = Vec::new();
        loop {
            let c = self.rest().chars().next()?;
            self.at += c.len_utf8();
            if c == '\\' && self.rest().starts_with('u') {
                units.push(u16::from_str_radix(self.rest().get(1..5)?, 16).ok()?);
                self.at += 5;
                continue;
            }
            text.push_str(&String::from_utf16(&std::mem::take(&mut units)).ok()?);
            match c {
                '"' => return Some(text),
                '\\' => {
                    let escaped = self.rest().chars().next()?;
                    self.at += escaped.len_utf8();
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        '"' | '\\' | '/' => escaped,
                        _ => return None,
                    });
                }
                c => text.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_it_went() {
        let text = r#"{"a":[1,-2,0.5,null,true,false,[],{}],"\"\\\u000a":"é😀","":9007199254740991}"#;
        let value = Value::parse_json(text).expect("good");
        assert_eq!(value.to_string(), text);
        assert_eq!(
            Value::parse_json(r#" [ "\ud83d\ude00\n\/" ] "#),
            Ok(Value::Array(vec!["😀\n/".into()]))
        );
        for bad in [
            "",
            "[1,]",
            "{\"a\"}",
            "\"",
            "\"\\x\"",
            "1 2",
            "nul",
            &"[".repeat(100_000),
        ] {
            assert!(Value::parse_json(bad).is_err(), "{bad:.10}");
        }
    }
}
