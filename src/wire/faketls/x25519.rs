//! Key shares that a prober cannot tell from genuine X25519 public keys (RFC 7748).
//!
//! A genuine key share is the x coordinate of a point in the prime-order subgroup. Half of all 32-byte strings are not on the
//! curve, and seven of eight points lie outside the subgroup; a prober can test both. A share is therefore made from a random
//! number in two steps: map it to a point (Elligator 2, RFC 9380, section 6.7.1), and multiply the point by the cofactor 8. The
//! private key is never needed, so nothing here is secret.
//!
//! The division is most of the work, and one division serves a whole batch of shares: hence [`KeySharePool`].
#![allow(clippy::arithmetic_side_effects, reason = "indices of a batch of eight")]

mod field;

use field::{Element, is_square};

/// The curve's coefficient A.
const A: u32 = 486_662;
/// Doublings that multiply a point by the cofactor 8.
const DOUBLINGS: usize = 3;
/// Shares per batch. With 8 the division is a quarter of the work, and the pool takes 256 bytes.
const BATCH: usize = 8;

/// Key shares made in advance.
#[derive(Debug, Default)]
pub struct KeySharePool {
    shares: [[u8; 32]; BATCH],
    left: usize,
}

impl KeySharePool {
    /// A key share that was not given out before. `fill` is the source of random bytes.
    pub fn take(&mut self, fill: &mut dyn FnMut(&mut [u8])) -> [u8; 32] {
        if self.left == 0 {
            self.shares = shares(fill);
            self.left = BATCH;
        }
        self.left -= 1;
        self.shares.get(self.left).copied().unwrap_or_default()
    }
}

/// A single key share. `fill` is the source of random bytes.
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

/// The x coordinate of a point, as the fraction x / z.
type Point = (Element, Element);

/// Maps a number to a point by Elligator 2: of x = −A/(1 + 2r²) and −A − x, one is the x coordinate of a point.
fn map_to_curve(r: &Element) -> Point {
    let a = Element::small(A);
    let t = r.square();
    let t = t.add(&t);
    let at = a.mul(&t);
    let z = t.add(&Element::small(1));
    // The curve's x³ + Ax² + x at x = −A/z, times −z⁴. Neither factor changes whether it is a square, since −1 is one.
    let value = a.mul(&z).mul(&z.square().sub(&a.mul(&at)));
    let x = if is_square(&value.to_bytes()) { a } else { at };
    (Element::small(0).sub(&x), z)
}

/// Multiplies a point by 8. `None` if the point has small order.
fn times_8((mut x, mut z): Point) -> Option<Point> {
    for _ in 0..DOUBLINGS {
        (x, z) = double(&x, &z);
    }
    z.to_bytes().iter().any(|byte| *byte != 0).then_some((x, z))
}

/// The affine x coordinates by one division (Montgomery's trick): the inverse of a factor is the inverse of the product times all
/// other factors.
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

/// The doubling step of RFC 7748's ladder, on x and z alone.
fn double(x: &Element, z: &Element) -> (Element, Element) {
    let sum = x.add(z).square();
    let difference = x.sub(z).square();
    let product = sum.sub(&difference);
    (
        sum.mul(&difference),
        product.mul(&difference.add(&product.mul_121666())),
    )
}

#[cfg(test)]
mod tests;
