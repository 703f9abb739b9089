//! Standard output and error, as the commands use them.

use super::exit_code::FAILED;
use std::io;

/// Where a command writes: answers to `out`, errors to `err`.
pub(super) struct Terminal {
    pub(super) out: Box<dyn io::Write>,
    pub(super) err: Box<dyn io::Write>,
}

impl Terminal {
    /// Writes an answer and returns the exit code: `good`, unless writing fails. A closed pipe (`| head -1`) is not a failure.
    pub(super) fn answer(&mut self, text: &str, good: u8) -> u8 {
        match self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
        {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.complain(&format!("mtrelay: cannot write the answer: {error}"));
                FAILED
            }
            _ => good,
        }
    }

    /// Writes a line to stderr. An error of stderr itself cannot be reported.
    pub(super) fn complain(&mut self, line: &str) {
        let _ = self.err.write_all(format!("{line}\n").as_bytes());
    }

    /// Writes an error to stderr and returns [`FAILED`].
    pub(super) fn fail(&mut self, what: impl std::fmt::Display) -> u8 {
        self.complain(&format!("mtrelay: {what}"));
        FAILED
    }
}
