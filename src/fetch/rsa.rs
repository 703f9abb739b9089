//! Telegram's public keys, and RSA_PAD, which encrypts the first secret of a key exchange for one of them.
//!
//! Read <https://core.telegram.org/mtproto/auth_key>, 4.1 (RSA_PAD). The built-in keys are those that every client publishes; a
//! PEM file (PKCS #1 or SubjectPublicKeyInfo) holds the key of another test server.

use base64ct::Encoding as _;
use grammers_crypto::aes::ige_encrypt;
use grammers_tl_types::Serializable as _;
use num_bigint::BigUint;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Bytes of a modulus.
pub const MODULUS_LEN: usize = 256;
/// Upper bound of the encrypted data in bytes.
const MAX_DATA: usize = 144;
/// Bytes of the data with its random padding.
const PADDED: usize = 192;

/// Telegram's own key.
const TELEGRAM: [u8; MODULUS_LEN] = hex(
    b"e8bb3305c0b52c6cf2afdf7637313489e63e05268e5badb601af417786472e5f93b85438968e20e6729a301c0afc121b\
      f7151f834436f7fda680847a66bf64accec78ee21c0b316f0edafe2f41908da7bd1f4a5107638eeb67040ace472a14f9\
      0d9f7c2b7def99688ba3073adb5750bb02964902a359fe745d8170e36876d4fd8a5d41b2a76cbff9a13267eb9580b2d0\
      6d10357448d20d9da2191cb5d8c93982961cdfdeda629e37f1fb09a0722027696032fe61ed663db7a37f6f263d370f69\
      db53a0dc0a1748bdaaff6209d5645485e6e001d1953255757e4b8e42813347b11da6ab500fd0ace7e6dfa3736199ccaf\
      9397ed0745a427dcfa6cd67bcb1acff3",
);
/// The key of Telegram's test servers.
const TELEGRAM_TEST: [u8; MODULUS_LEN] = hex(
    b"c8c11d635691fac091dd9489aedced2932aa8a0bcefef05fa800892d9b52ed03200865c9e97211cb2ee6c7ae96d3fb0e\
      15aeffd66019b44a08a240cfdd2868a85e1f54d6fa5deaa041f6941ddf302690d61dc476385c2fa655142353cb4e4b59\
      f6e5b6584db76fe8b1370263246c010c93d011014113ebdf987d093f9d37c2be48352d69a1683f8f6e6c2167983c761e\
      3ab169fde5daaa12123fa1beab621e4da5935e9c198f82f35eae583a99386d8110ea6bd1abb0f568759f62694419ea5f\
      69847c43462abef858b4cb5edc84e7b9226cd7bd7e183aa974a712c079dde85b9dc063b8a5c08e8f859c0ee5dcd824c7\
      807f20153361a7f63cfd2a433a1be7f5",
);

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    n: BigUint,
    e: BigUint,
}

impl PublicKey {
    /// The keys of Telegram's servers and of its test servers.
    #[must_use]
    pub fn built_in() -> Vec<PublicKey> {
        [TELEGRAM, TELEGRAM_TEST]
            .iter()
            .map(|n| PublicKey {
                n: BigUint::from_bytes_be(n),
                e: BigUint::from(65_537_u32),
            })
            .collect()
    }

    /// The key of these numbers, for tests that decrypt.
    #[cfg(test)]
    pub(crate) fn with_parts(n: BigUint, e: u32) -> PublicKey {
        PublicKey { n, e: e.into() }
    }

    /// All keys of a PEM file. `None` if there is no key, or one that is not an RSA key of 2048 bits.
    #[must_use]
    pub fn from_pem(text: &str) -> Option<Vec<PublicKey>> {
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some((_, after)) = rest.split_once("-----BEGIN ") {
            let (label, after) = after.split_once("-----")?;
            let (body, after) = after.split_once("-----END ")?;
            rest = after.strip_prefix(label)?.strip_prefix("-----")?;
            let der = base64(body)?;
            keys.push(match label {
                "RSA PUBLIC KEY" => PublicKey::from_pkcs1(&der)?,
                "PUBLIC KEY" => PublicKey::from_spki(&der)?,
                _ => return None,
            });
        }
        (!keys.is_empty()).then_some(keys)
    }

