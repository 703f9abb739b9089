//! The second factor: the password is proved without being said (SRP).
//!
//! Read <https://core.telegram.org/api/srp> first. This is the side that knows the verifier.

use crate::exchange::prime;
use crate::rsa::padded;
use grammers_tl_types::{enums, types};
use hmac::{Hmac, KeyInit as _, Mac as _};
use mtrelay_test_support::rng::Rng;
use num_bigint::BigUint;
use sha2::{Digest as _, Sha256, Sha512};

const GENERATOR: u32 = 3;
const ROUNDS: usize = 100_000;
const SALT_1: &[u8] = b"a salt of a server's, then more of it";
const SALT_2: &[u8] = b"another salt";

/// A question that was asked: whoever answers it knows the password.
#[derive(Debug)]
pub(crate) struct Proof {
    verifier: BigUint,
    secret: BigUint,
    public: [u8; 256],
}

impl Proof {
    pub(crate) fn ask(password: &str, rng: &mut Rng) -> Proof {
        let p = prime();
        let verifier = BigUint::from(GENERATOR).modpow(&BigUint::from_bytes_be(&hashed(password)), &p);
        let k = BigUint::from_bytes_be(&hash(&[&padded::<256>(&p), &generator()]));
        let secret = BigUint::from_bytes_be(&rng.array::<256>());
        let public = (k * &verifier + BigUint::from(GENERATOR).modpow(&secret, &p)) % &p;
        Proof {
            verifier,
            secret,
            public: padded(&public),
        }
    }

    pub(crate) fn public(&self) -> Vec<u8> {
        self.public.to_vec()
    }

    /// Whether this answer shows knowledge of the password.
    pub(crate) fn holds(&self, a: &[u8], m1: &[u8]) -> bool {
        let p = prime();
        let number = BigUint::from_bytes_be(a);
        if a.len() > 256 || number <= BigUint::from(1_u32) || number >= p {
            return false;
        }
        let a = padded::<256>(&number);
        let u = BigUint::from_bytes_be(&hash(&[&a, &self.public]));
        let shared = (number * self.verifier.modpow(&u, &p)).modpow(&self.secret, &p);
        let key = hash(&[&padded::<256>(&shared)]);
        let (hash_p, hash_g) = (hash(&[&padded::<256>(&p)]), hash(&[&generator()]));
        let both: [u8; 32] = std::array::from_fn(|at| hash_p[at] ^ hash_g[at]);
        let expected = hash(&[&both, &hash(&[SALT_1]), &hash(&[SALT_2]), &a, &self.public, &key]);
        m1 == expected
    }
}

/// How the password is to be hashed.
pub(crate) fn algorithm() -> enums::PasswordKdfAlgo {
    let algorithm = types::PasswordKdfAlgoSha256Sha256Pbkdf2Hmacsha512iter100000Sha256ModPow {
        salt1: SALT_1.to_vec(),
        salt2: SALT_2.to_vec(),
        g: GENERATOR as i32,
        p: padded::<256>(&prime()).to_vec(),
    };
    algorithm.into()
}

fn generator() -> [u8; 256] {
    padded(&BigUint::from(GENERATOR))
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

fn hashed(password: &str) -> [u8; 32] {
    let salted = |bytes: &[u8], salt: &[u8]| hash(&[salt, bytes, salt]);
    let first = salted(&salted(password.as_bytes(), SALT_1), SALT_2);
    salted(&stretched(&first, SALT_1), SALT_2)
}

/// PBKDF2 with HMAC-SHA-512, one block.
fn stretched(password: &[u8], salt: &[u8]) -> [u8; 64] {
    let mac = Hmac::<Sha512>::new_from_slice(password).expect("HMAC takes keys of any length");
    let round = |bytes: &[&[u8]]| -> [u8; 64] {
        let mut mac = mac.clone();
        bytes.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    };
    let mut last = round(&[salt, &1_u32.to_be_bytes()]);
    let mut sum = last;
    for _ in 1..ROUNDS {
        last = round(&[&last]);
        sum.iter_mut().zip(last).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use grammers_crypto::two_factor_auth::calculate_2fa;

    #[test]
    fn another_implementation_proves_a_password_and_only_the_right_one() {
        let proof = Proof::ask("correct horse", &mut Rng::new(5));
        for (password, right) in [("correct horse", true), ("battery staple", false)] {
            let (m1, a) = calculate_2fa(
                SALT_1,
                SALT_2,
                &padded::<256>(&prime()),
                &(GENERATOR as i32),
                proof.public(),
                vec![0x77; 256],
                password,
            );
            assert_eq!(proof.holds(&a, &m1), right, "{password}");
        }
        assert!(!proof.holds(&[], &[]));
    }
}
