//! Secrets: the 16-byte key that a user shares with the relay, and its written forms.
//!
//! The same key has three forms: 16 bytes alone (plain), `dd` and the key (padded transport), `ee`, the key and a domain (fake
//! TLS). Each may be written in hex or in unpadded base64url. Both are read, and hex is written.
//! The forms are those of Telegram's own proxy links, <https://core.telegram.org/mtproto/mtproto-transports>.

use alloc::string::String;
use alloc::vec::Vec;
use base64ct::Encoding as _;
use core::fmt;
use subtle::ConstantTimeEq as _;

/// Length limit in bytes of the domain in a fake-TLS secret. The clients have the same limit.
pub const MAX_DOMAIN_LEN: usize = 182;
const KEY_LEN: usize = 16;

/// The shared key. It compares in constant time, and its `Debug` output is redacted.
#[derive(Clone, Copy)]
pub struct Secret([u8; KEY_LEN]);

impl Secret {
    /// The key with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Secret {
        Secret(bytes)
    }

    /// The bytes of the key, for hashing and for links.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// The key as 32 hex digits: what UCI takes, and the plain form of a link.
    #[must_use]
    pub fn to_hex(&self) -> String {
        base16ct::lower::encode_string(&self.0)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// The form of a written secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// The key alone.
    Plain,
    /// `dd` and the key: the padded intermediate transport only.
    Dd,
    /// `ee`, the key and a domain: fake TLS.
    Ee(String),
}

/// A parsed secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The key.
    pub key: Secret,
    /// The form in which it was written.
    pub form: Form,
}

/// Why a text is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// The text is neither hex nor base64url.
    Encoding,
    /// The length fits no form: 16 bytes, 17 bytes with `dd` first, more with `ee` first.
    Length,
    /// The domain of the `ee` form is empty, too long, or not a host name.
    Domain,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SecretError::Encoding => "neither hex digits nor base64url",
            SecretError::Length => "not 16 bytes (32 hex digits), alone or in the dd… or ee… form",
            SecretError::Domain => "the ee… form without a valid domain",
        })
    }
}

impl core::error::Error for SecretError {}

/// Parses a secret in any form and either encoding.
///
/// # Errors
/// When the text is not a secret.
pub fn parse(text: &str) -> Result<Written, SecretError> {
    let bytes = decode(text)?;
    if let Ok(key) = <[u8; KEY_LEN]>::try_from(bytes.as_slice()) {
        return Ok(Written {
            key: Secret(key),
            form: Form::Plain,
        });
    }
    let (&first, rest) = bytes.split_first().ok_or(SecretError::Length)?;
    let (key, domain) = rest.split_first_chunk::<KEY_LEN>().ok_or(SecretError::Length)?;
    let form = match (first, domain) {
        (0xdd, []) => Form::Dd,
        (0xee, domain) => Form::Ee(parse_domain(domain)?),
        _ => return Err(SecretError::Length),
    };
    Ok(Written {
        key: Secret(*key),
        form,
    })
}

/// Writes a secret in hex: 32 digits, `dd…` or `ee…`.
#[must_use]
pub fn write(written: &Written) -> String {
    let key = written.key.to_hex();
    let mut text = String::with_capacity(key.len().saturating_add(2 + 2 * MAX_DOMAIN_LEN));
    match &written.form {
        Form::Plain => text.push_str(&key),
        Form::Dd => text.extend(["dd", &key]),
        Form::Ee(domain) => text.extend(["ee", &key, &base16ct::lower::encode_string(domain.as_bytes())]),
    }
    text
}

/// Whether `name` is a valid server name: dot-separated labels of letters, digits, `-` and `_`.
#[must_use]
pub fn is_host_name(name: &str) -> bool {
    let label_ok = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=MAX_DOMAIN_LEN).contains(&name.len()) && name.split('.').all(label_ok)
}

fn decode(text: &str) -> Result<Vec<u8>, SecretError> {
    // Hex first: a base64url text of a valid length is never hex, because the bytes 0xdd and 0xee do not encode to hex digits, and
    // 16 bytes make 22 characters instead of 32.
    if text.len().is_multiple_of(2)
        && let Ok(bytes) = base16ct::mixed::decode_vec(text)
    {
        return Ok(bytes);
    }
    base64ct::Base64UrlUnpadded::decode_vec(text.trim_end_matches('=')).map_err(|_| SecretError::Encoding)
}

fn parse_domain(bytes: &[u8]) -> Result<String, SecretError> {
    let name = core::str::from_utf8(bytes).map_err(|_| SecretError::Domain)?;
    if is_host_name(name) {
        Ok(String::from(name))
    } else {
        Err(SecretError::Domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f";
    const KEY: Secret = Secret([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

    #[test]
    fn all_forms_are_read_in_hex() {
        assert_eq!(
            parse(HEX),
            Ok(Written {
                key: KEY,
                form: Form::Plain
            })
        );
        assert_eq!(
            parse(&format!("DD{HEX}")),
            Ok(Written {
                key: KEY,
                form: Form::Dd
            })
        );
        let domain = String::from("example.org");
        let text = format!("ee{HEX}6578616d706c652e6f7267");
        assert_eq!(
            parse(&text),
            Ok(Written {
                key: KEY,
                form: Form::Ee(domain)
            })
        );
    }

    #[test]
    fn base64url_is_read_with_and_without_padding() {
        assert_eq!(
            parse("AAECAwQFBgcICQoLDA0ODw"),
            Ok(Written {
                key: KEY,
                form: Form::Plain
            })
        );
        assert_eq!(
            parse("AAECAwQFBgcICQoLDA0ODw=="),
            Ok(Written {
                key: KEY,
                form: Form::Plain
            })
        );
        let written = parse("7gABAgMEBQYHCAkKCwwNDg9leGFtcGxlLm9yZw").unwrap();
        assert_eq!(written.form, Form::Ee(String::from("example.org")));
    }

    #[test]
    fn what_is_read_is_written_in_hex() {
        for text in [
            String::from(HEX),
            format!("dd{HEX}"),
            format!("ee{HEX}6578616d706c652e6f7267"),
        ] {
            assert_eq!(write(&parse(&text).unwrap()), text);
        }
    }

    #[test]
    fn a_text_that_is_not_a_secret_is_refused() {
        let cases = [
            ("", SecretError::Length),
            ("00", SecretError::Length),
            ("zz!!", SecretError::Encoding),
            ("aa000102030405060708090a0b0c0d0e0f", SecretError::Length),
            ("dd000102030405060708090a0b0c0d0e0f00", SecretError::Length),
            ("ee000102030405060708090a0b0c0d0e0f", SecretError::Domain),
            ("ee000102030405060708090a0b0c0d0e0f2e2e", SecretError::Domain),
            ("ee000102030405060708090a0b0c0d0e0fff", SecretError::Domain),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        let long = format!("ee{HEX}{}", "61".repeat(MAX_DOMAIN_LEN + 1));
        assert_eq!(parse(&long), Err(SecretError::Domain));
    }

    #[test]
    fn a_printed_secret_is_redacted() {
        assert_eq!(format!("{KEY:?}"), "Secret(redacted)");
    }
}
