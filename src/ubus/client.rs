//! A connection to the bus: a Unix socket with a queue of messages in each direction.
//!
//! Promises: sending never waits for the bus. While the send queue holds more than [`FULL`], no further message is received, so that at
//! most `FULL` and one answer are held. If the bus reads nothing for [`STALL`], the connection is closed.

use super::message::{Inbox, Message};
use mtrelay_core::reactor::{Async, Interest, Timer};
use mtrelay_core::sys::socket;
use std::future::Future as _;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The length of the send queue, in bytes, from which no further call is received. One answer can still be added.
const FULL: usize = 64 << 10;
/// The time after which a bus that takes nothing from the queue is given up.
const STALL: Duration = Duration::from_secs(30);
/// Bytes for each read.
const PIECE: usize = 2048;

/// The connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: Async<UnixStream>,
    inbox: Inbox,
    outbox: Vec<u8>,
    /// Bytes of the queue that were sent.
    sent: usize,
    /// Runs while the bus takes nothing from the queue.
    stall: Option<Timer>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// As connect(2). A bus whose queue of connections is full is an error, too: connecting never waits.
    pub(super) fn connect(path: &Path) -> io::Result<Client> {
        Ok(Client {
            stream: Async::new_nonblocking(socket::connect_unix(path)?)?,
            inbox: Inbox::default(),
            outbox: Vec::new(),
            sent: 0,
            stall: None,
        })
    }

    /// Queues a message. It is sent while [`Client::poll_message`] is polled.
    pub(super) fn send(&mut self, message: &[u8]) {
        self.outbox.drain(..self.sent);
        self.sent = 0;
        self.outbox.extend_from_slice(message);
    }

    /// Whether the queue is shorter than its bound.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.len() - self.sent < FULL
    }

    /// Sends the queue and receives the next message.
    pub(super) fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Message>> {
        loop {
            self.poll_send(context)?;
            if !self.has_room() {
                return Poll::Pending;
            }
            let broken = |_| io::Error::new(ErrorKind::InvalidData, "malformed message");
            if let Some(message) = self.inbox.next_message().map_err(broken)? {
                return Poll::Ready(Ok(message));
            }
            let mut piece = [0; PIECE];
            let read = |mut stream: &UnixStream| stream.read(&mut piece);
            match ready!(self.stream.poll_io(Interest::Read, context, read))? {
                0 => return Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
                len => self.inbox.feed(&piece[..len]),
            }
        }
    }

    /// Sends until the queue is empty or the socket would block.
    fn poll_send(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.sent < self.outbox.len() {
            let unsent = &self.outbox[self.sent..];
            let write = |mut stream: &UnixStream| stream.write(unsent);
            let Poll::Ready(written) = self.stream.poll_io(Interest::Write, context, write) else {
                let stall = self.stall.get_or_insert_with(|| Timer::after(STALL));
                if Pin::new(stall).poll(context).is_ready() {
                    return Err(ErrorKind::TimedOut.into());
                }
                return Ok(());
            };
            self.sent += written?;
            self.stall = None;
        }
        self.stall = None;
        // The memory is freed: answers are rare and can be long.
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
