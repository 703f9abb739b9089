//! Arithmetic modulo p = 2^255 − 19.
//!
//! Nothing here is secret, so the arithmetic is written as loops, a tenth of the size of unrolled code, and its time may depend
//! on the numbers. The tests compare it with fiat-crypto, whose code is generated from a proof.
#![allow(clippy::arithmetic_side_effects, reason = "limbs never fill their words")]

/// Limbs of an element. They have 26 and 25 bits alternately: ten make 255 bits, and a product of two fits into 64.
const LIMBS: usize = 10;

const fn bits(limb: usize) -> u32 {
    26 - (limb as u32 & 1)
}

/// An element of the field of integers modulo 2^255 − 19, each limb below 2^26 + 2^10.
#[derive(Clone, Copy)]
pub(super) struct Element([u32; LIMBS]);

impl Element {
    pub(super) fn from_bytes(bytes: &[u8; 32]) -> Element {
        let mut bytes = bytes.iter();
        let (mut limbs, mut pending, mut pending_bits) = ([0; LIMBS], 0_u64, 0);
        for (at, limb) in limbs.iter_mut().enumerate() {
            while pending_bits < bits(at) {
                pending |= u64::from(*bytes.next().unwrap_or(&0)) << pending_bits;
                pending_bits += 8;
            }
            *limb = (pending & ((1 << bits(at)) - 1)) as u32;
            pending >>= bits(at);
            pending_bits -= bits(at);
        }
        // The input has 256 bits; the highest belongs to no limb.
        Element(limbs)
    }

    pub(super) fn small(value: u32) -> Element {
        let mut sums = [0; LIMBS];
        let [lowest, ..] = &mut sums;
        *lowest = u64::from(value);
        Element::carried(sums)
    }

    pub(super) fn to_bytes(self) -> [u8; 32] {
        // The value is below 2p, so p is subtracted once or not at all: the carry out of `value + 19` decides.
        let mut quotient = 19;
        for (at, limb) in self.0.iter().enumerate() {
            quotient = (limb + quotient) >> bits(at);
        }
        let mut limbs = self.0.iter().enumerate();
        let (mut bytes, mut carry) = ([0; 32], 19 * quotient);
        let (mut pending, mut pending_bits) = (0_u64, 0_u32);
        for byte in &mut bytes {
            while pending_bits < 8
                && let Some((at, limb)) = limbs.next()
            {
                let sum = limb + carry;
                carry = sum >> bits(at);
                pending |= u64::from(sum & ((1 << bits(at)) - 1)) << pending_bits;
                pending_bits += bits(at);
            }
            *byte = pending as u8;
            pending >>= 8;
            pending_bits = pending_bits.saturating_sub(8);
        }
        bytes
    }

    /// Carries each limb's excess into the next limb, and that of the last limb 19 times into the first, since 2^255 = 19 modulo p.
    #[inline(never)]
    fn carried(mut sums: [u64; LIMBS]) -> Element {
        let mut carry = 0_u64;
        // After one round the last carry may exceed the first limb; after two rounds it is at most 19.
        for _ in 0..2 {
            for (at, sum) in sums.iter_mut().enumerate() {
                let whole = sum.wrapping_add(carry);
                carry = whole >> bits(at);
                *sum = whole & ((1 << bits(at)) - 1);
            }
            carry = carry.wrapping_mul(19);
        }
        let mut limbs = [0; LIMBS];
        for (limb, sum) in limbs.iter_mut().zip(sums) {
            *limb = sum as u32;
        }
        let [lowest, ..] = &mut limbs;
        *lowest = lowest.wrapping_add(carry as u32);
        Element(limbs)
    }

    pub(super) fn add(&self, other: &Element) -> Element {
        let mut sums = [0; LIMBS];
        for (sum, (a, b)) in sums.iter_mut().zip(self.0.iter().zip(&other.0)) {
            *sum = u64::from(*a) + u64::from(*b);
        }
        Element::carried(sums)
    }

