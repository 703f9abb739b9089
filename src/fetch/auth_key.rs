//! The key exchange: three questions and answers in the clear, and both sides have a key that nobody else has.
//!
//! Read <https://core.telegram.org/mtproto/auth_key> first. Bytes in, bytes out: no socket, no clock, no randomness of its own.
//! It is ours because the keys of test servers must be possible, and because everything in it comes from somebody who has not
//! shown yet who he is: each length, nonce, hash and range is checked, and what does not hold is an error at once.
//!
//! Calling order: [`KeyExchange::new`] gives the first message; whatever arrives goes to [`KeyExchange::handle_message`], which
//! gives the next one or the key.

use crate::factor::factor;
use crate::rsa::{MODULUS_LEN, PublicKey, hex, to_bytes};
use grammers_crypto::aes::{ige_decrypt, ige_encrypt};
use grammers_crypto::{AuthKey, generate_key_data_from_nonce};
use grammers_tl_types::{
    Cursor, Deserializable, Identifiable as _, Serializable as _, enums, functions, types,
};
use num_bigint::BigUint;
use sha1::{Digest as _, Sha1};
use std::fmt;

/// The prime of every exchange since 2013. It is safe, which would take minutes to show on a router: hence no other is taken.
pub const DH_PRIME: [u8; MODULUS_LEN] = hex(
    b"c71caeb9c6b1c9048e6c522f70f13f73980d40238e3e21c14934d037563d930f48198a0aa7c14058229493d22530f4db\
      fa336f6e0ac925139543aed44cce7c3720fd51f69458705ac68cd4fe6b6b13abdc9746512969328454f18faf8c595f64\
      2477fe96bb2a941d5bcd1d4ac8cc49880708fa9b378e3c4f3a9060bee67cf9a4a4a695811051907e162753b56b0f6b41\
      0dba74d8a84b2a14b3144e0ef1284754fd17ed950d5965b4b9dd46582db1178d169c6bc465b0d6ff9ca3928fef5b9ae4\
      e418fc15e83ebea0f87fa9ff5eed70050ded2849f47bf959d956850ce929851f0d8115f635b105ee2e4e15d04b2454bf\
      6f4fadf034b10403119cd8e3b92fcc5b",
);
/// The numbers below 8 that generate the subgroup of prime order of [`DH_PRIME`], by quadratic reciprocity.
pub const GENERATORS: [i32; 3] = [3, 4, 7];
/// Public values keep this many bits away from both ends of the range.
const MARGIN_BITS: u32 = 2048 - 64;
/// No message of an exchange is longer; the longest has some 700 bytes.
const MAX_BYTES: usize = 2048;
/// So often may the server ask for another value of ours.
const MAX_RETRIES: u8 = 3;

/// What both sides know in the end.
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

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this, and wait for the answer.
    Send(Vec<u8>),
    /// It is over.
    Done(Box<NewAuthKey>),
}

/// What does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExchangeError {
    /// The message is cut short, too long, or something else than what was asked for.
    Malformed,
    /// A nonce is not the one that this exchange has.
    Nonce,
    /// The server has none of our public keys.
    NoKnownKey,
    /// The number is not the product of two primes.
    Factors,
    /// The server refuses the question that only the right client can ask.
    Refused,
    /// What the server sealed does not have its hash.
    Hash,
    /// The prime, or its generator, is not the known one.
    Group,
    /// A public value lies outside its range.
    Range,
    /// The server does not have the key that we have.
    KeyHash,
    /// The server asks for yet another value.
    Retries,
}

impl fmt::Display for KeyExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "key exchange: a malformed message",
            Self::Nonce => "key exchange: a foreign nonce",
            Self::NoKnownKey => "key exchange: none of the server's public keys is known",
            Self::Factors => "key exchange: the number has not two prime factors",
            Self::Refused => "key exchange: refused by the server",
            Self::Hash => "key exchange: a wrong hash",
            Self::Group => "key exchange: not the known prime and a generator of it",
            Self::Range => "key exchange: a public value out of range",
            Self::KeyHash => "key exchange: the server has another key",
            Self::Retries => "key exchange: the server takes no value of ours",
        })
    }
}

