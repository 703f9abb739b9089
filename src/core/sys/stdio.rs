//! Unbuffered standard output and error, for writers of whole texts. The standard library's versions are 4 KB of code on MIPS.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::io;

/// One of the process's standard streams.
pub struct Stdio(BorrowedFd<'static>);

impl Stdio {
    /// Standard output.
    pub fn out() -> Stdio {
        Stdio(rustix::stdio::stdout())
    }

    /// Standard error.
    pub fn err() -> Stdio {
        Stdio(rustix::stdio::stderr())
    }
}

impl io::Write for Stdio {
    /// Writes bytes. A stream that was closed before the program began discards them, as in the standard library.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match rustix::io::write(self.0, text) {
            Err(Errno::BADF) => Ok(text.len()),
            written => Ok(written?),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
