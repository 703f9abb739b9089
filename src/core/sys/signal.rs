//! Signals as a descriptor (signalfd(2)), which the reactor waits for like a socket. No signal handler is installed.

use rustix::process::Signal;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// A queue of the chosen signals.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals and queues them for [`Signals::read`]. Call it while the process has one thread: each thread has its own mask.
    ///
    /// # Errors
    /// As signalfd(2).
    #[expect(unsafe_code, reason = "signal masks and signalfd have no safe wrappers")]
    pub fn take(signals: &[Signal]) -> io::Result<Signals> {
        // SAFETY: the zeroed set is initialised by sigemptyset before it is read, and the new descriptor has no other owner.
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

    /// The next signal in the queue.
    ///
    /// # Errors
    /// `WouldBlock` if the queue is empty.
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
