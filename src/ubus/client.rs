//! A connection to the bus: bytes of a Unix socket in both directions, messages for whoever owns it.
//!
//! Promises: it never waits for the bus to read. What is to be sent stands in a queue; while that holds more than
//! [`FULL`], no further message is taken in, so that at most `FULL` and one answer are held, and a bus that reads
//! nothing for [`STALL`] is given up.

use super::message::{Inbox, Message};
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::socket;
use std::future::Future as _;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// From here on the queue takes no more answers: one of ordinary length always fits on top.
const FULL: usize = 64 << 10;
/// How long the bus may leave the queue as it is.
const STALL: Duration = Duration::from_secs(30);
/// How much is read at a time.
const PIECE: usize = 2048;

/// The connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: Async<UnixStream>,
    inbox: Inbox,
    outbox: Vec<u8>,
    /// How much of the queue has gone.
    sent: usize,
    /// Runs while the queue stands still.
    stall: Option<Timer>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// As connect(2). A bus so busy that its queue of connections is full is an error, too: nothing here waits.
    pub(super) fn connect(path: &Path) -> io::Result<Client> {
        Ok(Client {
            stream: Async::new_nonblocking(socket::connect_unix(path)?)?,
            inbox: Inbox::default(),
            outbox: Vec::new(),
            sent: 0,
            stall: None,
        })
    }

    /// Queues a message. It goes out as [`Client::poll_message`] is polled.
    pub(super) fn send(&mut self, message: &[u8]) {
        self.outbox.drain(..self.sent);
        self.sent = 0;
        self.outbox.extend_from_slice(message);
    }

    /// Whether the queue takes more without growing beyond its bound.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.len() - self.sent < FULL
    }

    /// Sends what is queued, and gives the next message.
    pub(super) fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Message>> {
        loop {
            self.poll_send(context)?;
            if !self.has_room() {
                return Poll::Pending;
            }
            let broken = |_| io::Error::new(ErrorKind::InvalidData, "what it sends is no message");
            if let Some(message) = self.inbox.next_message().map_err(broken)? {
                return Poll::Ready(Ok(message));
            }
            ready!(self.stream.may_read(context));
            let mut piece = [0; PIECE];
            match self.stream.get_ref().read(&mut piece) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
                Ok(len) => self.inbox.feed(&piece[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.stream.not_readable(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sends until the queue is empty or the socket takes no more.
    fn poll_send(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.sent < self.outbox.len() {
            if self.stream.may_write(context).is_pending() {
                let stall = self.stall.get_or_insert_with(|| Timer::after(STALL));
                if Pin::new(stall).poll(context).is_ready() {
                    return Err(ErrorKind::TimedOut.into());
                }
                return Ok(());
            }
            match self.stream.get_ref().write(&self.outbox[self.sent..]) {
                Ok(len) => {
                    self.sent += len;
                    self.stall = None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.stream.not_writable(),
                Err(error) => return Err(error),
            }
        }
        self.stall = None;
        // Its memory goes back, too: answers are rare and can be long.
        self.outbox = Vec::new();
        self.sent = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtrelay_core::reactor;
    use std::future::poll_fn;

    #[test]
    fn what_is_queued_behind_half_a_message_goes_out_after_it() {
        let (ours, mut bus) = UnixStream::pair().expect("descriptors are left");
        ours.set_nonblocking(true).expect("a socket");
        let sent = reactor::block_on(async {
            let mut client = Client {
                stream: Async::new_nonblocking(ours).expect("descriptors are left"),
                inbox: Inbox::default(),
                outbox: Vec::new(),
                sent: 0,
                stall: None,
            };
            let long: Vec<u8> = (0..600_000_u32).map(|n| (n >> 3) as u8).collect();
            client.send(&long);
            let poll = |client: &mut Client, context: &mut Context<'_>| {
                assert!(client.poll_message(context).is_pending());
                Poll::Ready(client.sent)
            };
            let sent = poll_fn(|context| poll(&mut client, context)).await;
            assert!(sent > 0 && !client.has_room(), "{sent}");
            client.send(b"behind it");
            bus.set_nonblocking(true).expect("a socket");
            let mut came = Vec::new();
            let mut piece = vec![0; 50_000];
            while came.len() < long.len() + 9 {
                match bus.read(&mut piece) {
                    Ok(len) => came.extend_from_slice(&piece[..len]),
                    Err(_) => {
                        poll_fn(|context| poll(&mut client, context)).await;
                        // A look at the socket.
                        smol::future::yield_now().await;
                    }
                }
            }
            assert!(client.has_room());
            assert!(came == [&long[..], b"behind it"].concat());
            sent
        });
        assert!(sent.is_ok_and(|sent| sent < 600_000));
    }
}
