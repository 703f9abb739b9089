//! Random bytes from the kernel.
//!
//! A session draws a few of them in half a dozen places, and a system call for each would cost more than the bytes: short draws come
//! out of a reserve of this thread's, each byte once.

use std::cell::RefCell;

/// Longer draws go to the kernel themselves.
const SHORT: usize = 32;

struct Reserve {
    bytes: [u8; 256],
    /// How many of them, the first ones, are still to be given out.
    left: usize,
}

thread_local! {
    static RESERVE: RefCell<Reserve> = const { RefCell::new(Reserve { bytes: [0; 256], left: 0 }) };
}

/// Fills `bytes` with random ones.
///
/// # Panics
/// When the kernel has none.
pub fn fill(bytes: &mut [u8]) {
    if bytes.len() > SHORT {
        return draw(bytes);
    }
    RESERVE.with_borrow_mut(|reserve| {
        if reserve.left < bytes.len() {
            draw(&mut reserve.bytes);
            reserve.left = reserve.bytes.len();
        }
        reserve.left -= bytes.len();
        let given = &mut reserve.bytes[reserve.left..][..bytes.len()];
        bytes.copy_from_slice(given);
        // Some of them become keys.
        given.fill(0);
    });
}

fn draw(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("getrandom(2) does not fail once the kernel has seeded it");
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
            // By chance alike: once in 2^110.
            assert!(!seen.contains(&bytes[..16].to_vec()));
            seen.push(bytes[..16].to_vec());
        }
        RESERVE.with_borrow(|reserve| assert!(reserve.bytes[reserve.left..].iter().all(|byte| *byte == 0)));
    }
}
