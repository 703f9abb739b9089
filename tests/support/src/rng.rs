//! Seeded randomness: what a test draws, it can draw again.
//!
//! Promises: the same seed gives the same bytes on every machine. `MTRELAY_TEST_SEED` fixes the seeds that
//! [`fresh_seed`] hands out; failures print theirs.

use std::fmt;
use std::io::Read;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The seed that all of this process's fresh seeds come from.
pub fn base_seed() -> u64 {
    static BASE: LazyLock<u64> = LazyLock::new(|| {
        if let Some(seed) = std::env::var("MTRELAY_TEST_SEED")
            .ok()
            .and_then(|v| v.parse().ok())
        {
            return seed;
        }
        let mut bytes = [0; 8];
        let mut random = std::fs::File::open("/dev/urandom").expect("/dev/urandom opens");
        random.read_exact(&mut bytes).expect("/dev/urandom gives bytes");
        // 32 bits are easily typed again.
        u64::from_le_bytes(bytes) >> 32
    });
    *BASE
}

/// A seed that no one in this process has had yet: genuine clients never draw the same header twice.
pub fn fresh_seed() -> u64 {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    mix(base_seed().wrapping_add((COUNT.fetch_add(1, Ordering::Relaxed) as u64).wrapping_mul(GOLDEN)))
}

/// SplitMix64: small, fast, and not for keys that matter.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator that `seed` names.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    /// `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.fill(&mut bytes);
        bytes
    }
}

/// An endless stream of bytes that a seed names: one side writes it, the other compares, nobody stores it.
#[derive(Clone, Debug)]
pub struct Stream {
    seed: u64,
    position: u64,
}

impl Stream {
    /// The stream that `seed` names, at its first byte.
    pub fn new(seed: u64) -> Stream {
        Stream { seed, position: 0 }
    }

    /// The same at any of its bytes.
    pub fn at(seed: u64, position: u64) -> Stream {
        Stream { seed, position }
    }

    /// How many bytes were made or compared.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn word(&self, index: u64) -> [u8; 8] {
        mix(self.seed.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN))).to_le_bytes()
    }

    /// Calls `each` with runs of the caller's bytes and the stream's, in step.
    fn walk<T>(
        &mut self,
        len: usize,
        mut each: impl FnMut(std::ops::Range<usize>, &[u8]) -> Result<(), T>,
    ) -> Result<(), T> {
        let mut done = 0;
        while done < len {
            let word = self.word(self.position / 8);
            let run = &word[(self.position % 8) as usize..];
            let run = &run[..run.len().min(len - done)];
            each(done..done + run.len(), run)?;
            done += run.len();
            self.position += run.len() as u64;
        }
        Ok(())
    }

    /// Writes the next bytes of the stream.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        let filled = self.walk(bytes.len(), |range, run| {
            bytes[range].copy_from_slice(run);
            Ok::<(), ()>(())
        });
        filled.expect("filling cannot fail");
    }

    /// Compares the next bytes of the stream; the error is the position of the first wrong one.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), u64> {
        let start = self.position;
        self.walk(bytes.len(), |range, run| {
            if &bytes[range.clone()] == run {
                return Ok(());
            }
            let wrong = bytes[range.clone()]
                .iter()
                .zip(run)
                .position(|(ours, theirs)| ours != theirs);
            Err(start + (range.start + wrong.unwrap_or(0)) as u64)
        })
    }
}

/// Where a stream's seed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seed {
    /// Known beforehand.
    Fixed(u64),
    /// The client's first eight bytes say it (little-endian), and are not part of the stream: many connections, each with
    /// bytes of its own, so that a byte of one in another is seen. See `Writer::ask`.
    Asked,
}

/// A stream and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Which stream.
    pub seed: Seed,
    /// How much of it.
    pub bytes: u64,
}

impl Payload {
    /// `bytes` bytes of the stream `seed`.
    pub fn new(seed: u64, bytes: u64) -> Payload {
        Payload {
            seed: Seed::Fixed(seed),
            bytes,
        }
    }

    /// `bytes` bytes of the stream that the client names.
    pub fn asked(bytes: u64) -> Payload {
        Payload {
            seed: Seed::Asked,
            bytes,
        }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of the stream {:?}", self.bytes, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_is_the_same_however_it_is_cut() {
        let mut whole = vec![0; 1000];
        Stream::new(7).fill(&mut whole);
        let mut cut = Stream::new(7);
        let mut pieces = Vec::new();
        for len in [1, 2, 3, 8, 0, 5, 981] {
            let mut piece = vec![0; len];
            cut.fill(&mut piece);
            pieces.extend(piece);
        }
        assert_eq!(whole, pieces);
        assert_eq!(Stream::new(7).check(&whole), Ok(()));
    }

    #[test]
    fn stream_names_the_first_wrong_byte() {
        let mut bytes = vec![0; 100];
        Stream::new(7).fill(&mut bytes);
        bytes[61] ^= 1;
        bytes[62] ^= 1;
        let mut stream = Stream::new(7);
        assert_eq!(stream.check(&bytes[..13]), Ok(()));
        assert_eq!(stream.check(&bytes[13..]), Err(61));
    }

    #[test]
    fn fresh_seeds_differ() {
        assert_ne!(fresh_seed(), fresh_seed());
    }
}
