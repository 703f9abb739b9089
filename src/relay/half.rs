//! One direction of a session: read, unwrap, recrypt in place, wrap, write.
//!
//! A half promises that every byte it has read is written before it reports how it ended, unless writing itself fails.
//! It holds a block of the pool only while bytes are in hand, and reads only when the receiver's socket has room: the
//! kernel calls a socket writable when a third of its send buffer is free, which is more than a block.

use crate::pool::{Block, BufferPool};
use crate::reactor::Async;
use crate::relay::pulse::Pulse;
use crate::sys::socket;
use smol::future;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use wire::cipher::{Stream, recrypt};
use wire::faketls::record::{self, Unwrapper};

/// Full blocks that one half moves before the others get their turn.
const TURN: usize = 16;

/// How a half ended.
#[derive(Debug)]
pub enum HalfEnd {
    /// The sender has finished. Telling the receiver is the caller's part.
    Finished,
    /// Reading failed; all that had arrived was passed on.
    ReadFailed(io::Error),
    /// Writing failed.
    WriteFailed(io::Error),
    /// The client sends something that is no TLS record.
    BadRecord,
}

/// What happens to the bytes on their way.
#[derive(Debug, Default)]
pub struct Treatment {
    /// Take the payload out of TLS records.
    pub unwrap: Option<Unwrapper>,
    /// Take the first cipher off and put the second one on.
    pub recrypt: Option<(Stream, Stream)>,
    /// Put TLS records around.
    pub wrap: bool,
}

/// One direction.
pub struct Half<'a> {
    /// Where the bytes come from,
    pub from: &'a Async<TcpStream>,
    /// and go to.
    pub to: &'a Async<TcpStream>,
    /// What happens to them.
    pub treatment: Treatment,
    /// Where they stand meanwhile.
    pub pool: &'a BufferPool,
    /// Told of every byte.
    pub pulse: &'a Pulse,
    /// Counts every byte of payload.
    pub moved: &'a dyn Fn(usize),
}

impl Half<'_> {
    /// Moves bytes until the direction ends.
    pub async fn run(mut self) -> HalfEnd {
        match self.pump().await {
            Ok(()) => HalfEnd::Finished,
            Err(end) => end,
        }
    }

    /// The same, with these bytes before all others.
    pub async fn run_after(self, head: &[u8]) -> HalfEnd {
        match self.write_all(head).await {
            Ok(()) => self.run().await,
            Err(end) => end,
        }
    }

    async fn pump(&mut self) -> Result<(), HalfEnd> {
        loop {
            self.from.readable().await.map_err(HalfEnd::ReadFailed)?;
            if !socket::has_room(self.to.get_ref()) {
                self.to.writable().await.map_err(HalfEnd::WriteFailed)?;
            }
            let mut block = self.pool.take().await;
            if self.drain(&mut block).await? {
                return Ok(());
            }
        }
    }

    /// Reads and writes until there is nothing to read; `true` when there will never be anything again.
    async fn drain(&mut self, block: &mut Block) -> Result<bool, HalfEnd> {
        // Room for a record's header before the payload, so that both go out in one write without being moved.
        let start = if self.treatment.wrap {
            record::HEADER_LEN
        } else {
            0
        };
        let end = if self.treatment.wrap {
            block.len().min(start + record::MAX_PAYLOAD)
        } else {
            block.len()
        };
        for _ in 0..TURN {
            let len = match self.receive(&mut block[start..end]) {
                Ok(0) => return Ok(true),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(HalfEnd::ReadFailed(error)),
            };
            let treated = self.treat(&mut block[start..start + len])?;
            let mut range = start + treated.start..start + treated.end;
            let payload_len = range.len();
            if self.treatment.wrap && payload_len > 0 {
                block[..start].copy_from_slice(&record::header(payload_len));
                range.start = 0;
            }
            self.write_all(&block[range]).await?;
            (self.moved)(payload_len);
            // Less than there was room for: that was all, and more will be announced by the reactor. And a receiver
            // that is behind shall not have us sit on a block until it has caught up: others need it.
            if len < end - start || !socket::has_room(self.to.get_ref()) {
                return Ok(false);
            }
        }
        future::yield_now().await;
        Ok(false)
    }

    fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.from.get_ref().read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn treat(&mut self, bytes: &mut [u8]) -> Result<Range<usize>, HalfEnd> {
        self.pulse.touch();
        let range = match &mut self.treatment.unwrap {
            Some(unwrapper) => unwrapper.unwrap_in_place(bytes).map_err(|_| HalfEnd::BadRecord)?,
            None => 0..bytes.len(),
        };
        if let Some((from, to)) = &mut self.treatment.recrypt {
            recrypt(from, to, &mut bytes[range.clone()]);
        }
        Ok(range)
    }

    async fn write_all(&self, mut bytes: &[u8]) -> Result<(), HalfEnd> {
        while !bytes.is_empty() {
            match self.to.get_ref().write(bytes) {
                Ok(len) => {
                    bytes = &bytes[len..];
                    self.pulse.touch();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.to.writable().await.map_err(HalfEnd::WriteFailed)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(HalfEnd::WriteFailed(error)),
            }
        }
        Ok(())
    }
}

/// Tells a receiver that there will be no more.
pub fn finish(to: &Async<TcpStream>) {
    // An error means that it knows.
    let _ = to.get_ref().shutdown(Shutdown::Write);
}

/// Reads and throws away until the sender has finished, so that it is never blocked by us.
///
/// # Errors
/// When it did not finish but failed.
pub async fn discard(from: &Async<TcpStream>) -> io::Result<()> {
    // The bytes live within the closure, so that the future does not carry them.
    while from.read_with(|mut socket| socket.read(&mut [0; 4096])).await? > 0 {}
    Ok(())
}
