//! The server's side of the key exchange, honest or not.
//!
//! Read <https://core.telegram.org/mtproto/auth_key> first. One value per connection; a client may start again at any time.

use crate::crypt::AuthKey;
use crate::faults::Hostile;
use crate::rsa::{RsaKey, padded};
use grammers_crypto::aes::{ige_decrypt, ige_encrypt};
use grammers_tl_types::{
    Cursor, Deserializable, Identifiable as _, Serializable as _, enums, functions, types,
};
use mtrelay_test_support::rng::Rng;
use num_bigint::BigUint;
use sha1::{Digest as _, Sha1};

/// The prime that Telegram's servers have used since 2013.
const DH_PRIME: &str = "c71caeb9c6b1c9048e6c522f70f13f73980d40238e3e21c14934d037563d930f48198a0aa7c14058229493d22530f4dbfa336f6e\
     0ac925139543aed44cce7c3720fd51f69458705ac68cd4fe6b6b13abdc9746512969328454f18faf8c595f642477fe96bb2a941d5bcd1d4ac8cc498807\
     08fa9b378e3c4f3a9060bee67cf9a4a4a695811051907e162753b56b0f6b410dba74d8a84b2a14b3144e0ef1284754fd17ed950d5965b4b9dd46582db1\
     178d169c6bc465b0d6ff9ca3928fef5b9ae4e418fc15e83ebea0f87fa9ff5eed70050ded2849f47bf959d956850ce929851f0d8115f635b105ee2e4e15\
     d04b2454bf6f4fadf034b10403119cd8e3b92fcc5b";
const GENERATOR: i32 = 3;
/// 2^61 − 1: no two factors.
const PRIME_PQ: u64 = (1 << 61) - 1;

/// What an answer leads to.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The object to be sent, if any.
    pub(crate) object: Option<Vec<u8>>,
    /// With the last answer: the key and its first salt.
    pub(crate) key: Option<(Box<AuthKey>, i64)>,
}

/// One exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    nonce: [u8; 16],
    server_nonce: [u8; 16],
    pq: (u64, u64),
    new_nonce: [u8; 32],
    secret: BigUint,
    prime: BigUint,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Asked,
    Sealed,
}

impl Exchange {
    pub(crate) fn new(rng: &mut Rng) -> Exchange {
        Exchange {
            nonce: [0; 16],
            server_nonce: rng.array(),
            pq: (0, 0),
            new_nonce: [0; 32],
            secret: BigUint::from_bytes_be(&rng.array::<256>()),
            prime: prime(),
            stage: Stage::Start,
        }
    }

    /// Takes the object of a plain message. The error says which rule it breaks.
    pub(crate) fn handle(
        &mut self,
        object: &[u8],
        keys: &RsaKey,
        dc: i32,
        now: i32,
        hostile: Option<Hostile>,
        rng: &mut Rng,
    ) -> Result<Answer, String> {
        let mut input = Cursor::from_slice(object);
        let id = u32::deserialize(&mut input).map_err(|_| "an empty message")?;
        let cut = |_| format!("the message {id:08x} of the exchange is cut short");
        let object = match id {
            functions::ReqPqMulti::CONSTRUCTOR_ID => {
                let request = functions::ReqPqMulti::deserialize(&mut input).map_err(cut)?;
                self.res_pq(request.nonce, keys, hostile, rng)
            }
            functions::ReqPq::CONSTRUCTOR_ID => {
                let request = functions::ReqPq::deserialize(&mut input).map_err(cut)?;
                self.res_pq(request.nonce, keys, hostile, rng)
            }
            functions::ReqDhParams::CONSTRUCTOR_ID => {
                let request = functions::ReqDhParams::deserialize(&mut input).map_err(cut)?;
                self.dh_params(&request, keys, dc, now, hostile, rng)?
            }
            functions::SetClientDhParams::CONSTRUCTOR_ID => {
                let request = functions::SetClientDhParams::deserialize(&mut input).map_err(cut)?;
                return self.finish(&request, hostile);
            }
            types::MsgsAck::CONSTRUCTOR_ID => None,
            _ => return Err(format!("{id:08x} is no message of the exchange")),
        };
        Ok(Answer { object, key: None })
    }

