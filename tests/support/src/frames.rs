//! Transport frames, and the two unencrypted messages that open every MTProto talk: `req_pq_multi` and `resPQ`.
//!
//! Read the MTProto transports and the auth key pages first. Frames are built and cut in all three transports; messages are
//! the plain envelope (auth key 0, message id, length) around one TL object.

use std::fmt;

use crate::clock::unix_time;
use crate::obfuscated2::Tag;
use crate::rng::Rng;

/// The longest frame that is cut out of a stream; longer lengths mean that the stream is not frames.
pub const MAX_FRAME_LEN: usize = 16 << 20;

const REQ_PQ: u32 = 0x6046_9778;
const REQ_PQ_MULTI: u32 = 0xbe7e_8ef1;
const RES_PQ: u32 = 0x0516_2463;
const VECTOR: u32 = 0x1cb5_c415;

/// The production key, the test key, and four retired ones: whatever key a client library was built with is among them.
pub const FINGERPRINTS: [u64; 6] = [
    0xd09d_1d85_de64_fd85,
    0xb258_98df_208d_2603,
    0xc3b4_2b02_6ce8_6b21,
    0x9a99_6a1d_b11c_729b,
    0xb05b_2a6f_70cd_ea78,
    0x71e0_25b6_c760_33e3,
];

/// One frame of `payload` in the transport of `tag`; `rng` makes the padding. Abridged frames count in words.
///
/// # Panics
/// If the tag is none of the three or an abridged payload is no multiple of four.
pub fn frame(tag: Tag, payload: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 20);
    match tag {
        Tag::ABRIDGED => {
            assert!(
                payload.len().is_multiple_of(4),
                "abridged frames are whole words, not {} bytes",
                payload.len()
            );
            let words = payload.len() / 4;
            if words < 0x7f {
                bytes.push(words as u8);
            } else {
                bytes.push(0x7f);
                bytes.extend_from_slice(&(words as u32).to_le_bytes()[..3]);
            }
            bytes.extend_from_slice(payload);
        }
        Tag::INTERMEDIATE => {
            bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            bytes.extend_from_slice(payload);
        }
        Tag::PADDED => {
            let padding_len = rng.below(16) as usize;
            let padding = rng.bytes(padding_len);
            bytes.extend_from_slice(&((payload.len() + padding_len) as u32).to_le_bytes());
            bytes.extend_from_slice(payload);
            bytes.extend_from_slice(&padding);
        }
        other => panic!("{other} names no transport"),
    }
    bytes
}

/// A frame cut out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it holds; in the padded transport with its padding.
    pub payload: Vec<u8>,
    /// Whether the sender asked for a quick acknowledgement.
    pub quick_ack: bool,
}

/// Cuts frames out of a stream, however it arrives.
#[derive(Debug)]
pub struct Frames {
    tag: Tag,
    bytes: Vec<u8>,
}

impl Frames {
    /// Of the transport that `tag` names.
    pub fn new(tag: Tag) -> Frames {
        Frames {
            tag,
            bytes: Vec::new(),
        }
    }

    /// More of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame; an error when the stream cannot be one of frames.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, NotFrames> {
        let Some((start, len, quick_ack)) = self.head()? else {
            return Ok(None);
        };
        if len > MAX_FRAME_LEN {
            return Err(NotFrames);
        }
        if self.bytes.len() < start + len {
            return Ok(None);
        }
        let payload = self.bytes[start..start + len].to_vec();
        self.bytes.drain(..start + len);
        Ok(Some(Frame { payload, quick_ack }))
    }

    /// How many bytes the next frame surely needs before it is whole; at least 1 while it is not.
    pub fn missing(&self) -> usize {
        match self.head() {
            Ok(Some((start, len, _))) => (start + len).saturating_sub(self.bytes.len()),
            _ => 1,
        }
    }

    /// Where the payload starts, its length, and the quick-ack bit.
    fn head(&self) -> Result<Option<(usize, usize, bool)>, NotFrames> {
        match (self.tag, self.bytes.as_slice()) {
            (_, []) => Ok(None),
            (Tag::ABRIDGED, [first, rest @ ..]) => {
                let quick_ack = first & 0x80 != 0;
                match (first & 0x7f, rest) {
                    (0x7f, [a, b, c, ..]) => Ok(Some((
                        4,
                        u32::from_le_bytes([*a, *b, *c, 0]) as usize * 4,
                        quick_ack,
                    ))),
                    (0x7f, _) => Ok(None),
                    (words, _) => Ok(Some((1, usize::from(words) * 4, quick_ack))),
                }
            }
            (Tag::INTERMEDIATE | Tag::PADDED, [a, b, c, d, ..]) => {
                let len = u32::from_le_bytes([*a, *b, *c, *d]);
                Ok(Some((4, (len & 0x7fff_ffff) as usize, len >> 31 != 0)))
            }
            (Tag::INTERMEDIATE | Tag::PADDED, _) => Ok(None),
            _ => Err(NotFrames),
        }
    }
}