    /// The fingerprint that servers offer: the last 64 bits of the SHA-1 of both numbers.
    #[must_use]
    pub fn fingerprint(&self) -> i64 {
        let mut bare = Vec::new();
        self.n.to_bytes_be().serialize(&mut bare);
        self.e.to_bytes_be().serialize(&mut bare);
        let hash: [u8; 20] = Sha1::digest(&bare).into();
        hash.last_chunk().map_or(0, |last| i64::from_le_bytes(*last))
    }

    /// Encrypts `data` of at most 144 bytes. `None` if it is longer.
    #[must_use]
    pub fn seal(&self, data: &[u8], random: &mut dyn FnMut(&mut [u8])) -> Option<[u8; MODULUS_LEN]> {
        if data.len() > MAX_DATA {
            return None;
        }
        let mut padded = [0; PADDED];
        random(&mut padded);
        padded[..data.len()].copy_from_slice(data);
        loop {
            let mut temp_key = [0; 32];
            random(&mut temp_key);
            let sealed = self.seal_with(&padded, temp_key);
            // Repeated with another key until the number is below the modulus: about once for a modulus that begins with e8.
            let number = BigUint::from_bytes_be(&sealed);
            if number < self.n {
                return Some(to_bytes(&number.modpow(&self.e, &self.n)));
            }
        }
    }

    fn seal_with(&self, padded: &[u8; PADDED], mut temp_key: [u8; 32]) -> [u8; MODULUS_LEN] {
        let mut sealed = [0; MODULUS_LEN];
        let (key, body) = sealed.split_at_mut(32);
        let hash = Sha256::new()
            .chain_update(temp_key)
            .chain_update(padded)
            .finalize();
        for (to, from) in body.iter_mut().zip(padded.iter().rev().chain(&hash)) {
            *to = *from;
        }
        ige_encrypt(body, &temp_key, &[0; 32]);
        for (key, hash) in temp_key.iter_mut().zip(Sha256::digest(&*body)) {
            *key ^= hash;
        }
        key.copy_from_slice(&temp_key);
        sealed
    }

    fn from_pkcs1(der: &[u8]) -> Option<PublicKey> {
        let (sequence, rest) = element(der, 0x30)?;
        let (n, after) = element(sequence, 0x02)?;
        let (e, end) = element(after, 0x02)?;
        let key = PublicKey {
            n: BigUint::from_bytes_be(n),
            e: BigUint::from_bytes_be(e),
        };
        let sound =
            key.n.bits() == 8 * MODULUS_LEN as u64 && key.n.bit(0) && key.e.bit(0) && key.e.bits() <= 32;
        (rest.is_empty() && end.is_empty() && sound && key.e.bits() > 1).then_some(key)
    }

    fn from_spki(der: &[u8]) -> Option<PublicKey> {
        /// The object identifier `rsaEncryption` with its empty parameters.
        const ALGORITHM: [u8; 13] = [
            0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
        ];
        let (sequence, rest) = element(der, 0x30)?;
        let (algorithm, after) = element(sequence, 0x30)?;
        let (bits, end) = element(after, 0x03)?;
        let (unused, key) = bits.split_first()?;
        let sound = rest.is_empty() && end.is_empty() && algorithm == ALGORITHM && *unused == 0;
        sound.then(|| PublicKey::from_pkcs1(key)).flatten()
    }
}

/// A number of at most 2048 bits as 256 bytes.
#[must_use]
pub fn to_bytes(number: &BigUint) -> [u8; MODULUS_LEN] {
    let mut bytes = [0; MODULUS_LEN];
    for (to, from) in bytes.iter_mut().rev().zip(number.to_bytes_le()) {
        *to = from;
    }
    bytes
}

/// The content of a DER element with this tag, and the bytes after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(len, rest)| (usize::from(*len), rest))?,
        0x82 => rest
            .split_first_chunk()
            .map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest))?,
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(len)).flatten()
}

/// Decodes base64 in lines.
fn base64(text: &str) -> Option<Vec<u8>> {
    let joined: String = text.split_ascii_whitespace().collect();
    base64ct::Base64::decode_vec(&joined).ok()
}

