//! Exit codes, and what the program prints. The codes are a promise to scripts.

use crate::output::SaveError;
use crate::source::FetchError;
use std::fmt::Display;
use std::io::{self, Write as _};

/// A failure without a code of its own.
pub(super) const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
pub(super) const USAGE: u8 = 2;
/// There is no such message, or it has no media.
pub(super) const NOT_FOUND: u8 = 3;
/// The chat forbids saving.
pub(super) const NO_FORWARDS: u8 = 4;
/// No account is logged in.
pub(super) const NOT_LOGGED_IN: u8 = 5;
/// Telegram demands a flood wait.
pub(super) const WAIT: u8 = 6;
/// The disk is full, or writing failed.
pub(super) const DISK: u8 = 7;
/// Ended by a signal, whose number is added.
pub(super) const SIGNALLED: u8 = 128;

/// The exit code of a failure.
pub(super) fn code(error: &SaveError) -> u8 {
    match error {
        SaveError::Fetch(error) => fetch_code(error),
        SaveError::Disk(..) | SaveError::NoRoom(..) => DISK,
        SaveError::Busy(_) | SaveError::Exists(_) => FAILED,
    }
}

/// The exit code of a failure to fetch.
pub(super) fn fetch_code(error: &FetchError) -> u8 {
    match error {
        FetchError::NotFound(_) => NOT_FOUND,
        FetchError::NoForwards => NO_FORWARDS,
        FetchError::LoggedOut => NOT_LOGGED_IN,
        FetchError::Wait(_) => WAIT,
        FetchError::Refused(_) | FetchError::Connection(_) | FetchError::Protocol(_) => FAILED,
    }
}

/// Prints text on stdout. A closed pipe is not a failure.
pub(super) fn print(text: &str) -> u8 {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(format_args!("cannot write to stdout: {error}"));
            FAILED
        }
        _ => 0,
    }
}

/// Prints an error line on stderr.
pub(super) fn complain(what: impl Display) {
    // If stderr is closed, there is no other place for it.
    let _ = writeln!(io::stderr(), "mtfetch: {what}");
}
