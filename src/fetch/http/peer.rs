//! A client's connection: requests in, responses out, until one side closes.
//!
//! During a response the client's next bytes are read ahead, up to the length of one head: so a client that leaves is noticed
//! before anything is written. A client that has closed only its own side (RFC 9112 §9.6) may still read: it is served as long
//! as bytes come without a pause of [`Timeouts::half_closed`].

use super::request::{self, HEAD_MAX, Parsed, Request};
use super::response::Refusal;
use super::settings::Timeouts;
use mtrelay_core::reactor::{Async, Timer};
use smol::future;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

/// Bytes behind a refused request that are read and dropped, so that closing does not reset the connection before the client has
/// read the response.
const MAX_LINGER_LEN: usize = 64 * 1024;
/// Limit for reading them.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// A connection, and the bytes that were read ahead.
pub(super) struct Peer<'a> {
    stream: &'a Async<TcpStream>,
    timeouts: &'a Timeouts,
    ahead: Vec<u8>,
    /// The client has sent FIN.
    finished: bool,
}

/// What the connection brings next.
pub(super) enum Next {
    Request(Request),
    Bad(Refusal),
    End,
}

impl<'a> Peer<'a> {
    pub(super) fn new(stream: &'a Async<TcpStream>, timeouts: &'a Timeouts) -> Peer<'a> {
        Peer {
            stream,
            timeouts,
            ahead: Vec::new(),
            finished: false,
        }
    }

    /// The next request. After [`Timeouts::idle`] without one the connection ends; a head that takes longer than
    /// [`Timeouts::head`] is refused.
    pub(super) async fn next(&mut self) -> io::Result<Next> {
        if self.ahead.is_empty() && !self.finished {
            let idle = self.timeouts.idle;
            let began = async { self.fill().await.map(|()| true) };
            let quiet = async {
                Timer::after(idle).await;
                Ok(false)
            };
            if !future::or(began, quiet).await? {
                return Ok(Next::End);
            }
        }
        let deadline = self.timeouts.head;
        let whole = async {
            loop {
                match request::parse(&self.ahead) {
                    Parsed::Request(request, len) => {
                        self.ahead.drain(..len);
                        return Ok(Next::Request(request));
                    }
                    Parsed::Bad(refusal) => return Ok(Next::Bad(refusal)),
                    Parsed::Partial if !self.finished => self.fill().await?,
                    Parsed::Partial if self.ahead.is_empty() => return Ok(Next::End),
                    Parsed::Partial => return Ok(Next::Bad(Refusal::new(400, "the request is incomplete"))),
                }
            }
        };
        let late = async {
            Timer::after(deadline).await;
            Ok(Next::Bad(Refusal::new(408, "the request took too long")))
        };
        future::or(whole, late).await
    }

    /// Reads ahead. The buffer must have room.
    async fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; 1024];
        let room = piece.len().min(HEAD_MAX - self.ahead.len());
        let mut stream = self.stream;
        match stream.read(&mut piece[..room]).await? {
            0 => self.finished = true,
            n => self.ahead.extend_from_slice(&piece[..n]),
        }
        Ok(())
    }

    /// Waits for `work` until the client leaves.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        let done = async { Ok(work.await) };
        future::or(done, async { Err(self.leaving().await) }).await
    }

    /// Waits until the client leaves. Returns the error of its end.
    async fn leaving(&mut self) -> io::Error {
        while !self.finished {
            if self.ahead.len() >= HEAD_MAX {
                // The buffer is full of further requests: only a write can tell whether the client is there.
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.fill().await {
                return error;
            }
        }
        Timer::after(self.timeouts.half_closed).await;
        ErrorKind::BrokenPipe.into()
    }

    /// Writes all bytes. A client that takes none for [`Timeouts::stall`] counts as gone.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stall = self.timeouts.stall;
        let mut stream = self.stream;
        let mut rest = bytes;
        while !rest.is_empty() {
            let late = async {
                Timer::after(stall).await;
                Err(ErrorKind::TimedOut.into())
            };
            let written = future::or(stream.write(rest), late).await?;
            if written == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Closes the connection in a way that lets the client read the response.
    pub(super) async fn close(self) {
        let mut stream = self.stream;
        if self.finished || stream.get_ref().shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let read = async {
            let mut piece = [0; 1024];
            let mut left = MAX_LINGER_LEN;
            while let Ok(n @ 1..) = stream.read(&mut piece).await {
                left = left.saturating_sub(n);
                if left == 0 {
                    break;
                }
            }
        };
        future::or(read, async {
            let _ = Timer::after(LINGER_TIME).await;
        })
        .await;
    }
}
