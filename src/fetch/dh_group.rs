//! The Diffie-Hellman group of MTProto, used by the key exchange and by the password proof.

use crate::rsa::{MODULUS_LEN, hex};
use num_bigint::BigUint;

/// The prime of every exchange since 2013. Only this one is accepted: to prove that another one is a safe prime would take minutes on
/// a router.
pub(crate) const DH_PRIME: [u8; MODULUS_LEN] = hex(
    b"c71caeb9c6b1c9048e6c522f70f13f73980d40238e3e21c14934d037563d930f48198a0aa7c14058229493d22530f4db\
      fa336f6e0ac925139543aed44cce7c3720fd51f69458705ac68cd4fe6b6b13abdc9746512969328454f18faf8c595f64\
      2477fe96bb2a941d5bcd1d4ac8cc49880708fa9b378e3c4f3a9060bee67cf9a4a4a695811051907e162753b56b0f6b41\
      0dba74d8a84b2a14b3144e0ef1284754fd17ed950d5965b4b9dd46582db1178d169c6bc465b0d6ff9ca3928fef5b9ae4\
      e418fc15e83ebea0f87fa9ff5eed70050ded2849f47bf959d956850ce929851f0d8115f635b105ee2e4e15d04b2454bf\
      6f4fadf034b10403119cd8e3b92fcc5b",
);
/// The numbers below 8 that generate the subgroup of prime order of [`DH_PRIME`], by quadratic reciprocity.
pub(crate) const GENERATORS: [i32; 3] = [3, 4, 7];
/// Public values lie at least 2 to this power away from both ends of the range.
const MARGIN_BITS: u32 = 2048 - 64;

/// Whether a public value lies within the bounds of the protocol, far enough from 0 and from the prime.
pub(crate) fn in_range(value: &BigUint) -> bool {
    let prime = BigUint::from_bytes_be(&DH_PRIME);
    let margin = BigUint::from(1_u8) << MARGIN_BITS;
    *value >= margin && *value <= prime - margin
}
