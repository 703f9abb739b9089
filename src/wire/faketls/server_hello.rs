//! The server's answer: ServerHello, ChangeCipherSpec and one encrypted record (RFC 8446, section 4.1.3 and appendix D.4).
//!
//! The client recognises the proxy by the answer's `random`, which is HMAC-SHA256(secret, the hello's random ‖ the whole answer
//! with its own random zeroed). Some clients digest everything that has arrived, so nothing may follow the answer before the
//! client has sent more.

use crate::faketls::client_hello::{ClientHello, GROUP_X25519_MLKEM768};
use crate::faketls::handshake::{CHANGE_CIPHER_SPEC, RANDOM, block16};
use crate::faketls::record;
use crate::secret::Secret;
use alloc::vec::Vec;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Length in bytes of the ML-KEM-768 ciphertext before the X25519 share of the hybrid group. Any bytes make a valid ciphertext.
const MLKEM768_CIPHERTEXT_LEN: usize = 1088;

/// The whole answer to `hello`, to be sent at once.
///
/// `flight_len` is the length of the encrypted record, which stands for a site's certificates and `Finished`. `share` is a key
/// share of X25519. `fill` is the source of random bytes.
#[must_use]
pub fn answer(
    hello: &ClientHello<'_>,
    secret: &Secret,
    flight_len: usize,
    share: &[u8; 32],
    fill: &mut dyn FnMut(&mut [u8]),
) -> Vec<u8> {
    let flight_len = flight_len.clamp(1, record::MAX_PAYLOAD);
    let mut out = Vec::with_capacity(flight_len.saturating_add(1300));
    let server_hello = |out: &mut Vec<u8>| {
        out.extend([0x03, 0x03]);
        out.extend([0; 32]);
        block8(out, hello.session_id);
        out.extend(hello.cipher_suite.to_be_bytes());
        out.push(0);
        block16(out, |out| {
            out.extend([0x00, 0x33]);
            block16(out, |out| {
                out.extend(hello.group.to_be_bytes());
                block16(out, |out| key_share(out, hello.group, share, fill));
            });
            out.extend([0x00, 0x2b, 0x00, 0x02, 0x03, 0x04]);
        });
    };
    out.extend([0x16, 0x03, 0x03]);
    block16(&mut out, |out| {
        // The length of a handshake message has three bytes; the first is always zero here.
        out.extend([0x02, 0x00]);
        block16(out, server_hello);
    });
    out.extend(CHANGE_CIPHER_SPEC);
    out.extend(record::header(flight_len));
    append_random(&mut out, flight_len, fill);
    sign(&mut out, hello, secret);
    out
}

fn sign(out: &mut [u8], hello: &ClientHello<'_>, secret: &Secret) {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return;
    };
    mac.update(hello.random());
    mac.update(out);
    let digest = mac.finalize().into_bytes();
    for (to, from) in out.iter_mut().skip(RANDOM.start).take(RANDOM.len()).zip(digest) {
        *to = from;
    }
}

fn key_share(out: &mut Vec<u8>, group: u16, share: &[u8; 32], fill: &mut dyn FnMut(&mut [u8])) {
    if group == GROUP_X25519_MLKEM768 {
        append_random(out, MLKEM768_CIPHERTEXT_LEN, fill);
    }
    out.extend(share);
}

fn append_random(out: &mut Vec<u8>, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
    let start = out.len();
    out.resize(start.saturating_add(len), 0);
    fill(out.get_mut(start..).unwrap_or_default());
}

fn block8(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend(bytes);
}
