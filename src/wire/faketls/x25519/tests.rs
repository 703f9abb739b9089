//! Field arithmetic against a reference, and shares against the definition of the subgroup.

use super::*;
use alloc::vec;
use alloc::vec::Vec;

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

fn hex(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    base16ct::lower::decode(text, &mut bytes).unwrap();
    bytes
}

// Alice's public key of RFC 7748, section 6.1. Every public key is in the prime-order subgroup.
const ALICE: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";

/// The same arithmetic by fiat-crypto, whose code is generated from a proof.
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
            // Results are valid inputs again.
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
    // Computed with the affine formulas on Python's integers, independently of this module.
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
fn a_pool_gives_the_shares_of_single_calls_and_none_twice() {
    let draws = || {
        let mut byte = 0;
        move |bytes: &mut [u8]| {
            byte += 1;
            bytes.fill(byte);
        }
    };
    let (mut pool, mut fill) = (KeySharePool::default(), draws());
    let mut taken: Vec<_> = (0..2 * BATCH).map(|_| pool.take(&mut fill)).collect();
    let mut fill = draws();
    let mut single: Vec<_> = (0..2 * BATCH).map(|_| key_share(&mut fill)).collect();
    taken.sort();
    single.sort();
    assert_eq!(taken, single);
    taken.dedup();
    assert_eq!(taken.len(), 2 * BATCH);
}
