//! RESP2 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>), as far as AUTH, SELECT, GET and
//! SET need it.

/// Upper bound of a value in bytes.
pub(super) const MAX_REPLY: usize = 64 << 10;

/// A reply of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Ok,
    Nothing,
    Bytes(Vec<u8>),
    Error(String),
}

/// A command as an array of bulk strings.
pub(super) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Parses a reply. Returns it with its length, or `None` if it is incomplete.
///
/// # Errors
/// The reply is malformed or of an unknown type.
pub(super) fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, &'static str> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() > 1024 {
            Err("a line without end")
        } else {
            Ok(None)
        };
    };
    let (line, body) = (&bytes[..end], end + 2);
    let text = line
        .get(1..)
        .and_then(|text| std::str::from_utf8(text).ok())
        .unwrap_or_default();
    match line.first() {
        Some(b'+') => Ok(Some((Reply::Ok, body))),
        Some(b'-') => Ok(Some((Reply::Error(text.to_owned()), body))),
        Some(b'$') if text == "-1" => Ok(Some((Reply::Nothing, body))),
        Some(b'$') => {
            let len: usize = text.parse().map_err(|_| "an invalid length")?;
            if len > MAX_REPLY {
                return Err("a value that is too long");
            }
            let whole = body + len + 2;
            match bytes.get(body..whole) {
                None => Ok(None),
                Some(value) if value.ends_with(b"\r\n") => {
                    Ok(Some((Reply::Bytes(value[..len].to_vec()), whole)))
                }
                Some(_) => Err("a value without its end"),
            }
        }
        _ => Err("a reply of another kind"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        assert_eq!(
            command(&[b"GET", b"a\r\nb"]),
            b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n"
        );
    }

    #[test]
    fn replies_are_read_when_they_are_whole() {
        let cases: [(&[u8], Reply); 5] = [
            (b"+OK\r\n", Reply::Ok),
            (b"-WRONGPASS no\r\n", Reply::Error("WRONGPASS no".into())),
            (b"$-1\r\n", Reply::Nothing),
            (b"$0\r\n\r\n", Reply::Bytes(vec![])),
            (b"$4\r\na\r\nb\r\n", Reply::Bytes(b"a\r\nb".to_vec())),
        ];
        for (bytes, expected) in cases {
            for len in 0..bytes.len() {
                assert_eq!(reply(&bytes[..len]), Ok(None));
            }
            let more = [bytes, b"+next"].concat();
            assert_eq!(reply(&more), Ok(Some((expected, bytes.len()))));
        }
    }

    #[test]
    fn other_replies_are_errors() {
        let long = "x".repeat(2000);
        for bytes in [
            "*1\r\n",
            ":1\r\n",
            "\r\n",
            "$x\r\n",
            "$-2\r\n",
            "$99999999999\r\n",
            "$1\r\nabc",
            &long,
        ] {
            assert!(reply(bytes.as_bytes()).is_err(), "{bytes}");
        }
    }
}
