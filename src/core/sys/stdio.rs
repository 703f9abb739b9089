//! Standard output and error without a buffer between, for those who write whole texts. The standard library's own are 4 KB of
//! code on MIPS.

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::io;

/// Where the process was told to write to.
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
    /// One that was closed before the program began takes everything and shows nothing, as in the standard library.
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
