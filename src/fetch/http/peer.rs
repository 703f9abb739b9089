//! A client's connection: requests one after the other, and bytes to it for as long as it is there.
//!
//! While an answer is on its way, what the client sends is read ahead, at most one head's length: that is how its leaving is
//! noticed before anything is written. One that only closes its own side (RFC 9112 §9.6) may still be reading: it is
//! served as long as bytes come without a pause of [`Times::half_closed`].

use super::Times;
use super::request::{self, HEAD_MAX, Parsed, Request};
use super::response::Refusal;
use mtrelay_core::reactor::{Async, Timer};
use smol::future;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

/// How much of what follows a refused request is read, so that closing does not reset the connection before the answer was read.
const LINGER_MAX: usize = 64 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(1);

/// A connection, and what was read of it ahead.
pub(super) struct Peer<'a> {
    stream: &'a Async<TcpStream>,
    times: &'a Times,
    ahead: Vec<u8>,
    /// The client will send nothing more.
    finished: bool,
}

/// What a connection brings next.
pub(super) enum Next {
    Request(Request),
    Bad(Refusal),
    End,
}

impl<'a> Peer<'a> {
    pub(super) fn new(stream: &'a Async<TcpStream>, times: &'a Times) -> Peer<'a> {
        Peer {
            stream,
            times,
            ahead: Vec::new(),
            finished: false,
        }
    }

    /// The next request. One that is slow to begin ends the connection, one that is slow to end is refused.
    pub(super) async fn next(&mut self) -> io::Result<Next> {
        if self.ahead.is_empty() && !self.finished {
            let idle = self.times.idle;
            let began = async { self.fill().await.map(|()| true) };
            let quiet = async {
                Timer::after(idle).await;
                Ok(false)
            };
            if !future::or(began, quiet).await? {
                return Ok(Next::End);
            }
        }
        let deadline = self.times.head;
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
                    Parsed::Partial => return Ok(Next::Bad(Refusal::new(400, "half a request"))),
                }
            }
        };
        let late = async {
            Timer::after(deadline).await;
            Ok(Next::Bad(Refusal::new(408, "the request took too long")))
        };
        future::or(whole, late).await
    }

    /// Reads on, into a buffer with room.
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

    /// Waits for something, as long as the client is there.
    pub(super) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> io::Result<T> {
        let done = async { Ok(work.await) };
        future::or(done, async { Err(self.leaving().await) }).await
    }

    /// How the client left.
    async fn leaving(&mut self) -> io::Error {
        while !self.finished {
            if self.ahead.len() >= HEAD_MAX {
                // More requests than we hold: whether it is there is found out by writing.
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.fill().await {
                return error;
            }
        }
        Timer::after(self.times.half_closed).await;
        ErrorKind::BrokenPipe.into()
    }

    /// Writes all of it. A client that takes nothing for too long is gone.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stall = self.times.stall;
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

    /// Closes it, and gives the client time to read what was answered.
    pub(super) async fn close(self) {
        let mut stream = self.stream;
        if self.finished || stream.get_ref().shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let read = async {
            let mut piece = [0; 1024];
            let mut left = LINGER_MAX;
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