impl std::error::Error for KeyExchangeError {}

/// One exchange.
pub struct KeyExchange {
    dc: i32,
    nonce: [u8; 16],
    last_msg_id: i64,
    state: State,
}

enum State {
    /// The server's number and keys are awaited.
    Asked,
    /// The sealed public value is awaited.
    Proved {
        server_nonce: [u8; 16],
        new_nonce: [u8; 32],
    },
    /// The last word is awaited.
    Answered(Box<Answered>),
    Over,
}

struct Answered {
    server_nonce: [u8; 16],
    new_nonce: [u8; 32],
    group: Group,
    auth_key: AuthKey,
    server_time: i32,
    retries: u8,
}

/// The server's half.
#[derive(Clone)]
struct Group {
    g: i32,
    g_a: BigUint,
}

impl KeyExchange {
    /// An exchange with the data centre that has this signed number, and its first message.
    #[must_use]
    pub fn new(dc: i32, unix_now: u32, random: &mut dyn FnMut(&mut [u8])) -> (KeyExchange, Vec<u8>) {
        let mut nonce = [0; 16];
        random(&mut nonce);
        let mut exchange = KeyExchange {
            dc,
            nonce,
            last_msg_id: 0,
            state: State::Asked,
        };
        let first = exchange.wrap(&functions::ReqPqMulti { nonce }.to_bytes(), unix_now);
        (exchange, first)
    }

    /// Takes in the server's answer. `keys` are the public keys that may be the server's.
    ///
    /// # Errors
    /// It does not hold. The exchange is over then.
    pub fn handle_message(
        &mut self,
        message: &[u8],
        keys: &[PublicKey],
        unix_now: u32,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Step, KeyExchangeError> {
        let body = unwrap(message).ok_or(KeyExchangeError::Malformed)?;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asked => {
                let request = self.prove(&whole(body)?, keys, random)?;
                Ok(Step::Send(self.wrap(&request, unix_now)))
            }
            State::Proved {
                server_nonce,
                new_nonce,
            } => {
                let request = self.answer(&whole(body)?, server_nonce, new_nonce, random)?;
                Ok(Step::Send(self.wrap(&request, unix_now)))
            }
            State::Answered(answered) => match self.conclude(&whole(body)?, *answered, random)? {
                Step::Send(request) => Ok(Step::Send(self.wrap(&request, unix_now))),
                done @ Step::Done(_) => Ok(done),
            },
            State::Over => Err(KeyExchangeError::Malformed),
        }
    }

