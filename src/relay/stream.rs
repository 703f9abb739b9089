//! Small operations on one socket: write all, send FIN, read and discard.

use mtrelay_core::reactor::{Async, Interest, Step};
use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::task::Poll;

/// Writes all of `bytes`.
///
/// # Errors
/// As write(2).
pub(super) async fn write_all(to: &Async<TcpStream>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let len = to
            .try_io(Interest::Write, |mut socket| socket.write(bytes))
            .await?;
        bytes = &bytes[len..];
    }
    Ok(())
}

/// Sends FIN.
pub(super) fn finish(to: &Async<TcpStream>) {
    // An error means that the connection is over, so the receiver needs no FIN.
    let _ = to.get_ref().shutdown(Shutdown::Write);
}

/// Reads and discards until the sender's FIN, so that the sender is not blocked by a full socket.
///
/// # Errors
/// When the connection fails.
pub(super) async fn discard(from: &Async<TcpStream>) -> io::Result<()> {
    // The buffer lives inside the closure, so that the future does not hold it.
    while from
        .try_io(Interest::Read, |mut socket| socket.read(&mut [0; 4096]))
        .await?
        > 0
    {}
    Ok(())
}

/// Runs `work` if it does not block now; `None` if it would.
///
/// # Errors
/// As `work`.
pub(super) async fn attempt<R>(
    socket: &Async<TcpStream>,
    interest: Interest,
    mut work: impl FnMut(&TcpStream) -> io::Result<Step<R>>,
) -> io::Result<Option<R>> {
    poll_fn(|context| {
        Poll::Ready(match socket.poll_step(interest, context, &mut work) {
            Poll::Ready(done) => done.map(Some),
            Poll::Pending => Ok(None),
        })
    })
    .await
}
