//! The key exchange: three requests and answers in plain text, after which client and server share a key.
//!
//! Read <https://core.telegram.org/mtproto/auth_key> first. Bytes in, bytes out: no socket, no clock, no randomness of its own. Not
//! taken from the grammers crates, because test servers have other keys, and because the server is not authenticated yet: each
//! length, nonce, hash and range is checked, and the first wrong one is an error.
//!
//! Calling order: [`KeyExchange::new`] gives the first message; each answer goes to [`KeyExchange::handle_message`], which gives
//! the next message or the key.

use crate::dh_group::{DH_PRIME, GENERATORS, in_range};
use crate::factor::factor;
use crate::rsa::{MODULUS_LEN, PublicKey, to_bytes};
use grammers_crypto::aes::{ige_decrypt, ige_encrypt};
use grammers_crypto::{AuthKey, generate_key_data_from_nonce};
use grammers_tl_types::{
    Cursor, Deserializable, Identifiable as _, Serializable as _, enums, functions, types,
};
use num_bigint::BigUint;
use sha1::{Digest as _, Sha1};
use std::fmt;

/// Upper bound of a message in bytes. The longest has some 700.
const MAX_BYTES: usize = 2048;
/// Upper bound of `dh_gen_retry` answers.
const MAX_RETRIES: u8 = 3;

/// The result of an exchange.
#[derive(Clone, PartialEq, Eq)]
pub struct NewAuthKey {
    /// The authorization key.
    pub auth_key: [u8; 256],
    /// The first salt.
    pub salt: i64,
    /// The server's clock, in Unix seconds, when it answered the second question.
    pub server_time: i32,
}

impl fmt::Debug for NewAuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewAuthKey(…)")
    }
}

/// The next step of the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this message and wait for the answer.
    Send(Vec<u8>),
    /// The exchange is complete.
    Done(Box<NewAuthKey>),
}

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExchangeError {
    /// The message is truncated, too long, or of another type.
    Malformed,
    /// A nonce is not that of this exchange.
    Nonce,
    /// The server offers none of the known public keys.
    NoKnownKey,
    /// The number is not the product of two primes.
    Factors,
    /// The server refused the exchange.
    Refused,
    /// The hash of the server's encrypted data is wrong.
    Hash,
    /// The prime, or its generator, is not the known one.
    Group,
    /// A public value lies outside its range.
    Range,
    /// The server has computed another key.
    KeyHash,
    /// The server rejected too many public values.
    Retries,
}

impl fmt::Display for KeyExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "key exchange: a malformed message",
            Self::Nonce => "key exchange: a foreign nonce",
            Self::NoKnownKey => "key exchange: none of the server's public keys is known",
            Self::Factors => "key exchange: the number is not the product of two primes",
            Self::Refused => "key exchange: refused by the server",
            Self::Hash => "key exchange: a wrong hash",
            Self::Group => "key exchange: not the known group",
            Self::Range => "key exchange: a public value out of range",
            Self::KeyHash => "key exchange: the server has another key",
            Self::Retries => "key exchange: the server rejected all public values",
        })
    }
}

impl std::error::Error for KeyExchangeError {}

/// A key exchange.
pub struct KeyExchange {
    dc: i32,
    nonce: [u8; 16],
    last_msg_id: i64,
    state: State,
}

enum State {
    /// Waiting for `resPQ`.
    ReqPq,
    /// Waiting for `server_DH_params`.
    ReqDhParams {
        server_nonce: [u8; 16],
        new_nonce: [u8; 32],
    },
    /// Waiting for `dh_gen_ok`.
    SetClientDhParams(Box<Computed>),
    /// Complete or failed.
    Over,
}

/// The server's side of the exchange.
struct ServerParams {
    server_nonce: [u8; 16],
    new_nonce: [u8; 32],
    g: i32,
    g_a: BigUint,
    server_time: i32,
}

/// The key as this side has computed it.
struct Computed {
    server: ServerParams,
    auth_key: AuthKey,
    retries: u8,
}