    pub(super) fn sub(&self, other: &Element) -> Element {
        let mut sums = [0; LIMBS];
        for (at, (sum, (a, b))) in sums.iter_mut().zip(self.0.iter().zip(&other.0)).enumerate() {
            // Adding 4p, limb by limb, keeps the difference above zero.
            let p = (1_u64 << bits(at)) - if at == 0 { 19 } else { 1 };
            *sum = u64::from(*a) + 4 * p - u64::from(*b);
        }
        Element::carried(sums)
    }

    /// The product. A product of two odd limbs counts twice, because an odd limb's weight is half a bit above an even spacing.
    ///
    /// No sum overflows: ten products of 2^27 · 19 · 2^27 are below 2^62.
    #[inline(never)]
    pub(super) fn mul(&self, other: &Element) -> Element {
        let mut sums = [0_u64; LIMBS];
        for (i, a) in self.0.iter().enumerate() {
            for (j, b) in other.0.iter().enumerate() {
                let (at, b) = if i + j < LIMBS {
                    (i + j, *b)
                } else {
                    (i + j - LIMBS, b.wrapping_mul(19))
                };
                let a = a << (i & j & 1);
                if let Some(sum) = sums.get_mut(at) {
                    *sum = sum.wrapping_add(u64::from(a).wrapping_mul(u64::from(b)));
                }
            }
        }
        Element::carried(sums)
    }

    pub(super) fn mul_121666(&self) -> Element {
        Element::carried(self.0.map(|limb| u64::from(limb) * 121_666))
    }

    pub(super) fn square(&self) -> Element {
        self.mul(self)
    }

    /// The element to the power 2^times, by squaring.
    #[inline(never)]
    pub(super) fn squares(&self, times: usize) -> Element {
        let mut out = self.square();
        for _ in 1..times {
            out = out.square();
        }
        out
    }

    /// The element to the power 2^250 − 1, by the usual addition chain.
    #[inline(never)]
    pub(super) fn power_2_250_1(&self) -> Element {
        let e2 = self.square().mul(self);
        let e4 = e2.squares(2).mul(&e2);
        let e5 = e4.square().mul(self);
        let e10 = e5.squares(5).mul(&e5);
        let e20 = e10.squares(10).mul(&e10);
        let e40 = e20.squares(20).mul(&e20);
        let e50 = e40.squares(10).mul(&e10);
        let e100 = e50.squares(50).mul(&e50);
        let e200 = e100.squares(100).mul(&e100);
        e200.squares(50).mul(&e50)
    }

    /// The element to the power (p − 1) / 2 = 2^254 − 10: one for a square, minus one otherwise.
    #[cfg(test)]
    pub(super) fn legendre(&self) -> Element {
        let power_6 = self.square().mul(self).square();
        self.power_2_250_1().squares(4).mul(&power_6)
    }

    /// The inverse: the element to the power p − 2 = 2^255 − 21.
    pub(super) fn invert(&self) -> Element {
        let power_11 = self.squares(3).mul(&self.square()).mul(self);
        self.power_2_250_1().squares(5).mul(&power_11)
    }
}

/// Whether a number below p is a square modulo p, and not zero.
///
/// This is the Jacobi symbol by shifts and subtractions, a tenth of the work of an exponentiation. Its time depends on the number.
pub(super) fn is_square(bytes: &[u8; 32]) -> bool {
    let mut a = [0_u64; 4];
    for (word, bytes) in a.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let mut n = [u64::MAX - 18, u64::MAX, u64::MAX, u64::MAX >> 1];
    let mut square = true;
    while a != [0; 4] {
        while a[0] & 1 == 0 {
            let zeros = a[0].trailing_zeros().min(63);
            let mut above = 0;
            for word in a.iter_mut().rev() {
                (*word, above) = (*word >> zeros | above << (64 - zeros), *word);
            }
            square ^= zeros & 1 == 1 && matches!(n[0] & 7, 3 | 5);
        }
        if a.iter().rev().lt(n.iter().rev()) {
            core::mem::swap(&mut a, &mut n);
            square ^= a[0] & n[0] & 3 == 3;
        }
        let mut borrow = false;
        for (a, n) in a.iter_mut().zip(&n) {
            let (difference, one) = a.overflowing_sub(*n);
            let (difference, other) = difference.overflowing_sub(u64::from(borrow));
            *a = difference;
            borrow = one || other;
        }
    }
    square && n == [1, 0, 0, 0]
}
