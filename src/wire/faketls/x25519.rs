//! A key share that no prober can tell from a genuine X25519 public key (RFC 7748).
//!
//! A genuine one is the x of a point in the prime-order subgroup. Half of all 32-byte strings are no point of the curve,
//! and of those that are, seven of eight lie outside the subgroup: both can be tested by whoever looks. So: draw a number, map it
//! to a point (Elligator 2, RFC 9380, section 6.7.1), then multiply the point by the cofactor 8. Nobody needs the private key:
//! nothing here is secret, so the field arithmetic is loops, a tenth of the size of the unrolled kind. The tests hold it against
//! fiat-crypto's.
//!
//! The one division is most of the work, and serves as many shares as are made at once: hence [`KeySharePool`].
#![allow(
    clippy::arithmetic_side_effects,
    reason = "field arithmetic on limbs that never fill their words"
)]

/// The curve's coefficient A.
const A: u32 = 486_662;
/// Three doublings are a multiplication by the cofactor.
const DOUBLINGS: usize = 3;
/// Shares that are made at once: with 8 of them the division is a quarter of the work. 256 bytes.
const BATCH: usize = 8;

/// Key shares made in advance.
#[derive(Debug, Default)]
pub struct KeySharePool {
    shares: [[u8; 32]; BATCH],
    left: usize,
}

impl KeySharePool {
    /// A key share that nobody has had, made of random bytes from `fill`.
    pub fn take(&mut self, fill: &mut dyn FnMut(&mut [u8])) -> [u8; 32] {
        if self.left == 0 {
            self.shares = shares(fill);
            self.left = BATCH;
        }
        self.left -= 1;
        self.shares.get(self.left).copied().unwrap_or_default()
    }
}

/// A key share made of random bytes from `fill`.
#[must_use]
pub fn key_share(fill: &mut dyn FnMut(&mut [u8])) -> [u8; 32] {
    let [share] = shares(fill);
    share
}

fn shares<const N: usize>(fill: &mut dyn FnMut(&mut [u8])) -> [[u8; 32]; N] {
    affine([(); N].map(|()| {
        loop {
            let mut bytes = [0; 32];
            fill(&mut bytes);
            if let Some(point) = times_8(map_to_curve(&Element::from_bytes(&bytes))) {
                break point;
            }
        }
    }))
}

/// x as a fraction.
type Point = (Element, Element);

/// Either −A/(1 + 2r²) or what that lacks to −A is the x of a point.
fn map_to_curve(r: &Element) -> Point {
    let a = Element::small(A);
    let t = r.square();
    let t = t.add(&t);
    let at = a.mul(&t);
    let z = t.add(&Element::small(1));
    // x³ + Ax² + x for x = −A/z, times −z⁴: as good, since −1 is a square.
    let value = a.mul(&z).mul(&z.square().sub(&a.mul(&at)));
    let x = if is_square(&value.to_bytes()) { a } else { at };
    (Element::small(0).sub(&x), z)
}

/// `None`: the point is of small order.
fn times_8((mut x, mut z): Point) -> Option<Point> {
    for _ in 0..DOUBLINGS {
        (x, z) = double(&x, &z);
    }
    z.to_bytes().iter().any(|byte| *byte != 0).then_some((x, z))
}

/// The fractions' values, by one division: each one's inverse is that of all together times all the others.
fn affine<const N: usize>(points: [Point; N]) -> [[u8; 32]; N] {
    let mut product = Element::small(1);
    let before = points.map(|(_, z)| {
        let before = product;
        product = product.mul(&z);
        before
    });
    let mut inverse = product.invert();
    let mut out = [[0; 32]; N];
    for ((out, (x, z)), before) in out.iter_mut().zip(points).zip(before).rev() {
        *out = x.mul(&before.mul(&inverse)).to_bytes();
        inverse = inverse.mul(&z);
    }
    out
}