impl KeyExchange {
    /// An exchange with data centre `dc` (negative for media), and its first message.
    #[must_use]
    pub fn new(dc: i32, unix_now: u32, random: &mut dyn FnMut(&mut [u8])) -> (KeyExchange, Vec<u8>) {
        let mut nonce = [0; 16];
        random(&mut nonce);
        let mut exchange = KeyExchange {
            dc,
            nonce,
            last_msg_id: 0,
            state: State::ReqPq,
        };
        let first = exchange.wrap(&functions::ReqPqMulti { nonce }.to_bytes(), unix_now);
        (exchange, first)
    }

    /// Handles the server's answer. `keys` are the public keys that the server may have.
    ///
    /// # Errors
    /// The answer is wrong. The exchange has failed.
    pub fn handle_message(
        &mut self,
        message: &[u8],
        keys: &[PublicKey],
        unix_now: u32,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Step, KeyExchangeError> {
        let body = unwrap(message).ok_or(KeyExchangeError::Malformed)?;
        match std::mem::replace(&mut self.state, State::Over) {
            State::ReqPq => {
                let request = self.req_dh_params(&whole(body)?, keys, random)?;
                Ok(Step::Send(self.wrap(&request, unix_now)))
            }
            State::ReqDhParams {
                server_nonce,
                new_nonce,
            } => {
                let request = self.set_client_dh_params(&whole(body)?, server_nonce, new_nonce, random)?;
                Ok(Step::Send(self.wrap(&request, unix_now)))
            }
            State::SetClientDhParams(computed) => match self.conclude(&whole(body)?, *computed, random)? {
                Step::Send(request) => Ok(Step::Send(self.wrap(&request, unix_now))),
                done @ Step::Done(_) => Ok(done),
            },
            State::Over => Err(KeyExchangeError::Malformed),
        }
    }

    /// Factors `pq`, and encrypts a new nonce for the server's public key.
    fn req_dh_params(
        &mut self,
        answer: &enums::ResPq,
        keys: &[PublicKey],
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Vec<u8>, KeyExchangeError> {
        let enums::ResPq::Pq(answer) = answer;
        if answer.nonce != self.nonce {
            return Err(KeyExchangeError::Nonce);
        }
        let offered = &answer.server_public_key_fingerprints;
        let known = |key: &&PublicKey| offered.contains(&key.fingerprint());
        let key = keys.iter().find(known).ok_or(KeyExchangeError::NoKnownKey)?;
        if answer.pq.len() > 8 {
            return Err(KeyExchangeError::Factors);
        }
        let pq = answer.pq.iter().fold(0, |pq, byte| pq << 8 | u64::from(*byte));
        let (p, q) = factor(pq).ok_or(KeyExchangeError::Factors)?;
        let (p, q) = (shortest(p), shortest(q));
        let mut new_nonce = [0; 32];
        random(&mut new_nonce);
        let inner = enums::PQInnerData::Dc(types::PQInnerDataDc {
            pq: answer.pq.clone(),
            p: p.clone(),
            q: q.clone(),
            nonce: self.nonce,
            server_nonce: answer.server_nonce,
            new_nonce,
            dc: self.dc,
        });
        let sealed = key
            .seal(&inner.to_bytes(), random)
            .ok_or(KeyExchangeError::Malformed)?;
        self.state = State::ReqDhParams {
            server_nonce: answer.server_nonce,
            new_nonce,
        };
        let request = functions::ReqDhParams {
            nonce: self.nonce,
            server_nonce: answer.server_nonce,
            p,
            q,
            public_key_fingerprint: key.fingerprint(),
            encrypted_data: sealed.to_vec(),
        };
        Ok(request.to_bytes())
    }

    /// Decrypts the server's public value, and answers with ours.
    fn set_client_dh_params(
        &mut self,
        answer: &enums::ServerDhParams,
        server_nonce: [u8; 16],
        new_nonce: [u8; 32],
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Vec<u8>, KeyExchangeError> {
        let answer = match answer {
            enums::ServerDhParams::Ok(answer) => answer,
            enums::ServerDhParams::Fail(fail) => {
                self.check_nonces(fail.nonce, fail.server_nonce, server_nonce)?;
                return Err(KeyExchangeError::Refused);
            }
        };
        self.check_nonces(answer.nonce, answer.server_nonce, server_nonce)?;
        let (key, iv) = generate_key_data_from_nonce(&server_nonce, &new_nonce);
        let mut opened = answer.encrypted_answer.clone();
        if opened.is_empty() || !opened.len().is_multiple_of(16) {
            return Err(KeyExchangeError::Malformed);
        }
        ige_decrypt(&mut opened, &key, &iv);
        let inner = open_hashed(&opened)?;
        self.check_nonces(inner.nonce, inner.server_nonce, server_nonce)?;
        if inner.dh_prime != DH_PRIME || !GENERATORS.contains(&inner.g) {
            return Err(KeyExchangeError::Group);
        }
        let g_a = BigUint::from_bytes_be(&inner.g_a);
        if inner.g_a.len() > MODULUS_LEN || !in_range(&g_a) {
            return Err(KeyExchangeError::Range);
        }
        let server = ServerParams {
            server_nonce,
            new_nonce,
            g: inner.g,
            g_a,
            server_time: inner.server_time,
        };
        self.send_public(server, 0, 0, random)
    }

    /// Draws our secret number, and builds the request with its public value.
    fn send_public(
        &mut self,
        server: ServerParams,
        retries: u8,
        retry_id: i64,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Vec<u8>, KeyExchangeError> {
        let prime = BigUint::from_bytes_be(&DH_PRIME);
        let (b, g_b) = loop {
            let mut bytes = [0; MODULUS_LEN];
            random(&mut bytes);
            let b = BigUint::from_bytes_be(&bytes);
            let g_b = BigUint::from(server.g as u32).modpow(&b, &prime);
            if in_range(&g_b) {
                break (b, g_b);
            }
        };
        let auth_key = AuthKey::from_bytes(to_bytes(&server.g_a.modpow(&b, &prime)));
        let inner = enums::ClientDhInnerData::Data(types::ClientDhInnerData {
            nonce: self.nonce,
            server_nonce: server.server_nonce,
            retry_id,
            g_b: to_bytes(&g_b).to_vec(),
        })
        .to_bytes();
        let mut sealed = Vec::with_capacity(inner.len() + 36);
        sealed.extend(Sha1::digest(&inner));
        sealed.extend(&inner);
        let mut padding = [0; 15];
        random(&mut padding);
        sealed.extend(&padding[..sealed.len().wrapping_neg() % 16]);
        let (key, iv) = generate_key_data_from_nonce(&server.server_nonce, &server.new_nonce);
        ige_encrypt(&mut sealed, &key, &iv);
        let request = functions::SetClientDhParams {
            nonce: self.nonce,
            server_nonce: server.server_nonce,
            encrypted_data: sealed,
        };
        self.state = State::SetClientDhParams(Box::new(Computed {
            server,
            auth_key,
            retries,
        }));
        Ok(request.to_bytes())
    }

    /// Checks that the server has computed the same key.
    fn conclude(
        &mut self,
        answer: &enums::SetClientDhParamsAnswer,
        computed: Computed,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Step, KeyExchangeError> {
        use enums::SetClientDhParamsAnswer as Answer;
        let (nonce, server_nonce, hash, number) = match answer {
            Answer::DhGenOk(ok) => (ok.nonce, ok.server_nonce, ok.new_nonce_hash1, 1),
            Answer::DhGenRetry(retry) => (retry.nonce, retry.server_nonce, retry.new_nonce_hash2, 2),
            Answer::DhGenFail(fail) => (fail.nonce, fail.server_nonce, fail.new_nonce_hash3, 3),
        };
        self.check_nonces(nonce, server_nonce, computed.server.server_nonce)?;
        if computed
            .auth_key
            .calc_new_nonce_hash(&computed.server.new_nonce, number)
            != hash
        {
            return Err(KeyExchangeError::KeyHash);
        }
        let auth_key = computed.auth_key.to_bytes();
        match number {
            1 => {
                let first = |nonce: &[u8]| nonce.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
                Ok(Step::Done(Box::new(NewAuthKey {
                    auth_key,
                    salt: first(&computed.server.new_nonce) ^ first(&computed.server.server_nonce),
                    server_time: computed.server.server_time,
                })))
            }
            2 if computed.retries < MAX_RETRIES => {
                // The server has another key with this hash already.
                let hash: [u8; 20] = Sha1::digest(auth_key).into();
                let retry_id = hash.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
                self.send_public(computed.server, computed.retries + 1, retry_id, random)
                    .map(Step::Send)
            }
            2 => Err(KeyExchangeError::Retries),
            _ => Err(KeyExchangeError::Refused),
        }
    }

    fn check_nonces(
        &self,
        nonce: [u8; 16],
        server_nonce: [u8; 16],
        expected: [u8; 16],
    ) -> Result<(), KeyExchangeError> {
        if nonce != self.nonce || server_nonce != expected {
            return Err(KeyExchangeError::Nonce);
        }
        Ok(())
    }

    /// A plain-text message: key id 0, a message id by the clock, the length.
    fn wrap(&mut self, body: &[u8], unix_now: u32) -> Vec<u8> {
        let msg_id = (i64::from(unix_now) << 32).max(self.last_msg_id.saturating_add(4));
        self.last_msg_id = msg_id;
        let mut message = Vec::with_capacity(20 + body.len());
        message.extend([0; 8]);
        message.extend(msg_id.to_le_bytes());
        message.extend((body.len() as u32).to_le_bytes());
        message.extend(body);
        message
    }
}

/// The body of a plain-text message. Padding of the transport may follow it.
fn unwrap(message: &[u8]) -> Option<&[u8]> {
    if message.len() > MAX_BYTES {
        return None;
    }
    let (key, rest) = message.split_first_chunk::<8>()?;
    let (_msg_id, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk()?;
    let body = rest.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    (*key == [0; 8] && !body.is_empty()).then_some(body)
}

/// The object that these bytes are, without a rest.
fn whole<T: Deserializable>(body: &[u8]) -> Result<T, KeyExchangeError> {
    let mut cursor = Cursor::from_slice(body);
    let object = T::deserialize(&mut cursor).map_err(|_| KeyExchangeError::Malformed)?;
    if cursor.pos() != body.len() {
        return Err(KeyExchangeError::Malformed);
    }
    Ok(object)
}

/// The server's data behind its SHA-1, with up to 15 bytes of padding.
fn open_hashed(opened: &[u8]) -> Result<types::ServerDhInnerData, KeyExchangeError> {
    let (hash, data) = opened
        .split_first_chunk::<20>()
        .ok_or(KeyExchangeError::Malformed)?;
    // Wrongly decrypted bytes are no such object: reported as a wrong hash.
    let id = data.first_chunk().map(|id| u32::from_le_bytes(*id));
    if id != Some(types::ServerDhInnerData::CONSTRUCTOR_ID) {
        return Err(KeyExchangeError::Hash);
    }
    let mut cursor = Cursor::from_slice(data);
    let enums::ServerDhInnerData::Data(inner) =
        enums::ServerDhInnerData::deserialize(&mut cursor).map_err(|_| KeyExchangeError::Malformed)?;
    let (object, padding) = data.split_at(cursor.pos());
    if padding.len() > 15 {
        return Err(KeyExchangeError::Malformed);
    }
    if Sha1::digest(object)[..] != hash[..] {
        return Err(KeyExchangeError::Hash);
    }
    Ok(inner)
}

/// A number without leading zeros.
fn shortest(number: u32) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests;
