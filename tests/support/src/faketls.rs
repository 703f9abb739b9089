//! Fake TLS from the client's side: a browser's ClientHello with a MAC for its random, and a strict reader of the answer.
//!
//! Read RFC 8446 §4.1 and the draft of X25519MLKEM768 first. The reader is as strict as the strictest known client: one
//! ServerHello, one ChangeCipherSpec, one record of application data, and a MAC over all of it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

use crate::rng::Rng;

/// The group of plain X25519 shares.
pub const X25519: u16 = 0x001d;
/// The group of X25519MLKEM768 shares.
pub const X25519_MLKEM768: u16 = 0x11ec;
/// The longest payload of a record.
pub const MAX_RECORD_LEN: usize = 16_384;
/// A ChangeCipherSpec record, whole.
pub const CHANGE_CIPHER_SPEC: [u8; 6] = [0x14, 0x03, 0x03, 0x00, 0x01, 0x01];

const RANDOM_AT: usize = 11;
const MLKEM_KEY_LEN: usize = 1184;
const MLKEM_CIPHERTEXT_LEN: usize = 1088;
const POINT_LEN: usize = 32;

/// HMAC-SHA256 over the parts, one after another.
pub fn mac(secret: &[u8; 16], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Which browser generation the hello imitates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HelloKind {
    /// 517 bytes, an X25519 share.
    #[default]
    Classic,
    /// About 1.9 KB: an X25519MLKEM768 share first, an X25519 share after it.
    Kem,
    /// As `Kem`, with the X25519MLKEM768 share alone.
    KemOnly,
}

/// What goes into a hello.
#[derive(Clone, Debug)]
pub struct HelloSpec {
    /// Shares and size.
    pub kind: HelloKind,
    /// The server name; an empty one leaves the extension out.
    pub domain: String,
    /// Seconds since 1970, to be hidden in the random.
    pub time: u32,
    /// Cipher suites in order; the first GREASE value is put before them.
    pub ciphers: Vec<u16>,
}

impl HelloSpec {
    /// A browser's usual hello.
    pub fn new(kind: HelloKind, domain: &str, time: u32) -> HelloSpec {
        let ciphers = [
            0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
            0x009d, 0x002f, 0x0035,
        ];
        HelloSpec {
            kind,
            domain: domain.into(),
            time,
            ciphers: ciphers.into(),
        }
    }
}

/// A hello as sent, and what the answer must fit.
#[derive(Clone, Debug)]
pub struct ClientHello {
    /// The whole record.
    pub bytes: Vec<u8>,
    /// The random in it, MAC and time.
    pub random: [u8; 32],
    /// The session id that must come back.
    pub session_id: [u8; 32],
    /// The cipher suites without GREASE.
    pub ciphers: Vec<u16>,
    /// The groups that have a share, without GREASE.
    pub groups: Vec<u16>,
}

/// Builds a hello and signs it with the secret.
pub fn client_hello(secret: &[u8; 16], spec: &HelloSpec, seed: u64) -> ClientHello {
    let mut rng = Rng::new(seed);
    let session_id = rng.array();
    let (body, groups) = hello_body(spec, &session_id, &mut rng);
    let mut bytes = vec![0x16, 0x03, 0x01];
    vector16(&mut bytes, |record| {
        record.extend_from_slice(&[0x01, 0x00]);
        vector16(record, |hello| hello.extend_from_slice(&body));
    });
    let random = sign(&mut bytes, secret, spec.time);
    ClientHello {
        bytes,
        random,
        session_id,
        ciphers: spec.ciphers.clone(),
        groups,
    }
}

/// Puts MAC and time into the random of a hello: for tests that changed its bytes and want it genuine again.
pub fn sign(hello: &mut [u8], secret: &[u8; 16], time: u32) -> [u8; 32] {
    hello[RANDOM_AT..RANDOM_AT + 32].fill(0);
    let mut random = mac(secret, &[hello]);
    for (byte, time) in random[28..].iter_mut().zip(time.to_le_bytes()) {
        *byte ^= time;
    }
    hello[RANDOM_AT..RANDOM_AT + 32].copy_from_slice(&random);
    random
}

/// Writes a two-byte length before what `fill` writes.
fn vector16(bytes: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = bytes.len();
    bytes.extend_from_slice(&[0, 0]);
    fill(bytes);
    let len = (bytes.len() - at - 2) as u16;
    bytes[at..at + 2].copy_from_slice(&len.to_be_bytes());
}

fn extension(bytes: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    bytes.extend_from_slice(&kind.to_be_bytes());
    vector16(bytes, fill);
}

fn shorts(bytes: &mut Vec<u8>, values: &[u16]) {
    values
        .iter()
        .for_each(|value| bytes.extend_from_slice(&value.to_be_bytes()));
}

/// One of the sixteen values that mean nothing (RFC 8701).
fn grease(rng: &mut Rng) -> u16 {
    0x0a0a + 0x1010 * rng.below(16) as u16
}

fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

fn hello_body(spec: &HelloSpec, session_id: &[u8; 32], rng: &mut Rng) -> (Vec<u8>, Vec<u16>) {
    let groups: &[u16] = match spec.kind {
        HelloKind::Classic => &[X25519],
        HelloKind::Kem => &[X25519_MLKEM768, X25519],
        HelloKind::KemOnly => &[X25519_MLKEM768],
    };
    let mut body = vec![0x03, 0x03];
    body.extend_from_slice(&[0; 32]);
    body.push(32);
    body.extend_from_slice(session_id);
    let suite = grease(rng);
    vector16(&mut body, |list| {
        shorts(list, &[suite]);
        shorts(list, &spec.ciphers);
    });
    body.extend_from_slice(&[1, 0]);
    // What is around the extensions: record and handshake headers, body so far, the list's own length.
    let before = 5 + 4 + body.len() + 2;
    vector16(&mut body, |list| extensions(list, spec, groups, before, rng));
    (body, groups.to_vec())
}

fn extensions(list: &mut Vec<u8>, spec: &HelloSpec, groups: &[u16], before: usize, rng: &mut Rng) {
    let start = list.len();
    let group = grease(rng);
    extension(list, grease(rng), |_| {});
    if !spec.domain.is_empty() {
        extension(list, 0x0000, |sni| {
            vector16(sni, |names| {
                names.push(0);
                vector16(names, |name| name.extend_from_slice(spec.domain.as_bytes()));
            });
        });
    }
    extension(list, 0x0017, |_| {});
    extension(list, 0xff01, |renegotiation| renegotiation.push(0));
    extension(list, 0x000a, |supported| {
        vector16(supported, |list| {
            shorts(list, &[group]);
            shorts(list, groups);
            shorts(list, &[0x0017, 0x0018]);
        });
    });
    extension(list, 0x000b, |formats| formats.extend_from_slice(&[1, 0]));
    extension(list, 0x0023, |_| {});
    extension(list, 0x0010, |alpn| {
        vector16(alpn, |names| names.extend_from_slice(b"\x02h2\x08http/1.1"))
    });
    extension(list, 0x0005, |status| status.extend_from_slice(&[1, 0, 0, 0, 0]));
    extension(list, 0x000d, |signatures| {
        vector16(signatures, |list| {
            shorts(
                list,
                &[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            )
        });
    });
    extension(list, 0x0012, |_| {});
    extension(list, 0x0033, |key_share| {
        vector16(key_share, |shares| {
            shorts(shares, &[group]);
            vector16(shares, |share| share.push(0));
            for &group in groups {
                shorts(shares, &[group]);
                vector16(shares, |share| fill_share(share, group, rng));
            }
        });
    });
    extension(list, 0x002d, |modes| modes.extend_from_slice(&[1, 1]));
    extension(list, 0x002b, |versions| {
        versions.push(6);
        shorts(versions, &[grease(rng), 0x0304, 0x0303]);
    });
    extension(list, 0x001b, |compression| {
        compression.extend_from_slice(&[2, 0, 2])
    });
    extension(list, grease(rng), |last| last.push(0));
    match spec.kind {
        // The padding extension has brought hellos to 517 bytes for ten years.
        HelloKind::Classic => {
            let len = before + list.len() - start;
            if let Some(missing) = 517usize.checked_sub(len + 4) {
                extension(list, 0x0015, |padding| padding.resize(padding.len() + missing, 0));
            }
        }
        HelloKind::Kem | HelloKind::KemOnly => {
            // A GREASE Encrypted ClientHello: outer, HKDF-SHA256 with AES-128-GCM, an id, a key, a payload.
            let (id, key, payload) = (rng.array::<1>(), rng.bytes(32), rng.bytes(240));
            extension(list, 0xfe0d, |ech| {
                ech.extend_from_slice(&[0, 0, 1, 0, 1, id[0]]);
                vector16(ech, |bytes| bytes.extend_from_slice(&key));
                vector16(ech, |bytes| bytes.extend_from_slice(&payload));
            });
        }
    }
}

/// Twelve-bit coefficients below the modulus and a seed for ML-KEM, any 32 bytes for X25519: no server here derives a key.
fn fill_share(share: &mut Vec<u8>, group: u16, rng: &mut Rng) {
    if group == X25519_MLKEM768 {
        let start = share.len();
        for _ in 0..(MLKEM_KEY_LEN - 32) / 3 {
            let (low, high) = (rng.below(3329) as u32, rng.below(3329) as u32);
            share.extend_from_slice(&(low | (high << 12)).to_le_bytes()[..3]);
        }
        share.extend_from_slice(&rng.array::<32>());
        debug_assert_eq!(share.len() - start, MLKEM_KEY_LEN);
    }
    let mut point: [u8; POINT_LEN] = rng.array();
    point[31] &= 0x7f;
    share.extend_from_slice(&point);
}

/// A server's answer, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAnswer {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The chosen suite.
    pub cipher: u16,
    /// The group of the share.
    pub group: u16,
    /// The share.
    pub share: Vec<u8>,
    /// The length of the one record of application data.
    pub data_len: usize,
}

impl ServerAnswer {
    /// The X25519 part of the share: its last 32 bytes in both groups.
    pub fn point(&self) -> [u8; 32] {
        self.share.last_chunk().copied().unwrap_or_default()
    }
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAnswer(pub String);

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadAnswer {}

fn wrong<T>(what: impl Into<String>) -> Result<T, BadAnswer> {
    Err(BadAnswer(what.into()))
}

/// How many bytes an answer has in all, once that can be told: its three records.
pub fn answer_len(bytes: &[u8]) -> Result<Option<usize>, BadAnswer> {
    let mut at = 0;
    for (name, kind) in [
        ("ServerHello", 0x16),
        ("ChangeCipherSpec", 0x14),
        ("application data", 0x17),
    ] {
        let Some(head) = bytes.get(at..at + 5) else {
            return Ok(None);
        };
        if head[..3] != [kind, 0x03, 0x03] {
            return wrong(format!("the {name} record starts with {:02x?}", &head[..3]));
        }
        let len = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if len > MAX_RECORD_LEN {
            return wrong(format!("the {name} record has {len} bytes"));
        }
        at += 5 + len;
    }
    Ok(Some(at))
}

/// Reads an answer that is whole, and refuses whatever the strictest client would.
pub fn check_answer(secret: &[u8; 16], hello: &ClientHello, bytes: &[u8]) -> Result<ServerAnswer, BadAnswer> {
    match answer_len(bytes)? {
        Some(len) if len == bytes.len() => {}
        Some(len) => {
            return wrong(format!(
                "an answer of {len} bytes came with {} in all",
                bytes.len()
            ));
        }
        None => return wrong("the answer is cut off"),
    }
    let mut zeroed = bytes.to_vec();
    zeroed[RANDOM_AT..RANDOM_AT + 32].fill(0);
    if mac(secret, &[&hello.random, &zeroed]) != bytes[RANDOM_AT..RANDOM_AT + 32] {
        return wrong("the MAC does not cover exactly these bytes");
    }
    let hello_len = 5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
    let (server_hello, rest) = bytes.split_at(hello_len);
    let Some(data) = rest.strip_prefix(&CHANGE_CIPHER_SPEC) else {
        return wrong("the ChangeCipherSpec holds other than 01");
    };
    let (cipher, group, share) = check_server_hello(hello, &server_hello[5..])?;
    let answer = ServerAnswer {
        bytes: bytes.to_vec(),
        cipher,
        group,
        share,
        data_len: data.len() - 5,
    };
    if answer.data_len == 0 {
        return wrong("the record of application data is empty");
    }
    Ok(answer)
}

/// A reader that knows what it reads, for messages.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], BadAnswer> {
        let Some((field, rest)) = self.0.split_at_checked(len) else {
            return wrong(format!("{what} is cut off"));
        };
        self.0 = rest;
        Ok(field)
    }

    fn short(&mut self, what: &str) -> Result<u16, BadAnswer> {
        let bytes = self.take(2, what)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn expect(&mut self, bytes: &[u8], what: &str) -> Result<(), BadAnswer> {
        let found = self.take(bytes.len(), what)?;
        if found == bytes {
            Ok(())
        } else {
            wrong(format!("{what} is {found:02x?}, not {bytes:02x?}"))
        }
    }
}

fn check_server_hello(hello: &ClientHello, body: &[u8]) -> Result<(u16, u16, Vec<u8>), BadAnswer> {
    let mut fields = Fields(body);
    fields.expect(&[0x02, 0x00], "the handshake type")?;
    let len = fields.short("the handshake length")?;
    if usize::from(len) != fields.0.len() {
        return wrong(format!("the handshake length is {len} of {}", fields.0.len()));
    }
    fields.expect(&[0x03, 0x03], "the version")?;
    fields.take(32, "the random")?;
    fields.expect(&[32], "the session id's length")?;
    fields.expect(&hello.session_id, "the session id")?;
    let cipher = fields.short("the cipher suite")?;
    let expected = hello
        .ciphers
        .iter()
        .copied()
        .find(|&suite| !is_grease(suite) && (0x1301..=0x1303).contains(&suite));
    if Some(cipher) != expected {
        return wrong(format!("the cipher suite is {cipher:04x}, not {expected:04x?}"));
    }
    fields.expect(&[0], "the compression")?;
    let len = fields.short("the extensions' length")?;
    if usize::from(len) != fields.0.len() {
        return wrong(format!("the extensions' length is {len} of {}", fields.0.len()));
    }
    let (mut key_share, mut versions) = (None, false);
    while !fields.0.is_empty() {
        let kind = fields.short("an extension's type")?;
        let len = fields.short("an extension's length")?;
        let mut extension = Fields(fields.take(usize::from(len), "an extension")?);
        match kind {
            0x0033 if key_share.is_none() => key_share = Some(check_share(hello, &mut extension)?),
            0x002b if !versions => {
                extension.expect(&[0x03, 0x04], "the chosen version")?;
                versions = true;
            }
            _ => return wrong(format!("the extension {kind:04x} has no place here")),
        }
        if !extension.0.is_empty() {
            return wrong(format!("the extension {kind:04x} goes on after its end"));
        }
    }
    match (key_share, versions) {
        (Some((group, share)), true) => Ok((cipher, group, share)),
        (None, _) => wrong("there is no key share"),
        (_, false) => wrong("there is no chosen version"),
    }
}

fn check_share(hello: &ClientHello, extension: &mut Fields<'_>) -> Result<(u16, Vec<u8>), BadAnswer> {
    let group = extension.short("the share's group")?;
    if hello.groups.first() != Some(&group) {
        return wrong(format!(
            "the share's group is {group:04x}, offered were {:04x?}",
            hello.groups
        ));
    }
    let expected = if group == X25519_MLKEM768 {
        MLKEM_CIPHERTEXT_LEN + POINT_LEN
    } else {
        POINT_LEN
    };
    let len = usize::from(extension.short("the share's length")?);
    if len != expected {
        return wrong(format!(
            "the share of group {group:04x} has {len} bytes, not {expected}"
        ));
    }
    Ok((group, extension.take(len, "the share")?.to_vec()))
}

/// An answer as a good relay makes it, for this crate's own tests.
#[cfg(test)]
pub(crate) fn answer(
    secret: &[u8; 16],
    hello: &ClientHello,
    cipher: u16,
    group: u16,
    share: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0x16, 0x03, 0x03];
    vector16(&mut bytes, |record| {
        record.extend_from_slice(&[0x02, 0x00]);
        vector16(record, |body| {
            body.extend_from_slice(&[0x03, 0x03]);
            body.extend_from_slice(&[0; 32]);
            body.push(32);
            body.extend_from_slice(&hello.session_id);
            shorts(body, &[cipher]);
            body.push(0);
            vector16(body, |list| {
                extension(list, 0x0033, |key_share| {
                    shorts(key_share, &[group]);
                    vector16(key_share, |bytes| bytes.extend_from_slice(share));
                });
                extension(list, 0x002b, |version| shorts(version, &[0x0304]));
            });
        });
    });
    bytes.extend_from_slice(&CHANGE_CIPHER_SPEC);
    bytes.extend_from_slice(&[0x17, 0x03, 0x03]);
    vector16(&mut bytes, |record| record.extend_from_slice(data));
    let random = mac(secret, &[&hello.random, &bytes]);
    bytes[11..43].copy_from_slice(&random);
    bytes
}

#[cfg(test)]
mod tests;
