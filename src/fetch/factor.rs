//! Factorisation of `pq` in the key exchange, a product of two primes.
//!
//! Pollard's rho in Brent's form with Montgomery multiplication, which is fast even on a 32-bit processor without a divider. The
//! number comes from an unauthenticated server: primes, squares and small factors are handled, and the work is bounded.

/// Upper bound of steps. A product of two 32-bit primes takes some 2¹⁶.
const MAX_STEPS: u32 = 1 << 21;
/// Differences per greatest common divisor: they are multiplied first.
const BATCH: u32 = 128;

/// The factors of a product of two odd primes, the smaller one first. `None` for everything else.
#[must_use]
pub(crate) fn factor(pq: u64) -> Option<(u32, u32)> {
    if pq.is_multiple_of(2) || pq < 9 || pq >> 63 != 0 || is_prime(pq) {
        return None;
    }
    let root = pq.isqrt();
    let found = if root * root == pq {
        root
    } else {
        let mut steps = MAX_STEPS;
        (1..20).find_map(|seed| rho(pq, seed, &mut steps))?
    };
    let (small, large) = (found.min(pq / found), found.max(pq / found));
    let primes = small.checked_mul(large) == Some(pq) && is_prime(small) && is_prime(large);
    let small = u32::try_from(small).ok()?;
    let large = u32::try_from(large).ok()?;
    primes.then_some((small, large))
}

/// One walk of Pollard's rho. `None` if it finds no factor, or no step is left.
fn rho(n: u64, seed: u64, steps: &mut u32) -> Option<u64> {
    let field = Montgomery::new(n);
    let step = |x| field.add(field.mul(x, x), seed);
    let (mut fast, mut length) = (2, 1_u32);
    loop {
        let slow = fast;
        for _ in 0..length {
            fast = step(fast);
        }
        let mut done = 0;
        while done < length {
            let (kept, batch) = (fast, BATCH.min(length - done));
            *steps = steps.checked_sub(batch)?;
            let mut product = 1;
            for _ in 0..batch {
                fast = step(fast);
                product = field.mul(product, slow.abs_diff(fast));
            }
            let mut divisor = gcd(product, n);
            if divisor == n {
                // Both factors are in one batch: repeated one difference at a time.
                fast = kept;
                divisor = 1;
                for _ in 0..batch {
                    fast = step(fast);
                    divisor = gcd(slow.abs_diff(fast), n);
                    if divisor != 1 {
                        break;
                    }
                }
            }
            match divisor {
                1 => done += batch,
                divisor if divisor == n => return None,
                divisor => return Some(divisor),
            }
        }
        length = length.checked_mul(2)?;
    }
}

/// The Miller-Rabin test with bases that are proven to suffice below 2⁶⁴.
fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 || n.is_multiple_of(2) {
        return n == 2;
    }
    if BASES.contains(&n) {
        return true;
    }
    let field = Montgomery::new(n);
    let (one, minus_one) = (field.one(), n - field.one());
    let twos = (n - 1).trailing_zeros();
    BASES.iter().all(|&base| {
        let mut x = field.pow(field.enter(base), (n - 1) >> twos);
        if x == one || x == minus_one {
            return true;
        }
        (1..twos).any(|_| {
            x = field.mul(x, x);
            x == minus_one
        })
    })
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Arithmetic modulo an odd number below 2⁶³ in Montgomery form: a represents a·2⁶⁴.
struct Montgomery {
    n: u64,
    /// −n⁻¹ modulo 2⁶⁴.
    negated_inverse: u64,
}

impl Montgomery {
    fn new(n: u64) -> Montgomery {
        // Newton's iteration: each round doubles the number of correct bits. n itself has three.
        let inverse = (0..5).fold(n, |x, _| x.wrapping_mul(2_u64.wrapping_sub(n.wrapping_mul(x))));
        Montgomery {
            n,
            negated_inverse: inverse.wrapping_neg(),
        }
    }

    fn one(&self) -> u64 {
        // 2⁶⁴ − n and 2⁶⁴ are equal modulo n.
        self.n.wrapping_neg() % self.n
    }

    fn enter(&self, a: u64) -> u64 {
        (0..64).fold(a % self.n, |x, _| self.add(x, x))
    }

    fn add(&self, a: u64, b: u64) -> u64 {
        // Both are below 2⁶³.
        let sum = a + b;
        if sum >= self.n { sum - self.n } else { sum }
    }

    fn mul(&self, a: u64, b: u64) -> u64 {
        let product = u128::from(a) * u128::from(b);
        let multiple = (product as u64).wrapping_mul(self.negated_inverse);
        // Below 2·n·2⁶⁴, hence within 128 bits.
        let sum = (product + u128::from(multiple) * u128::from(self.n)) >> 64;
        let sum = sum as u64;
        if sum >= self.n { sum - self.n } else { sum }
    }

    fn pow(&self, mut base: u64, mut exponent: u64) -> u64 {
        let mut power = self.one();
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = self.mul(power, base);
            }
            base = self.mul(base, base);
            exponent >>= 1;
        }
        power
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_two_primes_have_their_factors() {
        let cases: [(u32, u32); 7] = [
            (3, 5),
            (3, 3),
            (3, 4_294_967_291),
            (1_229_739_323, 1_402_015_859),
            (2_147_483_629, 2_147_483_647),
            (3_037_000_493, 3_037_000_493),
            (65_521, 65_537),
        ];
        for (p, q) in cases {
            assert_eq!(factor(u64::from(p) * u64::from(q)), Some((p, q)));
        }
        assert_eq!(factor(0x17ed_4894_1a08_f981), Some((0x494c_553b, 0x5391_1073)));
    }

    #[test]
    fn other_numbers_have_none_and_end() {
        let prime = 9_223_372_036_854_775_783;
        let cases = [
            0,
            1,
            2,
            4,
            prime,
            27,
            3 * 5 * 7,
            6,
            // A factor that 32 bits do not hold.
            3 * 1_537_228_672_809_129_301,
            u64::MAX,
            1 << 62,
            2_097_143 * 2_097_143 * 2_097_143,
            13_u64.pow(17),
        ];
        for n in cases {
            assert_eq!(factor(n), None, "{n}");
        }
    }

    #[test]
    fn primes_are_told_from_others() {
        let sieve = |n: u64| n > 1 && (2..n).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
        for n in (1..20_000).step_by(2) {
            assert_eq!(is_prime(n), sieve(n), "{n}");
        }
        for strong in [3_215_031_751, 3_825_123_056_546_413_051, 561, 2047] {
            assert!(!is_prime(strong), "{strong}");
        }
        assert!(is_prime(9_223_372_036_854_775_783));
    }
}
