//! Signals as a file to wait for (signalfd(2)): no handler interrupts anything, and there is nothing to register.

use rustix::process::Signal;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// The signals asked for, one after the other.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// From now on they wait to be read. To be called before any thread exists: each thread has a mask of its own.
    ///
    /// # Errors
    /// As signalfd(2).
    #[expect(unsafe_code, reason = "signal masks and signalfd have no safe wrappers")]
    pub fn take(signals: &[Signal]) -> io::Result<Signals> {
        // SAFETY: a zeroed set is made a valid one before anything reads it; the descriptor is new and nobody else's.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, signal.as_raw());
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
            if fd < 0 || libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The next one that came.
    ///
    /// # Errors
    /// `WouldBlock` if there is none.
    pub fn read(&self) -> io::Result<Option<Signal>> {
        let mut record = [0; size_of::<libc::signalfd_siginfo>()];
        rustix::io::read(&self.0, &mut record)?;
        // The record begins with the signal's number.
        let [a, b, c, d, ..] = record;
        Ok(i32::try_from(u32::from_ne_bytes([a, b, c, d]))
            .ok()
            .and_then(Signal::from_named_raw))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
