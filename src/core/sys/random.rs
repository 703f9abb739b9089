//! Random bytes from the kernel.
//!
//! A session draws a few bytes at half a dozen places, where a system call each would cost more than the bytes. Short draws
//! therefore come out of a thread-local reserve, and each of its bytes is given out once.

use std::cell::RefCell;
use std::io;

/// Longest draw in bytes that the reserve serves. Longer draws are system calls of their own.
const MAX_RESERVED: usize = 32;

struct Reserve {
    bytes: [u8; 256],
    /// The number of bytes at the start that were not given out yet.
    left: usize,
}

thread_local! {
    static RESERVE: RefCell<Reserve> = const { RefCell::new(Reserve { bytes: [0; 256], left: 0 }) };
}

/// Fills `bytes` with random bytes.
///
/// # Panics
/// When getrandom(2) fails, which it does not once the kernel has seeded its generator.
pub fn fill(bytes: &mut [u8]) {
    try_fill(bytes).expect("getrandom(2) does not fail once the kernel has seeded its generator");
}

/// A random number, for the jitter of waits.
#[must_use]
pub fn u32() -> u32 {
    let mut bytes = [0; 4];
    fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// Fills `bytes` with random bytes, for a caller that reports a kernel without a generator.
///
/// # Errors
/// As getrandom(2).
pub fn try_fill(bytes: &mut [u8]) -> io::Result<()> {
    if bytes.len() > MAX_RESERVED {
        return draw(bytes);
    }
    RESERVE.with_borrow_mut(|reserve| {
        if reserve.left < bytes.len() {
            draw(&mut reserve.bytes)?;
            reserve.left = reserve.bytes.len();
        }
        reserve.left -= bytes.len();
        let given = &mut reserve.bytes[reserve.left..][..bytes.len()];
        bytes.copy_from_slice(given);
        // Given bytes may become keys, so none stays in the reserve.
        given.fill(0);
        Ok(())
    })
}

/// A random number below `end`, which is at most 65,536. The bias is at most `end` / 65,536: for lengths and pauses, not for keys.
#[must_use]
pub fn below(end: usize) -> usize {
    let mut drawn = [0; 2];
    fill(&mut drawn);
    usize::from(u16::from_le_bytes(drawn)) % end.max(1)
}

fn draw(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_draw_is_given_twice_or_left_behind() {
        let mut seen = Vec::new();
        for len in [16, 32, 17, 40, 300].into_iter().cycle().take(100) {
            let mut bytes = vec![0; len];
            fill(&mut bytes);
            // Two equal draws by chance: once in 2^110.
            assert!(!seen.contains(&bytes[..16].to_vec()));
            seen.push(bytes[..16].to_vec());
        }
        RESERVE.with_borrow(|reserve| assert!(reserve.bytes[reserve.left..].iter().all(|byte| *byte == 0)));
    }
}
