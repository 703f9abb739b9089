//! The way of bytes that stay as they are: through a pipe (splice(2)), and in ee mode through two, since the records' headers go
//! between.
//!
//! A pipe is held only while there are bytes in it, and those can only go on: what a header has announced, and what has been taken
//! from the sender.

use super::{Flow, HalfEnd, Moved, Record};
use crate::relay::pipes::Pipes;
use mtrelay_core::sys::splice::Pipe;
use std::io::{self, ErrorKind};
use wire::faketls::record;

/// A pipe with bytes in it.
pub(super) struct Held<'a> {
    pipe: Option<Pipe>,
    pipes: &'a Pipes,
    /// How many.
    len: usize,
    /// In ee mode: what has no record around it yet.
    bare: Option<Box<Held<'a>>>,
    /// The payload of all these.
    payload: usize,
}

impl<'a> Held<'a> {
    fn new(pipe: Pipe, pipes: &'a Pipes) -> Held<'a> {
        Held {
            pipe: Some(pipe),
            pipes,
            len: 0,
            bare: None,
            payload: 0,
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        match self.pipe.take() {
            Some(pipe) if self.len == 0 => self.pipes.give_back(pipe),
            _ => self.pipes.lost(),
        }
    }
}

impl Flow<'_> {
    /// Through a pipe; in ee mode through two, since the records' headers go between.
    pub(super) fn splice(&mut self, pipe: Pipe, bare: Option<Pipe>, limit: usize) -> Result<Moved, HalfEnd> {
        let (pipes, from) = (self.half.pipes, self.half.from);
        let mut held = Held::new(pipe, pipes);
        held.bare = bare.map(|pipe| Box::new(Held::new(pipe, pipes)));
        let Some(pipe) = held.bare.as_ref().map_or(&held.pipe, |bare| &bare.pipe) else {
            return Ok(Moved::Some(0));
        };
        let slots = pipe.slots();
        let len = match pipe.fill(from.get_ref(), limit) {
            Ok(0) => return Ok(Moved::End),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                from.not_readable();
                return Ok(Moved::Some(0));
            }
            Err(error) => return Err(HalfEnd::ReadFailed(error)),
        };
        // Fewer bytes than slots: so it was not the pipe that was full.
        if len < slots.min(limit) && !from.is_closing() {
            from.not_readable();
        }
        match &mut held.bare {
            Some(bare) => bare.len = len,
            None => held.len = len,
        }
        held.payload = len;
        self.held = Some(held);
        Ok(Moved::Some(self.empty_pipe().map_err(HalfEnd::WriteFailed)?))
    }

    /// Writes what is in the pipes, as far as there is room.
    pub(super) fn empty_pipe(&mut self) -> io::Result<usize> {
        let mut written = 0;
        while let Some(held) = &mut self.held {
            put_into_records(held, &mut self.record)?;
            let Some(pipe) = held.pipe.as_ref().filter(|_| held.len > 0) else {
                let payload = held.payload;
                self.held = None;
                self.written(written, payload);
                break;
            };
            match pipe.drain(self.half.to.get_ref(), held.len) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => {
                    held.len -= len;
                    written += len;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.taken = self.taken.saturating_add(written);
                    self.full();
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

/// Puts what is bare into records, as far as the other pipe has slots.
fn put_into_records(held: &mut Held<'_>, record: &mut Record) -> io::Result<()> {
    let Some(bare) = &mut held.bare else { return Ok(()) };
    let (Some(from), Some(into)) = (&bare.pipe, &held.pipe) else {
        return Ok(());
    };
    let mut put = || -> io::Result<()> {
        while bare.len > 0 {
            if record.left == 0 {
                let len = bare.len.min(record::MAX_PAYLOAD);
                let header = record::header(len);
                if len == record::MAX_PAYLOAD {
                    held.pipes.stamp(&header, into)?;
                } else {
                    into.write(&header)?;
                }
                held.len += header.len();
                record.left = len;
            }
            let len = from.pour(into, record.left.min(bare.len))?;
            record.left -= len;
            bare.len -= len;
            held.len += len;
        }
        Ok(())
    };
    match put() {
        // It has no slot left; what is in it goes first.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        other => other,
    }
}
