//! Moving bytes that pass unchanged: through a pipe by splice(2), in ee mode through two pipes, with TLS headers put in between.
//!
//! A pipe is filled only while it has bytes. They cannot be put back, so they are written before anything else.

use super::filled_pipe::FilledPipe;
use super::state::{Moved, Pump, PumpEnd, Record};
use mtrelay_core::reactor::{Interest, Step};
use mtrelay_core::sys::splice::Pipe;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll};
use wire::faketls::record;

impl Pump<'_> {
    /// Fills a pipe from the sender and drains it into the receiver; with `bare`, the bytes go through that pipe first and get TLS
    /// headers on their way into the other one.
    pub(super) fn splice(
        &mut self,
        (pipe, bare): (Pipe, Option<Pipe>),
        limit: usize,
        context: &mut Context<'_>,
    ) -> Result<Moved, PumpEnd> {
        let (pipes, from) = (self.direction.pipes, self.direction.from);
        let mut filled = FilledPipe::new(pipe, pipes);
        filled.bare = bare.map(|pipe| Box::new(FilledPipe::new(pipe, pipes)));
        let Some(pipe) = filled.bare.as_ref().map_or(&filled.pipe, |bare| &bare.pipe) else {
            return Ok(Moved::Bytes(0));
        };
        let slots = pipe.slots();
        let read = from.poll_step(Interest::Read, context, |from| {
            let len = pipe.fill(from, limit)?;
            // Fewer bytes than the pipe has slots: the socket was drained, not the pipe filled.
            Ok(if len > 0 && len < slots.min(limit) {
                Step::Exhausted(len)
            } else {
                Step::Done(len)
            })
        });
        let len = match read {
            Poll::Pending => return Ok(Moved::Bytes(0)),
            Poll::Ready(Ok(0)) => return Ok(Moved::End),
            Poll::Ready(Ok(len)) => len,
            Poll::Ready(Err(error)) => return Err(PumpEnd::ReadFailed(error)),
        };
        match &mut filled.bare {
            Some(bare) => bare.len = len,
            None => filled.len = len,
        }
        filled.payload = len;
        self.filled = Some(filled);
        Ok(Moved::Bytes(self.drain(context).map_err(PumpEnd::WriteFailed)?))
    }

    /// Writes the bytes of the pipes as far as there is room.
    pub(super) fn drain(&mut self, context: &mut Context<'_>) -> io::Result<usize> {
        let mut written = 0;
        while let Some(filled) = &mut self.filled {
            put_into_records(filled, &mut self.record)?;
            let Some(pipe) = filled.pipe.as_ref().filter(|_| filled.len > 0) else {
                let payload = filled.payload;
                self.filled = None;
                self.written(written, payload);
                break;
            };
            let len = filled.len;
            match self
                .direction
                .to
                .poll_io(Interest::Write, context, |to| pipe.drain(to, len))
            {
                Poll::Ready(Ok(0)) => return Err(ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(len)) => {
                    filled.len -= len;
                    written += len;
                }
                Poll::Pending => {
                    self.flow_control.on_would_block(written);
                    break;
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        Ok(written)
    }
}

/// Moves bytes from the bare pipe into records, as far as the other pipe has slots.
fn put_into_records(filled: &mut FilledPipe<'_>, record: &mut Record) -> io::Result<()> {
    let Some(bare) = &mut filled.bare else {
        return Ok(());
    };
    let (Some(from), Some(into)) = (&bare.pipe, &filled.pipe) else {
        return Ok(());
    };
    let mut put = || -> io::Result<()> {
        while bare.len > 0 {
            if record.left == 0 {
                let len = bare.len.min(record::MAX_PAYLOAD);
                let header = record::header(len);
                if len == record::MAX_PAYLOAD {
                    filled.pipes.stamp(&header, into)?;
                } else {
                    into.write(&header)?;
                }
                filled.len += header.len();
                record.left = len;
            }
            let len = from.pour(into, record.left.min(bare.len))?;
            record.left -= len;
            bare.len -= len;
            filled.len += len;
        }
        Ok(())
    };
    match put() {
        // The pipe has no slot left: it is drained first.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        other => other,
    }
}
