//! Is this X25519 share the x of a point of the curve?
//!
//! A fake server that answers with plain random bytes is told from a real one by this test: half of all values are no point's
//! x. Read RFC 7748 §4.1 for the curve. Slow and simple; 256-bit numbers as four words, least significant first.

type Number = [u64; 4];

const P: Number = [0xffff_ffff_ffff_ffed, u64::MAX, u64::MAX, 0x7fff_ffff_ffff_ffff];

/// Whether `share` (little-endian) is below the prime and x³ + 486662x² + x is a square.
pub fn is_point(share: &[u8; 32]) -> bool {
    let mut x = [0; 4];
    for (word, bytes) in x.iter_mut().zip(share.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
    }
    if !less(&x, &P) {
        return false;
    }
    let square = multiply(&x, &x);
    let inner = add(&add(&square, &multiply(&x, &[486_662, 0, 0, 0])), &[1, 0, 0, 0]);
    let right = multiply(&x, &inner);
    // Euler: r^((p-1)/2) is 1 for a square, 0 for zero. (p-1)/2 = 2^254 - 10.
    let exponent = [0xffff_ffff_ffff_fff6, u64::MAX, u64::MAX, 0x3fff_ffff_ffff_ffff];
    let power = power(&right, &exponent);
    power == [1, 0, 0, 0] || power == [0; 4]
}

fn less(a: &Number, b: &Number) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

fn subtract(a: &Number, b: &Number) -> Number {
    let mut result = [0; 4];
    let mut borrow = false;
    for (at, word) in result.iter_mut().enumerate() {
        let (first, under) = a[at].overflowing_sub(b[at]);
        let (second, under_again) = first.overflowing_sub(u64::from(borrow));
        *word = second;
        borrow = under || under_again;
    }
    result
}

/// Both below the prime, so the sum stays below 2^256.
fn add(a: &Number, b: &Number) -> Number {
    let mut result = [0; 4];
    let mut carry = 0u128;
    for (at, word) in result.iter_mut().enumerate() {
        carry += u128::from(a[at]) + u128::from(b[at]);
        *word = carry as u64;
        carry >>= 64;
    }
    if less(&result, &P) {
        result
    } else {
        subtract(&result, &P)
    }
}

fn multiply(a: &Number, b: &Number) -> Number {
    let mut wide = [0u64; 8];
    for (i, &x) in a.iter().enumerate() {
        let mut carry = 0u128;
        for (j, &y) in b.iter().enumerate() {
            carry += u128::from(x) * u128::from(y) + u128::from(wide[i + j]);
            wide[i + j] = carry as u64;
            carry >>= 64;
        }
        wide[i + 4] = carry as u64;
    }
    // 2^256 = 38 modulo the prime: fold the upper half down, then what overflowed of that.
    let mut result = [0; 4];
    let mut carry = 0u128;
    for (at, word) in result.iter_mut().enumerate() {
        carry += u128::from(wide[at]) + u128::from(wide[at + 4]) * 38;
        *word = carry as u64;
        carry >>= 64;
    }
    while carry != 0 {
        carry *= 38;
        for word in &mut result {
            carry += u128::from(*word);
            *word = carry as u64;
            carry >>= 64;
        }
    }
    while !less(&result, &P) {
        result = subtract(&result, &P);
    }
    result
}

fn power(base: &Number, exponent: &Number) -> Number {
    let mut result = [1, 0, 0, 0];
    for bit in (0..256).rev() {
        result = multiply(&result, &result);
        if (exponent[bit / 64] >> (bit % 64)) & 1 == 1 {
            result = multiply(&result, base);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn published_public_keys_are_points() {
        // RFC 7748 §6.1, Alice's and Bob's, and the base point.
        let alice: [u8; 32] = [
            0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a,
            0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a,
        ];
        let bob: [u8; 32] = [
            0xde, 0x9e, 0xdb, 0x7d, 0x7b, 0x7d, 0xc1, 0xb4, 0xd3, 0x5b, 0x61, 0xc2, 0xec, 0xe4, 0x35, 0x37,
            0x3f, 0x83, 0x43, 0xc8, 0x5b, 0x78, 0x67, 0x4d, 0xad, 0xfc, 0x7e, 0x14, 0x6f, 0x88, 0x2b, 0x4f,
        ];
        let mut base = [0; 32];
        base[0] = 9;
        assert!(is_point(&alice) && is_point(&bob) && is_point(&base));
    }

    #[test]
    fn about_half_of_all_values_are_points() {
        let mut rng = Rng::new(1);
        let points = (0..400).filter(|_| {
            let mut share: [u8; 32] = rng.array();
            share[31] &= 0x7f;
            is_point(&share)
        });
        assert!((150..250).contains(&points.count()));
    }

    #[test]
    fn values_above_the_prime_are_refused() {
        let mut base = [0xff; 32];
        assert!(!is_point(&base));
        base[31] = 0x7f;
        base[0] = 0xed;
        assert!(!is_point(&base));
    }
}