    /// Shows the server that we can factor, and sends it a nonce that only it can read.
    fn prove(
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
        self.state = State::Proved {
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

    /// Opens the server's public value and sends ours.
    fn answer(
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
        self.send_public(
            server_nonce,
            new_nonce,
            Group { g: inner.g, g_a },
            inner.server_time,
            0,
            0,
            random,
        )
    }

    /// Draws our secret, and makes the question that carries its public value.
    #[expect(clippy::too_many_arguments, reason = "they are the state that comes next")]
    fn send_public(
        &mut self,
        server_nonce: [u8; 16],
        new_nonce: [u8; 32],
        group: Group,
        server_time: i32,
        retries: u8,
        retry_id: i64,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Vec<u8>, KeyExchangeError> {
        let prime = BigUint::from_bytes_be(&DH_PRIME);
        let (b, g_b) = loop {
            let mut bytes = [0; MODULUS_LEN];
            random(&mut bytes);
            let b = BigUint::from_bytes_be(&bytes);
            let g_b = BigUint::from(group.g as u32).modpow(&b, &prime);
            if in_range(&g_b) {
                break (b, g_b);
            }
        };
        let auth_key = AuthKey::from_bytes(to_bytes(&group.g_a.modpow(&b, &prime)));
        let inner = enums::ClientDhInnerData::Data(types::ClientDhInnerData {
            nonce: self.nonce,
            server_nonce,
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
        let (key, iv) = generate_key_data_from_nonce(&server_nonce, &new_nonce);
        ige_encrypt(&mut sealed, &key, &iv);
        self.state = State::Answered(Box::new(Answered {
            server_nonce,
            new_nonce,
            group,
            auth_key,
            server_time,
            retries,
        }));
        let request = functions::SetClientDhParams {
            nonce: self.nonce,
            server_nonce,
            encrypted_data: sealed,
        };
        Ok(request.to_bytes())
    }

    /// Checks that the server has our key.
    fn conclude(
        &mut self,
        answer: &enums::SetClientDhParamsAnswer,
        answered: Answered,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Step, KeyExchangeError> {
        use enums::SetClientDhParamsAnswer as Answer;
        let (nonce, server_nonce, hash, number) = match answer {
            Answer::DhGenOk(ok) => (ok.nonce, ok.server_nonce, ok.new_nonce_hash1, 1),
            Answer::DhGenRetry(retry) => (retry.nonce, retry.server_nonce, retry.new_nonce_hash2, 2),
            Answer::DhGenFail(fail) => (fail.nonce, fail.server_nonce, fail.new_nonce_hash3, 3),
        };
        self.check_nonces(nonce, server_nonce, answered.server_nonce)?;
        if answered.auth_key.calc_new_nonce_hash(&answered.new_nonce, number) != hash {
            return Err(KeyExchangeError::KeyHash);
        }
        let auth_key = answered.auth_key.to_bytes();
        match number {
            1 => {
                let first = |nonce: &[u8]| nonce.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
                Ok(Step::Done(Box::new(NewAuthKey {
                    auth_key,
                    salt: first(&answered.new_nonce) ^ first(&answered.server_nonce),
                    server_time: answered.server_time,
                })))
            }
            2 if answered.retries < MAX_RETRIES => {
                // The server has a key with this hash already.
                let hash: [u8; 20] = Sha1::digest(auth_key).into();
                let retry_id = hash.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
                let retries = answered.retries + 1;
                let (server_nonce, new_nonce) = (answered.server_nonce, answered.new_nonce);
                let (group, time) = (answered.group, answered.server_time);
                self.send_public(server_nonce, new_nonce, group, time, retries, retry_id, random)
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

    /// A message in the clear: no key, a number by the clock, a length.
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

/// The body of a message in the clear. Behind it there may be what a transport adds.
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

/// The one object that fills these bytes.
fn whole<T: Deserializable>(body: &[u8]) -> Result<T, KeyExchangeError> {
    let mut cursor = Cursor::from_slice(body);
    let object = T::deserialize(&mut cursor).map_err(|_| KeyExchangeError::Malformed)?;
    if cursor.pos() != body.len() {
        return Err(KeyExchangeError::Malformed);
    }
    Ok(object)
}

/// What is sealed with its hash before it and up to 15 bytes of padding behind it.
fn open_hashed(opened: &[u8]) -> Result<types::ServerDhInnerData, KeyExchangeError> {
    let (hash, data) = opened
        .split_first_chunk::<20>()
        .ok_or(KeyExchangeError::Malformed)?;
    // Wrongly deciphered bytes are no object either: the hash is what is wrong with them.
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

/// Whether a public value says nothing of its secret by its size alone.
pub(crate) fn in_range(value: &BigUint) -> bool {
    let prime = BigUint::from_bytes_be(&DH_PRIME);
    let margin = BigUint::from(1_u8) << MARGIN_BITS;
    *value >= margin && *value <= prime - margin
}

/// A number without leading zeros.
fn shortest(number: u32) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests;
