//! What a server puts around its messages, for those who make single ones: fuzz targets.

use crate::crypt::{self, AuthKey, Sealed};
use crate::exchange::prime;
use crate::rsa::{RsaKey, padded};
use grammers_crypto::aes::{ige_decrypt, ige_encrypt};
use grammers_tl_types::{
    Cursor, Deserializable, Identifiable as _, Serializable as _, enums, functions, types,
};
use mtrelay_test_support::rng::Rng;
use num_bigint::BigUint;
use sha1::{Digest as _, Sha1};

/// Stands in the last answer of an exchange for the hash that proves the key.
pub const HASH: [u8; 16] = *b"HASH OF THE KEY!";
/// The server's secret in these exchanges; its public value is what seeds must say.
const SECRET: u32 = 0x00c0_ffee;

/// A message of an encrypted session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The salt.
    pub salt: i64,
    /// The session's number.
    pub session: i64,
    /// The message's number.
    pub msg_id: i64,
    /// The sequence number.
    pub seqno: i32,
    /// The object.
    pub body: Vec<u8>,
}

/// Seals a server's message.
#[must_use]
pub fn seal(key: &[u8; 256], message: &Message) -> Vec<u8> {
    let sealed = Sealed {
        salt: message.salt,
        session: message.session,
        msg_id: message.msg_id,
        seqno: message.seqno,
        body: message.body.clone(),
    };
    crypt::seal(key, &sealed, None, &mut Rng::new(1))
}

/// Opens a client's message. The error says which rule it breaks.
///
/// # Errors
/// It is none, or of another key.
pub fn open(key: &[u8; 256], packet: &[u8]) -> Result<Message, String> {
    let sealed = crypt::open(key, packet)?;
    Ok(Message {
        salt: sealed.salt,
        session: sealed.session,
        msg_id: sealed.msg_id,
        seqno: sealed.seqno,
        body: sealed.body,
    })
}

/// A message that is not encrypted.
#[must_use]
pub fn plain(msg_id: i64, object: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes.extend(msg_id.to_le_bytes());
    bytes.extend((object.len() as u32).to_le_bytes());
    bytes.extend_from_slice(object);
    bytes
}

/// The server's public value of the exchanges that [`Nonces`] follows.
#[must_use]
pub fn public_value() -> Vec<u8> {
    padded::<256>(&BigUint::from(3_u32).modpow(&BigUint::from(SECRET), &prime())).to_vec()
}

/// What a client has drawn in its exchange, so that answers can be made to fit.
#[derive(Clone, Debug, Default)]
pub struct Nonces {
    nonce: [u8; 16],
    server_nonce: [u8; 16],
    new_nonce: [u8; 32],
    auth_key: Option<Box<AuthKey>>,
}

impl Nonces {
    /// Looks at a message of the client's.
    pub fn learn(&mut self, message: &[u8]) {
        let Some(object) = message.get(20..) else { return };
        let mut input = Cursor::from_slice(object);
        let Ok(id) = u32::deserialize(&mut input) else {
            return;
        };
        match id {
            functions::ReqPqMulti::CONSTRUCTOR_ID => {
                if let Ok(request) = functions::ReqPqMulti::deserialize(&mut input) {
                    self.nonce = request.nonce;
                }
            }
            functions::ReqDhParams::CONSTRUCTOR_ID => {
                let request = functions::ReqDhParams::deserialize(&mut input).ok();
                let opened = request.and_then(|request| {
                    self.server_nonce = request.server_nonce;
                    RsaKey::new().open(&request.encrypted_data)
                });
                let inner = opened.and_then(|opened| enums::PQInnerData::from_bytes(&opened).ok());
                if let Some(enums::PQInnerData::Dc(inner)) = inner {
                    self.new_nonce = inner.new_nonce;
                }
            }
            functions::SetClientDhParams::CONSTRUCTOR_ID => {
                if let Ok(request) = functions::SetClientDhParams::deserialize(&mut input) {
                    self.learn_key(request.encrypted_data);
                }
            }
            _ => {}
        }
    }

    fn learn_key(&mut self, mut data: Vec<u8>) {
        if !data.len().is_multiple_of(16) {
            return;
        }
        let (key, iv) = crate::exchange::temporary_key(&self.new_nonce, &self.server_nonce);
        ige_decrypt(&mut data, &key, &iv);
        let inner = data.get(20..).map(enums::ClientDhInnerData::from_bytes);
        if let Some(Ok(enums::ClientDhInnerData::Data(inner))) = inner {
            let shared = BigUint::from_bytes_be(&inner.g_b).modpow(&BigUint::from(SECRET), &prime());
            self.auth_key = Some(Box::new(padded(&shared)));
        }
    }

    /// Puts the nonces where an answer has them, seals what is to be sealed, and proves the key where [`HASH`] stands.
    #[must_use]
    pub fn put_into(&self, object: &[u8]) -> Vec<u8> {
        let mut object = object.to_vec();
        let is_first = object.starts_with(&types::ResPq::CONSTRUCTOR_ID.to_le_bytes());
        if let Some(nonce) = object.get_mut(4..20) {
            nonce.copy_from_slice(&self.nonce);
        }
        if let Some(nonce) = object.get_mut(20..36).filter(|_| !is_first) {
            nonce.copy_from_slice(&self.server_nonce);
        }
        if let Some(hash) = object.get_mut(36..52).filter(|hash| **hash == HASH) {
            hash.copy_from_slice(&self.proof());
        }
        if object.starts_with(&types::ServerDhInnerData::CONSTRUCTOR_ID.to_le_bytes()) {
            object = self.sealed(&object);
        }
        object
    }

    fn proof(&self) -> [u8; 16] {
        let key: &[u8] = self.auth_key.as_ref().map_or(&[], |key| &key[..]);
        let aux = Sha1::digest(key);
        let hash: [u8; 20] = Sha1::new()
            .chain_update(self.new_nonce)
            .chain_update([1])
            .chain_update(&aux[..8])
            .finalize()
            .into();
        *hash.last_chunk().expect("20 bytes")
    }

    fn sealed(&self, inner: &[u8]) -> Vec<u8> {
        let mut data = Sha1::digest(inner).to_vec();
        data.extend_from_slice(inner);
        data.resize(data.len().next_multiple_of(16), 0);
        let (key, iv) = crate::exchange::temporary_key(&self.new_nonce, &self.server_nonce);
        ige_encrypt(&mut data, &key, &iv);
        let params = types::ServerDhParamsOk {
            nonce: self.nonce,
            server_nonce: self.server_nonce,
            encrypted_answer: data,
        };
        enums::ServerDhParams::Ok(params).to_bytes()
    }
}