    fn res_pq(
        &mut self,
        nonce: [u8; 16],
        keys: &RsaKey,
        hostile: Option<Hostile>,
        rng: &mut Rng,
    ) -> Option<Vec<u8>> {
        self.nonce = nonce;
        self.stage = Stage::Asked;
        let (p, q) = two_primes(rng);
        self.pq = (p, q);
        let mut answer = types::ResPq {
            nonce,
            server_nonce: self.server_nonce,
            pq: (p * q).to_be_bytes().to_vec(),
            server_public_key_fingerprints: vec![0x1234, keys.fingerprint()],
        };
        match hostile {
            Some(Hostile::PrimePq) => answer.pq = PRIME_PQ.to_be_bytes().to_vec(),
            Some(Hostile::ZeroPq) => answer.pq = vec![0; 8],
            Some(Hostile::OnePq) => answer.pq = vec![1],
            Some(Hostile::EmptyPq) => answer.pq = Vec::new(),
            Some(Hostile::LongPq) => answer.pq = vec![0xff; 64],
            Some(Hostile::OtherNonce) => answer.nonce[0] ^= 1,
            Some(Hostile::UnknownKey) => answer.server_public_key_fingerprints = vec![1, 2, 3],
            Some(Hostile::NoKey) => answer.server_public_key_fingerprints.clear(),
            Some(Hostile::Silence) => return None,
            _ => {}
        }
        let mut bytes = enums::ResPq::Pq(answer).to_bytes();
        match hostile {
            Some(Hostile::ShortPq) => bytes.truncate(24),
            Some(Hostile::EmptyAnswer) => bytes.clear(),
            // A vector that says to have four billion numbers.
            Some(Hostile::HugeVector) => {
                let at = bytes.len() - 20;
                bytes[at..at + 4].fill(0xff);
            }
            Some(Hostile::OtherAnswer) => bytes[..4].copy_from_slice(&[0x15, 0xc4, 0xb5, 0x1c]),
            _ => {}
        }
        Some(bytes)
    }