/// Decodes a hex constant at compile time.
pub(crate) const fn hex<const N: usize>(text: &[u8]) -> [u8; N] {
    const fn digit(c: u8) -> u8 {
        match c {
            b'0'..=b'9' => c - b'0',
            b'a'..=b'f' => c - b'a' + 10,
            _ => panic!("no hex"),
        }
    }
    assert!(text.len() == 2 * N);
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = digit(text[2 * at]) << 4 | digit(text[2 * at + 1]);
        at += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use grammers_crypto::aes::ige_decrypt;

    const PEM: &str = r"-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEApvXJ6V3ZZVKLhBRO2vHb+hdGrXOtclv58dPPjY/Ng2G9JbR9h8eh
FsL/t8iC0Mc+ja+CAefDjU/DjAyly7MrzO5zpz2h1huJ0JLsEpmgaM0xmtk2PHoi
GQuz73lqfOsc/EgVKs6mj40oURaoV99ALnbzoUcjg68f6MpDNKN/56ZjXmTdsF80
B1iqsYn5oK1LNobkOvlq6aDwPQGxT/amVdXhTK8NDrg5n3f1FkH14iD5CECmaH4T
Axi1nAlB71B4Onu2ETGtmH8c4Pb7MBbhDhE0vhapE9eqFUkxSjqyE0om2VtmlK5h
WAiU9HvwA51oGd+j2B2ThpK2GTHmGE2kDwIDAQAB
-----END RSA PUBLIC KEY-----
";
    const SPKI: &str = r"-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEApvXJ6V3ZZVKLhBRO2vHb
+hdGrXOtclv58dPPjY/Ng2G9JbR9h8ehFsL/t8iC0Mc+ja+CAefDjU/DjAyly7Mr
zO5zpz2h1huJ0JLsEpmgaM0xmtk2PHoiGQuz73lqfOsc/EgVKs6mj40oURaoV99A
LnbzoUcjg68f6MpDNKN/56ZjXmTdsF80B1iqsYn5oK1LNobkOvlq6aDwPQGxT/am
VdXhTK8NDrg5n3f1FkH14iD5CECmaH4TAxi1nAlB71B4Onu2ETGtmH8c4Pb7MBbh
DhE0vhapE9eqFUkxSjqyE0om2VtmlK5hWAiU9HvwA51oGd+j2B2ThpK2GTHmGE2k
DwIDAQAB
-----END PUBLIC KEY-----
";

    #[test]
    fn the_built_in_keys_have_the_names_that_servers_offer() {
        let names: Vec<i64> = PublicKey::built_in().iter().map(PublicKey::fingerprint).collect();
        assert_eq!(
            names,
            [0xd09d_1d85_de64_fd85_u64 as i64, 0xb258_98df_208d_2603_u64 as i64]
        );
    }

    #[test]
    fn both_forms_of_pem_bring_the_same_key() {
        let keys = PublicKey::from_pem(PEM).unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(PublicKey::from_pem(SPKI), Some(keys.clone()));
        assert_eq!(
            PublicKey::from_pem(&[PEM, SPKI].concat()).unwrap(),
            [keys[0].clone(), keys[0].clone()]
        );
    }

    #[test]
    fn broken_pem_brings_none() {
        assert_eq!(PublicKey::from_pem(""), None);
        assert_eq!(
            PublicKey::from_pem(&PEM.replace("RSA PUBLIC", "RSA PRIVATE")),
            None
        );
        for cut in (0..PEM.len() - 1).rev().step_by(7) {
            assert_eq!(PublicKey::from_pem(&PEM[..cut]), None, "{cut}");
        }
        let body = PEM.find('\n').unwrap() + 1;
        assert_eq!(
            PublicKey::from_pem(&PEM.replacen(&PEM[body..body + 4], "AAAA", 1)),
            None
        );
    }

    #[test]
    fn what_is_sealed_opens_with_the_private_half() {
        // A key with the exponent 1 hides nothing.
        let key = PublicKey::with_parts((BigUint::from(1_u8) << 2048_u32) - BigUint::from(1_u8), 1);
        let data = [0x5a; 144];
        let sealed = key.seal(&data, &mut |bytes| bytes.fill(3)).unwrap();
        let (key_part, body) = sealed.split_at(32);
        let mut body = body.to_vec();
        let mut temp_key: [u8; 32] = key_part.try_into().unwrap();
        for (key, hash) in temp_key.iter_mut().zip(Sha256::digest(&body)) {
            *key ^= hash;
        }
        assert_eq!(temp_key, [3; 32]);
        ige_decrypt(&mut body, &temp_key, &[0; 32]);
        let mut padded = body[..PADDED].to_vec();
        padded.reverse();
        assert_eq!(padded[..144], data);
        assert_eq!(padded[144..], [3; 48]);
        let hash = Sha256::new()
            .chain_update(temp_key)
            .chain_update(&padded)
            .finalize();
        assert_eq!(body[PADDED..], hash[..]);
        assert_eq!(key.seal(&[0; 145], &mut |_| ()), None);
    }
}
