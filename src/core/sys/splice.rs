//! Calls that move bytes without copying them to user space, and calls that read bytes without consuming them.

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::pipe::{PipeFlags, SpliceFlags};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};

/// A pipe. Its capacity is a number of slots, and each slot holds one fragment of any length: one TCP segment's payload.
#[derive(Debug)]
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    slots: usize,
}

impl Pipe {
    /// A new pipe of `size` bytes, or of the system's default size if the kernel does not grant it (fcntl(2), `F_SETPIPE_SZ`).
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new(size: usize) -> io::Result<Pipe> {
        let (out, into) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let granted = rustix::pipe::fcntl_setpipe_size(&into, size);
        let size = granted.or_else(|_| rustix::pipe::fcntl_getpipe_size(&into))?;
        let slots = size / rustix::param::page_size();
        Ok(Pipe { out, into, slots })
    }

    /// The number of fragments that the pipe can hold.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Moves at most `len` bytes from a socket into the pipe. Zero means that the sender has ended.
    ///
    /// # Errors
    /// As splice(2); `WouldBlock` when the socket is empty or the pipe full.
    pub fn fill(&self, from: &TcpStream, len: usize) -> io::Result<usize> {
        splice(from.as_fd(), self.into.as_fd(), len)
    }

    /// Moves at most `len` bytes from the pipe into a socket.
    ///
    /// # Errors
    /// As splice(2); `WouldBlock` when the socket is full.
    pub fn drain(&self, to: &TcpStream, len: usize) -> io::Result<usize> {
        splice(self.out.as_fd(), to.as_fd(), len)
    }

    /// Moves at most `len` bytes into another pipe.
    ///
    /// # Errors
    /// As splice(2); `WouldBlock` when the other pipe is full.
    pub fn pour(&self, into: &Pipe, len: usize) -> io::Result<usize> {
        splice(self.out.as_fd(), into.into.as_fd(), len)
    }

    /// Copies the first `len` bytes into another pipe without consuming them.
    ///
    /// # Errors
    /// As tee(2); `WouldBlock` when the other pipe is full.
    pub fn repeat(&self, into: &Pipe, len: usize) -> io::Result<usize> {
        again(|| rustix::pipe::tee(&self.out, &into.into, len, SpliceFlags::NONBLOCK))
    }

    /// Writes a few bytes into the pipe, all or none.
    ///
    /// # Errors
    /// As write(2); `WouldBlock` when the pipe is full.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        // A write of fewer than PIPE_BUF bytes is atomic (pipe(7)).
        again(|| rustix::io::write(&self.into, bytes)).map(drop)
    }
}

fn splice(from: impl AsFd, to: impl AsFd, len: usize) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    again(|| rustix::pipe::splice(&from, None, &to, None, len, flags))
}

/// Copies received bytes without consuming them. Zero means that the sender has ended.
///
/// # Errors
/// As recvmsg(2).
pub fn peek(socket: &TcpStream, room: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    receive(socket, room, RecvFlags::PEEK)
}

/// Consumes as many received bytes as `room` holds and discards them (tcp(7), `MSG_TRUNC`). They must have arrived.
///
/// # Errors
/// As recvmsg(2).
pub fn forget(socket: &TcpStream, room: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    receive(socket, room, RecvFlags::TRUNC)
}

fn receive(socket: &TcpStream, room: &mut [IoSliceMut<'_>], flags: RecvFlags) -> io::Result<usize> {
    if let [room] = room {
        return again(|| rustix::net::recv(socket, &mut room[..], flags).map(|(_, len)| len));
    }
    again(|| {
        let mut nothing = rustix::net::RecvAncillaryBuffer::default();
        rustix::net::recvmsg(socket, room, &mut nothing, flags).map(|message| message.bytes)
    })
}

/// Writes the slices, as far as the send buffer has room.
///
/// # Errors
/// As sendmsg(2).
pub fn send(socket: &TcpStream, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::NOSIGNAL;
    if let [bytes] = bytes {
        return again(|| rustix::net::send(socket, bytes, flags));
    }
    again(|| {
        let mut nothing = rustix::net::SendAncillaryBuffer::default();
        rustix::net::sendmsg(socket, bytes, &mut nothing, flags)
    })
}

fn again<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
