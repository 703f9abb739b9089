//! The encryption of messages (MTProto 2.0), from the server's side.
//!
//! Read <https://core.telegram.org/mtproto/description> first. Written from it, and not from what the client uses.

use grammers_crypto::aes::{ige_decrypt, ige_encrypt};
use mtrelay_test_support::rng::Rng;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The key that client and server agreed on.
pub(crate) type AuthKey = [u8; 256];

const KEY_ID_LEN: usize = 8;
const MSG_KEY_LEN: usize = 16;
/// Salt, session, message id, seqno, length.
const INNER_HEADER_LEN: usize = 32;

/// What distinguishes the two directions: where in the key their parts begin.
#[derive(Clone, Copy)]
enum From {
    Client = 0,
    Server = 8,
}

/// A message in its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) salt: i64,
    pub(crate) session: i64,
    pub(crate) msg_id: i64,
    pub(crate) seqno: i32,
    pub(crate) body: Vec<u8>,
}

/// The number by which both sides know a key.
pub(crate) fn key_id(key: &AuthKey) -> i64 {
    let hash: [u8; 20] = Sha1::digest(key).into();
    i64::from_le_bytes(*hash.last_chunk().expect("20 bytes"))
}

/// Opens what a client sent; the key was found by its id. The error says which rule the message breaks.
pub(crate) fn open(key: &AuthKey, message: &[u8]) -> Result<Sealed, String> {
    let (_, rest) = message
        .split_first_chunk::<KEY_ID_LEN>()
        .ok_or("a message without a key's id")?;
    let (msg_key, data) = rest
        .split_first_chunk::<MSG_KEY_LEN>()
        .ok_or("a message without its key")?;
    // The padded transport leaves its own padding behind the last block.
    let mut data = data[..data.len() / 16 * 16].to_vec();
    let (aes_key, iv) = keys(key, msg_key, From::Client);
    ige_decrypt(&mut data, &aes_key, &iv);
    if &message_key(key, &data, From::Client) != msg_key {
        return Err("a message whose key does not fit".into());
    }
    let (header, body) = data
        .split_first_chunk::<INNER_HEADER_LEN>()
        .ok_or("a message without a header")?;
    let long = |at: usize| i64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let int = |at: usize| i32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let len = int(28) as usize;
    if len > body.len() || !len.is_multiple_of(4) {
        return Err(format!("a message of {len} bytes in {}", body.len()));
    }
    if !(12..=1024).contains(&(body.len() - len)) {
        return Err(format!("a message with {} bytes of padding", body.len() - len));
    }
    Ok(Sealed {
        salt: long(0),
        session: long(8),
        msg_id: long(16),
        seqno: int(24),
        body: body[..len].to_vec(),
    })
}

/// Seals what goes to a client. `len` replaces the true length, for those who want to lie.
pub(crate) fn seal(key: &AuthKey, message: &Sealed, len: Option<u32>, rng: &mut Rng) -> Vec<u8> {
    let mut data = Vec::with_capacity(message.body.len() + 128);
    data.extend(message.salt.to_le_bytes());
    data.extend(message.session.to_le_bytes());
    data.extend(message.msg_id.to_le_bytes());
    data.extend(message.seqno.to_le_bytes());
    data.extend(len.unwrap_or(message.body.len() as u32).to_le_bytes());
    data.extend_from_slice(&message.body);
    let padding = 12 + (16 - (data.len() + 12) % 16) % 16;
    data.extend(rng.bytes(padding));
    let msg_key = message_key(key, &data, From::Server);
    let (aes_key, iv) = keys(key, &msg_key, From::Server);
    ige_encrypt(&mut data, &aes_key, &iv);
    let mut sealed = Vec::with_capacity(data.len() + KEY_ID_LEN + MSG_KEY_LEN);
    sealed.extend(key_id(key).to_le_bytes());
    sealed.extend(msg_key);
    sealed.extend(data);
    sealed
}

fn message_key(key: &AuthKey, data: &[u8], from: From) -> [u8; MSG_KEY_LEN] {
    let at = 88 + from as usize;
    let large = Sha256::new()
        .chain_update(&key[at..at + 32])
        .chain_update(data)
        .finalize();
    large[8..24].try_into().expect("16 bytes")
}

fn keys(key: &AuthKey, msg_key: &[u8; MSG_KEY_LEN], from: From) -> ([u8; 32], [u8; 32]) {
    let x = from as usize;
    let a = Sha256::new()
        .chain_update(msg_key)
        .chain_update(&key[x..x + 36])
        .finalize();
    let b = Sha256::new()
        .chain_update(&key[40 + x..76 + x])
        .chain_update(msg_key)
        .finalize();
    let join = |outer: &[u8], inner: &[u8]| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&outer[..8]);
        bytes[8..24].copy_from_slice(&inner[8..24]);
        bytes[24..].copy_from_slice(&outer[24..]);
        bytes
    };
    (join(&a, &b), join(&b, &a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grammers_crypto::{AuthKey as TheirKey, DequeBuffer, decrypt_data_v2, encrypt_data_v2};

    fn key() -> AuthKey {
        std::array::from_fn(|at| (at * 7) as u8)
    }

    fn message(len: usize) -> Sealed {
        Sealed {
            salt: -1,
            session: 2,
            msg_id: 4,
            seqno: 1,
            body: vec![9; len],
        }
    }

    #[test]
    fn another_implementation_opens_what_is_sealed() {
        for len in [0, 4, 12, 16, 4096] {
            let mut sealed = seal(&key(), &message(len), None, &mut Rng::new(1));
            let opened = decrypt_data_v2(&mut sealed, &TheirKey::from_bytes(key())).expect("it fits");
            assert_eq!(&opened[32..32 + len], message(len).body);
        }
    }

    #[test]
    fn what_another_implementation_seals_is_opened() {
        let mut plain = DequeBuffer::with_capacity(256, 256);
        let body = [3; 40];
        let header = [
            &1_i64.to_le_bytes()[..],
            &2_i64.to_le_bytes(),
            &8_i64.to_le_bytes(),
        ]
        .concat();
        plain.extend(header);
        plain.extend([1_i32.to_le_bytes(), 40_i32.to_le_bytes()].concat());
        plain.extend(body);
        encrypt_data_v2(&mut plain, &TheirKey::from_bytes(key()));
        let opened = open(&key(), &plain[..]).expect("it fits");
        assert_eq!((opened.salt, opened.session, opened.msg_id), (1, 2, 8));
        assert_eq!(opened.body, body);
        let mut bent = plain[..].to_vec();
        bent[60] ^= 1;
        assert!(open(&key(), &bent).is_err());
    }
}
