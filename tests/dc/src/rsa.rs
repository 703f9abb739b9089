//! The data centres' RSA key: fixed, and known to everybody who reads this file. It opens what a client sealed (RSA_PAD).
//!
//! Read <https://core.telegram.org/mtproto/auth_key>, step 4.1, first.

use grammers_crypto::aes::ige_decrypt;
use grammers_tl_types::Serializable as _;
use num_bigint::BigUint;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The public half, as a client takes it.
pub const PUBLIC_KEY_PEM: &str = include_str!("../public_key.pem");

const MODULUS: &str = "ccd66aa28dc743a811a0b1b9738d50db4cbc22fc37fccf600c800261c93383e600a31c7cff658c20e815cb32ff920567\
     2683a3e1f3f5a0dd329e17ae45f35da30e7a60fd608014e3aea91425a4cf19baa473819c6f66512bbb21094f0febe750\
     9b39e6b87ba56920bb3f549a037ed2875f1ef18ad09b2b575a1bf399188d05406517d945fc568cfc86ea7e8c8d70d01a\
     67214f32dccd1e5ae73d2659cb33171dae6584fa67656fd0aea05044a64e43158c1668e2314bee1c193635aefbcd8f1d\
     254c915f736ad3ec5486758b1fc78e01c90339147543b18a0f906ba6cfb3278e619af8fb3eb9529e6eb520420a7f7834\
     7615d748d4904b5870bee63c12fb5a65";
const PRIVATE_EXPONENT: &str = "3b7628c95c4fd267890a755d08daa674aaaf58968fe81f08da4814a8ef3fb993bc6e9d17fa09afe66388e40e3f5b539f\
     30727951dfc0577caeb36edb63a9f46e1f874dfd6f946ebbf35958a45ed5d1b9b90060c9191b8207a8503c440bb2a6d8\
     e2dea987b738faae0a3d25a179cf486d0ca34e69c609ad48b3bb36792443d79866aa3a1a2ca36170f851efc62141dc49\
     e949d1e0aec57da11da16f55fc48f041932963a78c3faedcf991da3aefb14aee0ecaab6ec15e84d9f452af3b6f7fb99b\
     7994598d21a253361f9e9ef2032424ebe18c479b4460727078a709de0e5c835297be1b4119e1b14d99491c61065671ce\
     1cf4af3f84e9d5fee2d0152ad7e8aeb7";
const PUBLIC_EXPONENT: u32 = 0x1_0001;

const SEALED_LEN: usize = 256;
const KEY_LEN: usize = 32;
/// What is sealed, padded.
const DATA_LEN: usize = 192;

/// Both halves.
#[derive(Debug)]
pub(crate) struct RsaKey {
    modulus: BigUint,
    exponent: BigUint,
}

impl RsaKey {
    pub(crate) fn new() -> RsaKey {
        let number = |hex: &str| BigUint::parse_bytes(hex.as_bytes(), 16).expect("a constant in hex");
        RsaKey {
            modulus: number(MODULUS),
            exponent: number(PRIVATE_EXPONENT),
        }
    }

    /// The number by which the key is asked for: the end of the hash of its two numbers.
    pub(crate) fn fingerprint(&self) -> i64 {
        let mut bytes = self.modulus.to_bytes_be().to_bytes();
        bytes.extend(BigUint::from(PUBLIC_EXPONENT).to_bytes_be().to_bytes());
        let hash: [u8; 20] = Sha1::digest(&bytes).into();
        i64::from_le_bytes(*hash.last_chunk().expect("20 bytes"))
    }

    /// What the client sealed, with its padding. `None`: it does not have its hash.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed.len() != SEALED_LEN {
            return None;
        }
        let number = BigUint::from_bytes_be(sealed);
        if number >= self.modulus {
            return None;
        }
        let opened = padded::<SEALED_LEN>(&number.modpow(&self.exponent, &self.modulus));
        let (masked_key, rest) = opened.split_first_chunk::<KEY_LEN>()?;
        let mask: [u8; KEY_LEN] = Sha256::digest(rest).into();
        let key: [u8; KEY_LEN] = std::array::from_fn(|at| masked_key[at] ^ mask[at]);
        let mut data = rest.to_vec();
        ige_decrypt(&mut data, &key, &[0; 32]);
        let hash = data.split_off(DATA_LEN);
        data.reverse();
        let expected = Sha256::new().chain_update(key).chain_update(&data).finalize();
        (hash == expected.as_slice()).then_some(data)
    }
}

/// A number as so many bytes, the highest first. It must fit.
pub(crate) fn padded<const N: usize>(number: &BigUint) -> [u8; N] {
    let bytes = number.to_bytes_be();
    let mut padded = [0; N];
    padded[N - bytes.len()..].copy_from_slice(&bytes);
    padded
}

#[cfg(test)]
mod tests {
    use super::*;
    use grammers_crypto::rsa;

    #[test]
    fn opens_what_another_implementation_sealed() {
        let key = RsaKey::new();
        let public = rsa::Key::new(&key.modulus.to_string(), "65537").expect("two numbers");
        let random = std::array::from_fn(|at| at as u8);
        let sealed = rsa::encrypt_hashed(b"what is sealed", &public, &random);
        let opened = key.open(&sealed).expect("it is ours");
        assert!(opened.starts_with(b"what is sealed"));
        let mut bent = sealed;
        bent[100] ^= 1;
        assert_eq!(key.open(&bent), None);
    }

    #[test]
    fn the_published_half_is_this_key() {
        // The base64 of the DER of PKCS #1 holds the modulus behind eight bytes.
        let base64: String = PUBLIC_KEY_PEM
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        let value = |c: u8| {
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                .iter()
                .position(|d| *d == c)
        };
        let mut der = Vec::new();
        for four in base64.as_bytes().chunks(4) {
            let bits = four
                .iter()
                .fold(0, |bits, c| bits << 6 | value(*c).unwrap_or(0) as u32);
            der.extend_from_slice(&bits.to_be_bytes()[1..]);
        }
        assert_eq!(&der[9..9 + 256], padded::<256>(&RsaKey::new().modulus));
    }
}