/// The stream is not made of frames: an unknown tag or an absurd length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFrames;

impl fmt::Display for NotFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a stream of frames")
    }
}

impl std::error::Error for NotFrames {}

/// An unencrypted message: auth key 0, the id, the length, the object.
fn message(message_id: u64, object: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes.extend_from_slice(&message_id.to_le_bytes());
    bytes.extend_from_slice(&(object.len() as u32).to_le_bytes());
    bytes.extend_from_slice(object);
    bytes
}

/// Message ids are the time in 2⁻³² seconds; the two low bits say who speaks (0 client, 1 server's answer).
fn message_id(low_bits: u64, rng: &mut Rng) -> u64 {
    (u64::from(unix_time()) << 32) | (rng.next_u64() & 0xffff_fffc) | low_bits
}

/// The object inside an unencrypted message; padding after it is ignored.
fn object(message: &[u8]) -> Option<&[u8]> {
    let (envelope, rest) = message.split_at_checked(20)?;
    let len = u32::from_le_bytes(envelope[16..20].try_into().ok()?) as usize;
    (envelope[..8] == [0; 8]).then_some(())?;
    rest.get(..len)
}

/// A client's `req_pq_multi`, to be put into a frame.
pub fn req_pq_multi(nonce: &[u8; 16], rng: &mut Rng) -> Vec<u8> {
    request(REQ_PQ_MULTI, nonce, rng)
}

/// The older `req_pq`.
pub fn req_pq(nonce: &[u8; 16], rng: &mut Rng) -> Vec<u8> {
    request(REQ_PQ, nonce, rng)
}

fn request(constructor: u32, nonce: &[u8; 16], rng: &mut Rng) -> Vec<u8> {
    let mut object = constructor.to_le_bytes().to_vec();
    object.extend_from_slice(nonce);
    message(message_id(0, rng), &object)
}

/// The nonce of a `req_pq` or `req_pq_multi`; `None` for any other message.
pub fn requested_nonce(message: &[u8]) -> Option<[u8; 16]> {
    let (constructor, nonce) = object(message)?.split_first_chunk()?;
    let known = [REQ_PQ, REQ_PQ_MULTI].contains(&u32::from_le_bytes(*constructor));
    known.then(|| nonce.first_chunk().copied())?
}

/// What a server answers to `req_pq`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResPq {
    /// The client's, echoed.
    pub nonce: [u8; 16],
    /// The server's own.
    pub server_nonce: [u8; 16],
    /// A product of two primes, for the client to take apart.
    pub pq: u64,
    /// Which RSA keys the server has.
    pub fingerprints: Vec<u64>,
}

impl ResPq {
    /// An answer to `nonce` as a data centre gives it.
    pub fn answer(nonce: [u8; 16], rng: &mut Rng) -> ResPq {
        let pq = loop {
            let (p, q) = (prime(rng), prime(rng));
            if p != q {
                break p * q;
            }
        };
        ResPq {
            nonce,
            server_nonce: rng.array(),
            pq,
            fingerprints: FINGERPRINTS.to_vec(),
        }
    }

    /// The message, to be put into a frame.
    pub fn to_message(&self, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = RES_PQ.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.nonce);
        bytes.extend_from_slice(&self.server_nonce);
        // A TL string: its length, eight big-endian bytes, three of padding.
        bytes.push(8);
        bytes.extend_from_slice(&self.pq.to_be_bytes());
        bytes.extend_from_slice(&[0; 3]);
        bytes.extend_from_slice(&VECTOR.to_le_bytes());
        bytes.extend_from_slice(&(self.fingerprints.len() as u32).to_le_bytes());
        for fingerprint in &self.fingerprints {
            bytes.extend_from_slice(&fingerprint.to_le_bytes());
        }
        message(message_id(1, rng), &bytes)
    }

    /// Reads a message; `None` when it is anything else.
    pub fn parse(message: &[u8]) -> Option<ResPq> {
        let object = object(message)?;
        let (constructor, rest) = object.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (server_nonce, rest) = rest.split_first_chunk()?;
        let (string, rest) = rest.split_first_chunk::<12>()?;
        let (vector, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let right = u32::from_le_bytes(*constructor) == RES_PQ
            && string[0] == 8
            && u32::from_le_bytes(*vector) == VECTOR
            && rest.len() == u32::from_le_bytes(*count) as usize * 8;
        right.then(|| ResPq {
            nonce: *nonce,
            server_nonce: *server_nonce,
            pq: u64::from_be_bytes(string[1..9].try_into().expect("eight bytes")),
            fingerprints: rest
                .chunks_exact(8)
                .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("chunks of eight")))
                .collect(),
        })
    }
}

