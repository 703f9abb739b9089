//! A key share that no prober can tell from a genuine X25519 public key (RFC 7748).
//!
//! A genuine one is the x of a point in the prime-order subgroup. Half of all 32-byte strings are no point of the curve,
//! and of those that are, seven of eight lie outside the subgroup: both can be tested by whoever looks. So: draw x until
//! it is a point's, then multiply the point by the cofactor 8. That costs a third of a real key generation, and nobody
//! needs the private key. The field arithmetic is fiat-crypto's.

#[cfg(target_pointer_width = "32")]
use fiat_crypto::curve25519_32 as fiat;
#[cfg(target_pointer_width = "64")]
use fiat_crypto::curve25519_64 as fiat;

use fiat::{fiat_25519_loose_field_element as Loose, fiat_25519_tight_field_element as Tight};

/// The curve's coefficient A.
const A: u32 = 486_662;
/// Three doublings are a multiplication by the cofactor.
const DOUBLINGS: usize = 3;

/// A key share made of random bytes from `fill`.
#[must_use]
pub fn key_share(fill: &mut dyn FnMut(&mut [u8])) -> [u8; 32] {
    loop {
        let mut bytes = [0; 32];
        fill(&mut bytes);
        if let Some(share) = from_random(bytes) {
            return share;
        }
    }
}

/// `None`: no point has that x, or only a point of small order.
fn from_random(mut bytes: [u8; 32]) -> Option<[u8; 32]> {
    let [.., last] = &mut bytes;
    *last &= 0x7f;
    let x = Element::from_bytes(&bytes);
    let curve = x.mul(&x.square().add(&x.mul(&Element::small(A))).add(&Element::small(1)));
    if curve.legendre().to_bytes() != Element::small(1).to_bytes() {
        return None;
    }
    let (mut x, mut z) = (x, Element::small(1));
    for _ in 0..DOUBLINGS {
        (x, z) = double(&x, &z);
    }
    let z = z.to_bytes().iter().any(|byte| *byte != 0).then_some(z)?;
    Some(x.mul(&z.invert()).to_bytes())
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

/// An element of the field of integers modulo 2^255 − 19.
struct Element(Tight);

impl Element {
    const ZERO: Tight = Tight([0; Tight::LIMBS]);

    fn from_bytes(bytes: &[u8; 32]) -> Element {
        let mut out = Self::ZERO;
        fiat::fiat_25519_from_bytes(&mut out, bytes);
        Element(out)
    }

    fn small(value: u32) -> Element {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(value.to_le_bytes()) {
            *to = from;
        }
        Element::from_bytes(&bytes)
    }

    fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        fiat::fiat_25519_to_bytes(&mut bytes, &self.0);
        bytes
    }

    fn loose(&self) -> Loose {
        let mut out = Loose([0; Tight::LIMBS]);
        fiat::fiat_25519_relax(&mut out, &self.0);
        out
    }

    fn carried(loose: &Loose) -> Element {
        let mut out = Self::ZERO;
        fiat::fiat_25519_carry(&mut out, loose);
        Element(out)
    }

    fn add(&self, other: &Element) -> Element {
        let mut out = Loose([0; Tight::LIMBS]);
        fiat::fiat_25519_add(&mut out, &self.0, &other.0);
        Element::carried(&out)
    }

    fn sub(&self, other: &Element) -> Element {
        let mut out = Loose([0; Tight::LIMBS]);
        fiat::fiat_25519_sub(&mut out, &self.0, &other.0);
        Element::carried(&out)
    }

    fn mul(&self, other: &Element) -> Element {
        let mut out = Self::ZERO;
        fiat::fiat_25519_carry_mul(&mut out, &self.loose(), &other.loose());
        Element(out)
    }

    fn mul_121666(&self) -> Element {
        let mut out = Self::ZERO;
        fiat::fiat_25519_carry_scmul_121666(&mut out, &self.loose());
        Element(out)
    }

    fn square(&self) -> Element {
        let mut out = Self::ZERO;
        fiat::fiat_25519_carry_square(&mut out, &self.loose());
        Element(out)
    }

    /// The element squared `times` times: to the power 2^times.
    fn squares(&self, times: usize) -> Element {
        let mut out = self.square();
        for _ in 1..times {
            out = out.square();
        }
        out
    }

    /// To the power 2^250 − 1, by the usual addition chain.
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

/// The number of words in fiat-crypto's element, which differs with the width of a word.
trait Limbs {
    const LIMBS: usize;
}

impl Limbs for Tight {
    const LIMBS: usize = size_of::<Tight>() / size_of::<usize>();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> [u8; 32] {
        let mut bytes = [0; 32];
        base16ct::lower::decode(text, &mut bytes).unwrap();
        bytes
    }

    // RFC 7748, section 6.1: Alice's public key, which is in the prime-order subgroup as every public key is.
    const ALICE: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";

    #[test]
    fn inverse_times_itself_is_one() {
        let x = Element::from_bytes(&hex(ALICE));
        assert_eq!(x.mul(&x.invert()).to_bytes(), Element::small(1).to_bytes());
    }

    #[test]
    fn a_public_key_is_a_point_and_stays_one() {
        let share = from_random(hex(ALICE)).expect("a public key is a point");
        assert!(from_random(share).is_some());
    }

    #[test]
    fn the_base_point_times_eight() {
        let mut nine = [0; 32];
        nine[0] = 9;
        // The affine formulas on Python's integers, a way of computing that shares nothing with ours.
        let expected = hex("6899c948ed6f71f11ea974adcaed787aa15cb6c84d883bd82d5cd6aad7a65f27");
        assert_eq!(from_random(nine), Some(expected));
    }

    #[test]
    fn small_order_is_no_share() {
        // RFC 7748, section 6.1 warns of them: 0, 1 and a point of order 8.
        assert_eq!(from_random([0; 32]), None);
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(from_random(one), None);
        assert_eq!(
            from_random(hex(
                "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"
            )),
            None
        );
    }

    #[test]
    fn half_of_all_draws_are_points() {
        let mut hits = 0;
        for byte in 0..=255_u8 {
            hits += usize::from(from_random([byte; 32]).is_some());
        }
        assert!((90..=166).contains(&hits), "{hits} of 256");
    }
}
