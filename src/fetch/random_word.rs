//! Unguessable words for URLs and multipart boundaries.

use mtrelay_core::sys::random;

/// 128 random bits in hex.
pub(crate) fn random_word() -> String {
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