/// A frame's worth of transport error: a negative code alone.
pub fn transport_error(tag: Tag, code: i32, rng: &mut Rng) -> Vec<u8> {
    frame(tag, &code.to_le_bytes(), rng)
}

/// A prime between 2^30 and 2^31, so that the product of two stays below 2^62, as Telegram's do.
fn prime(rng: &mut Rng) -> u64 {
    loop {
        let candidate = (1 << 30) | rng.below(1 << 30) | 1;
        if is_prime(candidate) {
            return candidate;
        }
    }
}

/// Miller and Rabin's test, exact for odd numbers between 61 and 2^32 with these bases.
fn is_prime(n: u64) -> bool {
    let (mut odd, mut twos) = (n - 1, 0);
    while odd.is_multiple_of(2) {
        odd /= 2;
        twos += 1;
    }
    [2, 7, 61].into_iter().all(|base| {
        let mut power = power_modulo(base, odd, n);
        if power == 1 || power == n - 1 {
            return true;
        }
        (1..twos).any(|_| {
            power = power * power % n;
            power == n - 1
        })
    })
}

fn power_modulo(mut base: u64, mut exponent: u64, n: u64) -> u64 {
    let mut result = 1;
    while exponent != 0 {
        if exponent & 1 == 1 {
            result = result * base % n;
        }
        base = base * base % n;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pollard's rho, as clients do it.
    fn factor(n: u64) -> u64 {
        let multiply = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(n)) as u64;
        let step = |x: u64, c: u64| (multiply(x, x) + c) % n;
        for c in 1.. {
            let (mut slow, mut fast, mut found) = (2, 2, 1);
            while found == 1 {
                slow = step(slow, c);
                fast = step(step(fast, c), c);
                let (mut a, mut b) = (slow.abs_diff(fast), n);
                while a != 0 {
                    (a, b) = (b % a, a);
                }
                found = b;
            }
            if found != n {
                return found;
            }
        }
        unreachable!("some constant finds a factor")
    }

    #[test]
    fn primes_are_told_from_products() {
        let primes: Vec<u64> = (63..200).filter(|n| n % 2 == 1 && is_prime(*n)).collect();
        assert_eq!(primes.len(), 28);
        assert!(is_prime(2_147_483_647) && !is_prime(46_337 * 46_327));
    }

    #[test]
    fn frames_of_every_length_come_out_as_they_went_in() {
        let mut rng = Rng::new(3);
        for tag in Tag::ALL {
            for len in [0, 4, 0x7e * 4, 0x7f * 4, 65_536, 3 << 20] {
                let payload = rng.bytes(len);
                let bytes = frame(tag, &payload, &mut rng);
                let mut frames = Frames::new(tag);
                frames.push(&bytes[..bytes.len() - 1]);
                assert_eq!(frames.next_frame(), Ok(None), "{tag} {len}");
                frames.push(&bytes[bytes.len() - 1..]);
                let frame = frames.next_frame().expect("frames").expect("a whole one");
                assert_eq!(frame.payload[..len], payload, "{tag} {len}");
                assert!(frame.payload.len() - len < if tag == Tag::PADDED { 16 } else { 1 });
                assert_eq!(frames.next_frame(), Ok(None));
            }
        }
    }

    #[test]
    fn res_pq_answers_the_nonce_with_a_product_of_two_primes() {
        let mut rng = Rng::new(4);
        let nonce = rng.array();
        for request in [req_pq(&nonce, &mut rng), req_pq_multi(&nonce, &mut rng)] {
            assert_eq!(requested_nonce(&request), Some(nonce));
            let answer = ResPq::answer(nonce, &mut rng);
            let message = answer.to_message(&mut rng);
            assert_eq!(ResPq::parse(&message), Some(answer.clone()));
            assert_eq!(message[8] & 3, 1);
            let p = factor(answer.pq);
            assert!(is_prime(p) && is_prime(answer.pq / p) && p > 1 << 30);
        }
    }

    #[test]
    fn req_pq_multi_has_the_documented_shape() {
        let message = req_pq_multi(&[0xaa; 16], &mut Rng::new(1));
        assert_eq!(message.len(), 40);
        assert_eq!(message[16..24], [20, 0, 0, 0, 0xf1, 0x8e, 0x7e, 0xbe]);
        assert_eq!(message[8] & 3, 0);
    }
}
