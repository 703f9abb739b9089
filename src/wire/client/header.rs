//! The header that a proxy's client sends: that of a connection to a data centre, with both keys hashed with the secret.

use crate::cipher::{Stream, StreamKey};
use crate::obfuscated2::{self, HEADER_LEN, Tag, field};
use crate::secret::Secret;

/// The header to a proxy and the two streams that it keys.
#[derive(Debug)]
pub(super) struct ProxyInit {
    /// The 64 bytes to send first.
    pub header: [u8; HEADER_LEN],
    /// Cipher of the bytes after the header.
    pub up: Stream,
    /// Key of the proxy's bytes, from the first one.
    pub down: StreamKey,
}

impl ProxyInit {
    /// A header with random keys. `fill` is the source of random bytes.
    #[must_use]
    pub(super) fn new(tag: Tag, dc: i16, secret: &Secret, fill: &mut dyn FnMut(&mut [u8])) -> ProxyInit {
        let (mut keys, mut rest) = ([0; field::KEYS_LEN], [0; field::REST.end - field::REST.start]);
        fill(&mut keys);
        fill(&mut rest);
        let mut plain = [0; HEADER_LEN];
        obfuscated2::put(&mut plain, field::START, &obfuscated2::allowed_start(fill));
        obfuscated2::put(&mut plain, field::KEYS, &keys);
        obfuscated2::put(&mut plain, field::TAG, &tag.bytes());
        obfuscated2::put(&mut plain, field::DC, &dc.to_le_bytes());
        obfuscated2::put(&mut plain, field::REST, &rest);

        // The header is encrypted from the tag on; the bytes before it are sent in clear.
        let mut up = Stream::new(&obfuscated2::hashed(&keys, secret));
        let mut header = plain;
        up.apply(&mut header);
        let open = plain.get(..field::TAG.start).unwrap_or_default();
        obfuscated2::put(&mut header, 0..field::TAG.start, open);
        ProxyInit {
            header,
            up,
            down: obfuscated2::hashed(&obfuscated2::reversed(&keys), secret),
        }
    }
}