    fn dh_params(
        &mut self,
        request: &functions::ReqDhParams,
        keys: &RsaKey,
        dc: i32,
        now: i32,
        hostile: Option<Hostile>,
        rng: &mut Rng,
    ) -> Result<Option<Vec<u8>>, String> {
        self.check_nonces(&request.nonce, &request.server_nonce, Stage::Asked)?;
        if request.public_key_fingerprint != keys.fingerprint() {
            return Err("another key than ours".into());
        }
        let opened = keys
            .open(&request.encrypted_data)
            .ok_or("what should be sealed for us cannot be opened")?;
        let inner = enums::PQInnerData::from_bytes(&opened).map_err(|_| "no p_q_inner_data")?;
        let (pq, p, q, nonce, server_nonce, new_nonce, asked_dc) = match inner {
            enums::PQInnerData::Dc(data) => (
                data.pq,
                data.p,
                data.q,
                data.nonce,
                data.server_nonce,
                data.new_nonce,
                data.dc,
            ),
            _ => return Err("not p_q_inner_data_dc".into()),
        };
        if (nonce, server_nonce) != (self.nonce, self.server_nonce) {
            return Err("another nonce inside than outside".into());
        }
        if asked_dc.abs() % 10_000 != dc {
            return Err(format!("asked for DC {asked_dc} at DC {dc}"));
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let (low, high) = (self.pq.0.min(self.pq.1), self.pq.0.max(self.pq.1));
        let said = (number(&p), number(&q));
        if hostile.is_none() && (said != (low, high) || number(&pq) != low * high) {
            return Err(format!("p and q are {said:?}, not {low} and {high}"));
        }
        if (request.p.as_slice(), request.q.as_slice()) != (p.as_slice(), q.as_slice()) {
            return Err("other factors outside than inside".into());
        }
        self.new_nonce = new_nonce;
        self.stage = Stage::Sealed;
        if hostile == Some(Hostile::DhFail) {
            let hash: [u8; 20] = Sha1::digest(new_nonce).into();
            let fail = types::ServerDhParamsFail {
                nonce: self.nonce,
                server_nonce: self.server_nonce,
                new_nonce_hash: *hash.last_chunk().expect("20 bytes"),
            };
            return Ok(Some(enums::ServerDhParams::Fail(fail).to_bytes()));
        }
        Ok(Some(self.sealed_params(now, hostile, rng)))
    }

    fn sealed_params(&mut self, now: i32, hostile: Option<Hostile>, rng: &mut Rng) -> Vec<u8> {
        let public = BigUint::from(GENERATOR as u32).modpow(&self.secret, &self.prime);
        let mut inner = types::ServerDhInnerData {
            nonce: self.nonce,
            server_nonce: self.server_nonce,
            g: GENERATOR,
            dh_prime: self.prime.to_bytes_be(),
            g_a: padded::<256>(&public).to_vec(),
            server_time: now,
        };
        match hostile {
            Some(Hostile::OtherPrime) => inner.dh_prime[255] ^= 2,
            Some(Hostile::ShortPrime) => inner.dh_prime = vec![23],
            Some(Hostile::EmptyPrime) => inner.dh_prime.clear(),
            Some(Hostile::OtherGenerator) => inner.g = 1,
            Some(Hostile::GaIsOne) => inner.g_a = vec![1],
            Some(Hostile::GaIsZero) => inner.g_a = Vec::new(),
            Some(Hostile::GaIsPrimeMinusOne) => inner.g_a = (&self.prime - 1_u32).to_bytes_be(),
            Some(Hostile::OtherInnerNonce) => inner.nonce[3] ^= 1,
            _ => {}
        }
        let answer = enums::ServerDhInnerData::Data(inner).to_bytes();
        let mut data = Sha1::digest(&answer).to_vec();
        data.extend(answer);
        let padding = (16 - data.len() % 16) % 16;
        data.extend(rng.bytes(padding));
        if hostile == Some(Hostile::OtherHash) {
            data[0] ^= 1;
        }
        if hostile == Some(Hostile::ShortParams) {
            data.truncate(16);
        }
        let (key, iv) = temporary_key(&self.new_nonce, &self.server_nonce);
        ige_encrypt(&mut data, &key, &iv);
        match hostile {
            Some(Hostile::OddParams) => data.truncate(data.len() - 5),
            Some(Hostile::EmptyParams) => data.clear(),
            _ => {}
        }
        let mut params = types::ServerDhParamsOk {
            nonce: self.nonce,
            server_nonce: self.server_nonce,
            encrypted_answer: data,
        };
        if hostile == Some(Hostile::OtherServerNonce) {
            params.server_nonce[5] ^= 1;
        }
        enums::ServerDhParams::Ok(params).to_bytes()
    }

    fn finish(
        &mut self,
        request: &functions::SetClientDhParams,
        hostile: Option<Hostile>,
    ) -> Result<Answer, String> {
        self.check_nonces(&request.nonce, &request.server_nonce, Stage::Sealed)?;
        let mut data = request.encrypted_data.clone();
        if data.len() < 32 || !data.len().is_multiple_of(16) {
            return Err(format!("{} bytes are no encrypted data", data.len()));
        }
        let (key, iv) = temporary_key(&self.new_nonce, &self.server_nonce);
        ige_decrypt(&mut data, &key, &iv);
        let (hash, rest) = data.split_at(20);
        let mut input = Cursor::from_slice(rest);
        let inner =
            enums::ClientDhInnerData::deserialize(&mut input).map_err(|_| "no client_DH_inner_data")?;
        if Sha1::digest(&rest[..input.pos()]).as_slice() != hash {
            return Err("client_DH_inner_data has another hash".into());
        }
        let enums::ClientDhInnerData::Data(inner) = inner;
        if (inner.nonce, inner.server_nonce) != (self.nonce, self.server_nonce) {
            return Err("another nonce inside than outside".into());
        }
        let public = BigUint::from_bytes_be(&inner.g_b);
        let margin = BigUint::from(1_u32) << (2048 - 64);
        if public < margin || public > &self.prime - &margin {
            return Err("g_b is near an end of its range".into());
        }
        let auth_key: AuthKey = padded(&public.modpow(&self.secret, &self.prime));
        Ok(self.concluded(&auth_key, hostile))
    }

    fn concluded(&mut self, auth_key: &AuthKey, hostile: Option<Hostile>) -> Answer {
        let aux: [u8; 20] = Sha1::digest(auth_key).into();
        let hash = |number: u8| -> [u8; 16] {
            let hash: [u8; 20] = Sha1::new()
                .chain_update(self.new_nonce)
                .chain_update([number])
                .chain_update(&aux[..8])
                .finalize()
                .into();
            *hash.last_chunk().expect("20 bytes")
        };
        let (nonce, server_nonce) = (self.nonce, self.server_nonce);
        let answer = match hostile {
            Some(Hostile::EndlessRetry) => enums::SetClientDhParamsAnswer::DhGenRetry(types::DhGenRetry {
                nonce,
                server_nonce,
                new_nonce_hash2: hash(2),
            }),
            Some(Hostile::GenFail) => enums::SetClientDhParamsAnswer::DhGenFail(types::DhGenFail {
                nonce,
                server_nonce,
                new_nonce_hash3: hash(3),
            }),
            _ => enums::SetClientDhParamsAnswer::DhGenOk(types::DhGenOk {
                nonce,
                server_nonce,
                new_nonce_hash1: hash(if hostile == Some(Hostile::OtherNewNonceHash) {
                    7
                } else {
                    1
                }),
            }),
        };
        let salt: [u8; 8] = std::array::from_fn(|at| self.new_nonce[at] ^ self.server_nonce[at]);
        let is_done = matches!(answer, enums::SetClientDhParamsAnswer::DhGenOk(_));
        if is_done {
            self.stage = Stage::Start;
        }
        Answer {
            object: Some(answer.to_bytes()),
            key: (is_done && hostile.is_none()).then(|| (Box::new(*auth_key), i64::from_le_bytes(salt))),
        }
    }

    fn check_nonces(&self, nonce: &[u8; 16], server_nonce: &[u8; 16], due: Stage) -> Result<(), String> {
        if self.stage != due {
            return Err(format!("a message out of turn: at {:?}, not {due:?}", self.stage));
        }
        if (nonce, server_nonce) != (&self.nonce, &self.server_nonce) {
            return Err("a nonce of another exchange".into());
        }
        Ok(())
    }
}

/// The key and the vector of what is sealed before there is a key.
pub(crate) fn temporary_key(new: &[u8; 32], server: &[u8; 16]) -> ([u8; 32], [u8; 32]) {
    let sha1 = |parts: [&[u8]; 2]| -> [u8; 20] {
        Sha1::new()
            .chain_update(parts[0])
            .chain_update(parts[1])
            .finalize()
            .into()
    };
    let (a, b, c) = (sha1([new, server]), sha1([server, new]), sha1([new, new]));
    let mut key = [0; 32];
    key[..20].copy_from_slice(&a);
    key[20..].copy_from_slice(&b[..12]);
    let mut iv = [0; 32];
    iv[..8].copy_from_slice(&b[12..]);
    iv[8..28].copy_from_slice(&c);
    iv[28..].copy_from_slice(&new[..4]);
    (key, iv)
}

/// The prime, as a number.
pub(crate) fn prime() -> BigUint {
    BigUint::parse_bytes(DH_PRIME.as_bytes(), 16).expect("a constant in hex")
}

/// Two primes of 31 bits, so that their product stays below 2^62, as Telegram's do.
fn two_primes(rng: &mut Rng) -> (u64, u64) {
    let mut draw = || loop {
        let candidate = (1 << 30) | rng.below(1 << 30) | 1;
        if (3..)
            .step_by(2)
            .take_while(|d| d * d <= candidate)
            .all(|d| !candidate.is_multiple_of(d))
        {
            return candidate;
        }
    };
    loop {
        let (p, q) = (draw(), draw());
        if p != q {
            return (p, q);
        }
    }
}
