//! Exit codes of every command. They are a promise to scripts.

/// Something failed.
pub(super) const FAILED: u8 = 1;
/// The command line or the configuration is invalid.
pub(super) const USAGE: u8 = 2;
