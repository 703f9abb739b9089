//! One connection attempt: its socket, its outcome, and the name of its error.

use super::options::DialOptions;
use crate::close::ConnectFailure;
use crate::reactor::{Async, Interest, Timer};
use crate::sys::socket;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::Poll;

/// An attempt that has not ended.
pub(super) struct OpenAttempt {
    pub(super) address: SocketAddr,
    pub(super) connection: Async<TcpStream>,
}

/// Why an attempt could not begin.
pub(super) enum BeginError {
    /// A local error: the address is not to blame.
    Local(io::Error),
    /// The network's error, known at once.
    Remote(io::Error),
}

/// Opens a socket for `address` as the options ask.
pub(super) fn open(address: SocketAddr, options: &DialOptions) -> io::Result<OwnedFd> {
    socket::open(address, options.bind_interface.as_deref(), options.fwmark)
}

/// Begins to connect an opened socket.
pub(super) fn begin(opened: OwnedFd, address: SocketAddr) -> Result<Async<TcpStream>, BeginError> {
    let connecting = socket::connect(opened, address).map_err(BeginError::Remote)?;
    Async::new_nonblocking(connecting).map_err(BeginError::Local)
}

/// Connects one socket, without a [`super::Dialer`] and its memory of addresses.
///
/// # Errors
/// As connect(2) and epoll_ctl(2).
pub async fn connect(opened: OwnedFd, address: SocketAddr) -> io::Result<Async<TcpStream>> {
    let connecting = Async::new_nonblocking(socket::connect(opened, address)?)?;
    connecting
        .try_io(Interest::Write, |connecting| socket::outcome(connecting, address))
        .await?;
    Ok(connecting)
}

/// Waits until one attempt has ended, or until the timer fires (`None`). Returns the attempt's index and its outcome.
pub(super) async fn next_outcome(
    attempts: &[OpenAttempt],
    timer: &mut Timer,
) -> Option<(usize, io::Result<()>)> {
    poll_fn(|context| {
        for (at, attempt) in attempts.iter().enumerate() {
            let connection = &attempt.connection;
            let outcome = connection.poll_io(Interest::Write, context, |connecting| {
                socket::outcome(connecting, attempt.address)
            });
            if let Poll::Ready(outcome) = outcome {
                return Poll::Ready(Some((at, outcome)));
            }
        }
        Pin::new(&mut *timer).poll(context).map(|_| None)
    })
    .await
}

/// The kind of an error of connect(2).
pub fn classify(error: &io::Error) -> ConnectFailure {
    match error.kind() {
        ErrorKind::ConnectionRefused => ConnectFailure::Refused,
        ErrorKind::TimedOut => ConnectFailure::Timeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            ConnectFailure::Unreachable
        }
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => ConnectFailure::Reset,
        _ => ConnectFailure::Other,
    }
}