/// Whether a number below p = 2^255 − 19 is a square modulo p, and not zero: its Jacobi symbol, by shifts and subtractions. That is a
/// tenth of the work of an exponentiation, and its time may depend on the number, which is nobody's secret.
fn is_square(bytes: &[u8; 32]) -> bool {
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

/// The doubling of RFC 7748's ladder, on x and z alone.
fn double(x: &Element, z: &Element) -> (Element, Element) {
    let sum = x.add(z).square();
    let difference = x.sub(z).square();
    let product = sum.sub(&difference);
    (
        sum.mul(&difference),
        product.mul(&difference.add(&product.mul_121666())),
    )
}

/// Words of an element: by turns 26 and 25 bits, so that 10 of them make 255 and no product of two needs more than 64.
const LIMBS: usize = 10;

const fn bits(limb: usize) -> u32 {
    26 - (limb as u32 & 1)
}

/// An element of the field of integers modulo 2^255 − 19, each limb below 2^26 + 2^10.
#[derive(Clone, Copy)]
struct Element([u32; LIMBS]);

impl Element {
    fn from_bytes(bytes: &[u8; 32]) -> Element {
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
        // 256 bits came in; the highest belongs to no limb.
        Element(limbs)
    }

    fn small(value: u32) -> Element {
        let mut sums = [0; LIMBS];
        let [lowest, ..] = &mut sums;
        *lowest = u64::from(value);
        Element::carried(sums)
    }

    fn to_bytes(self) -> [u8; 32] {
        // The limbs are below 2^255 + a little, so p goes into them once or not at all: the carry out of `limbs + 19` tells.
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

    /// Each limb's excess goes to the next, and that of the last to the first, 19 times: 2^255 is 19.
    #[inline(never)]
    fn carried(mut sums: [u64; LIMBS]) -> Element {
        let mut carry = 0_u64;
        // After one round the last carry may still be too much for the first limb; after two it is at most 19.
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

    fn add(&self, other: &Element) -> Element {
        let mut sums = [0; LIMBS];
        for (sum, (a, b)) in sums.iter_mut().zip(self.0.iter().zip(&other.0)) {
            *sum = u64::from(*a) + u64::from(*b);
        }
        Element::carried(sums)
    }

    fn sub(&self, other: &Element) -> Element {
        let mut sums = [0; LIMBS];
        for (at, (sum, (a, b))) in sums.iter_mut().zip(self.0.iter().zip(&other.0)).enumerate() {
            // Four times p, limb by limb, keeps the difference above zero.
            let p = (1_u64 << bits(at)) - if at == 0 { 19 } else { 1 };
            *sum = u64::from(*a) + 4 * p - u64::from(*b);
        }
        Element::carried(sums)
    }

    /// A limb at an odd place stands half a bit lower than the even ones around it suggest: two of them make double.
    ///
    /// No sum overflows: ten products of 2^27 · 19 · 2^27 are below 2^62.
    #[inline(never)]
    fn mul(&self, other: &Element) -> Element {
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

    fn mul_121666(&self) -> Element {
        Element::carried(self.0.map(|limb| u64::from(limb) * 121_666))
    }

    fn square(&self) -> Element {
        self.mul(self)
    }

    /// The element squared `times` times: to the power 2^times.
    #[inline(never)]
    fn squares(&self, times: usize) -> Element {
        let mut out = self.square();
        for _ in 1..times {
            out = out.square();
        }
        out
    }

    /// To the power 2^250 − 1, by the usual addition chain.
    #[inline(never)]
    fn power_2_250_1(&self) -> Element {
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

    /// To the power (p − 1) / 2 = 2^254 − 10: one for a square, minus one for the others.
    #[cfg(test)]
    fn legendre(&self) -> Element {
        let power_6 = self.square().mul(self).square();
        self.power_2_250_1().squares(4).mul(&power_6)
    }

    /// To the power p − 2 = 2^255 − 21.
    fn invert(&self) -> Element {
        let power_11 = self.squares(3).mul(&self.square()).mul(self);
        self.power_2_250_1().squares(5).mul(&power_11)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_what_the_exponentiation_says() {
        let one = Element::small(1).to_bytes();
        assert!(!is_square(&[0; 32]));
        let mut element = Element::small(2);
        for step in 1..2000 {
            let bytes = element.to_bytes();
            assert_eq!(
                is_square(&bytes),
                element.legendre().to_bytes() == one,
                "{bytes:02x?}"
            );
            element = element.square().add(&Element::small(step));
        }
    }
    use alloc::vec;
    use alloc::vec::Vec;

    fn hex(text: &str) -> [u8; 32] {
        let mut bytes = [0; 32];
        base16ct::lower::decode(text, &mut bytes).unwrap();
        bytes
    }

    // RFC 7748, section 6.1: Alice's public key, which is in the prime-order subgroup as every public key is.
    const ALICE: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";

    /// The same in arithmetic that was generated from a proof.
    mod reference {
        use fiat_crypto::curve25519_64::*;

        type Tight = fiat_25519_tight_field_element;
        type Loose = fiat_25519_loose_field_element;
        const TIGHT: Tight = fiat_25519_tight_field_element([0; 5]);
        const LOOSE: Loose = fiat_25519_loose_field_element([0; 5]);

        fn read(bytes: &[u8; 32]) -> (Tight, Loose) {
            let (mut tight, mut loose) = (TIGHT, LOOSE);
            fiat_25519_from_bytes(&mut tight, bytes);
            fiat_25519_relax(&mut loose, &tight);
            (tight, loose)
        }

        fn write(loose: &Loose) -> [u8; 32] {
            let (mut tight, mut bytes) = (TIGHT, [0; 32]);
            fiat_25519_carry(&mut tight, loose);
            fiat_25519_to_bytes(&mut bytes, &tight);
            bytes
        }

        /// Product, sum, difference and 121,666 times the first.
        pub(super) fn all(a: &[u8; 32], b: &[u8; 32]) -> [[u8; 32]; 4] {
            let ((a, loose_a), (b, loose_b)) = (read(a), read(b));
            let (mut product, mut sum, mut difference, mut multiple) = (TIGHT, LOOSE, LOOSE, TIGHT);
            fiat_25519_carry_mul(&mut product, &loose_a, &loose_b);
            fiat_25519_add(&mut sum, &a, &b);
            fiat_25519_sub(&mut difference, &a, &b);
            fiat_25519_carry_scmul_121666(&mut multiple, &loose_a);
            let (mut product_bytes, mut multiple_bytes) = ([0; 32], [0; 32]);
            fiat_25519_to_bytes(&mut product_bytes, &product);
            fiat_25519_to_bytes(&mut multiple_bytes, &multiple);
            [product_bytes, write(&sum), write(&difference), multiple_bytes]
        }
    }

    #[test]
    fn arithmetic_is_that_of_the_reference() {
        // The edges: 0, 1, what lies around p and 2^255, and limbs full of ones; then numbers from a generator.
        let mut edges = vec![[0; 32], [0xff; 32], [0x55; 32], [0xaa; 32]];
        for low in [0xec, 0xed, 0xee, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, 0x7f);
            edges.push(bytes);
        }
        let mut one = [0; 32];
        one[0] = 1;
        edges.push(one);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        edges.extend((0..40).map(|_| {
            [0; 32].map(|_: u8| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
        }));
        for edge in &mut edges {
            edge[31] &= 0x7f;
        }
        for a in &edges {
            for b in &edges {
                let (x, y) = (Element::from_bytes(a), Element::from_bytes(b));
                let ours = [x.mul(&y), x.add(&y), x.sub(&y), x.mul_121666()].map(Element::to_bytes);
                assert_eq!(ours, reference::all(a, b), "{a:?} {b:?}");
                // Results are as good as inputs, however often.
                let long = x.sub(&y).mul(&x.add(&y)).sub(&x.square()).add(&y.square());
                assert_eq!(long.to_bytes(), [0; 32], "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn inverse_times_itself_is_one() {
        let x = Element::from_bytes(&hex(ALICE));
        assert_eq!(x.mul(&x.invert()).to_bytes(), Element::small(1).to_bytes());
    }

    /// The affine x of a point, as bytes.
    fn x_of(point: Point) -> [u8; 32] {
        let [x] = affine([point]);
        x
    }

    fn from_x(bytes: [u8; 32]) -> Point {
        (Element::from_bytes(&bytes), Element::small(1))
    }

    fn is_point(bytes: &[u8; 32]) -> bool {
        let x = Element::from_bytes(bytes);
        let curve = x.mul(&x.square().add(&x.mul(&Element::small(A))).add(&Element::small(1)));
        is_square(&curve.to_bytes())
    }

    /// The ladder of RFC 7748, section 5, without its clamping: whether the point times the order of the subgroup is nothing.
    fn is_in_subgroup(share: &[u8; 32]) -> bool {
        // 2^252 + 27742317777372353535851937790883648493.
        let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let x1 = Element::from_bytes(share);
        let one = Element::small(1);
        let (mut low, mut high) = ((one, Element::small(0)), (x1, one));
        for bit in (0..256).rev() {
            let is_set = order[bit / 8] >> (bit % 8) & 1 == 1;
            let plus = low.0.add(&low.1).mul(&high.0.sub(&high.1));
            let minus = low.0.sub(&low.1).mul(&high.0.add(&high.1));
            let sum = (plus.add(&minus).square(), x1.mul(&plus.sub(&minus).square()));
            let doubled = if is_set { high } else { low };
            let doubled = double(&doubled.0, &doubled.1);
            (low, high) = if is_set { (sum, doubled) } else { (doubled, sum) };
        }
        low.1.to_bytes() == [0; 32]
    }

    #[test]
    fn numbers_are_mapped_as_the_document_says() {
        // Its formulas on Python's integers. 3 is of the first kind.
        for (number, x) in [
            (
                2,
                "b349328ee3388ee3388ee3388ee3388ee3388ee3388ee3388ee3388ee3388e63",
            ),
            (
                3,
                "55c4aea1bc86f21aca6b28afa1bc86f21aca6b28afa1bc86f21aca6b28afa13c",
            ),
            (
                65_537,
                "97042a1cf4e3ee67c93254cc5e7849d75e3bfbcb71c8c06c0894c99ced76e778",
            ),
        ] {
            assert_eq!(x_of(map_to_curve(&Element::small(number))), hex(x), "{number}");
        }
    }

    #[test]
    fn every_number_is_mapped_to_a_point_and_a_share_of_the_subgroup() {
        for byte in 1..=255_u8 {
            let point = map_to_curve(&Element::from_bytes(&[byte; 32]));
            assert!(is_point(&x_of(point)), "{byte}");
            if byte % 16 == 3 {
                let share = x_of(times_8(point).expect("hardly any is of small order"));
                assert!(is_point(&share) && is_in_subgroup(&share), "{byte}");
            }
        }
    }

    #[test]
    fn points_outside_are_told_from_those_inside() {
        assert!(is_in_subgroup(&hex(ALICE)));
        let mut outside = [0; 32];
        // Seven of eight points are.
        let found = (2..200).any(|x| {
            outside[0] = x;
            is_point(&outside) && !is_in_subgroup(&outside)
        });
        assert!(found);
    }

    #[test]
    fn the_base_point_times_eight() {
        let mut nine = [0; 32];
        nine[0] = 9;
        // The affine formulas on Python's integers, a way of computing that shares nothing with ours.
        let expected = hex("6899c948ed6f71f11ea974adcaed787aa15cb6c84d883bd82d5cd6aad7a65f27");
        assert_eq!(times_8(from_x(nine)).map(x_of), Some(expected));
    }

    #[test]
    fn small_order_is_no_share() {
        // RFC 7748, section 6.1 warns of them: 0, 1 and a point of order 8.
        let mut one = [0; 32];
        one[0] = 1;
        let eighth = hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
        for x in [[0; 32], one, eighth] {
            assert!(times_8(from_x(x)).is_none(), "{x:?}");
        }
    }

    #[test]
    fn a_stock_gives_what_one_at_a_time_would_and_nothing_twice() {
        let draws = || {
            let mut byte = 0;
            move |bytes: &mut [u8]| {
                byte += 1;
                bytes.fill(byte);
            }
        };
        let (mut stock, mut fill) = (KeySharePool::default(), draws());
        let mut taken: Vec<_> = (0..2 * BATCH).map(|_| stock.take(&mut fill)).collect();
        let mut fill = draws();
        let mut single: Vec<_> = (0..2 * BATCH).map(|_| key_share(&mut fill)).collect();
        taken.sort();
        single.sort();
        assert_eq!(taken, single);
        taken.dedup();
        assert_eq!(taken.len(), 2 * BATCH);
    }
}
