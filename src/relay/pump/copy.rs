//! Moving bytes that have to be transformed: copied out of the socket (MSG_PEEK), transformed in place, written, and only then removed
//! from the socket, as many as were written.
//!
//! Bytes that were not written stay in the sender's socket: the ciphers step back over them, and a TLS record that has begun is kept as
//! a header and a count. So all blocks are free again before the pump waits.

use super::state::{COPY_TURN, Moved, Pump, PumpEnd, Record};
use crate::pool::Block;
use crate::relay::flow_control::UNCONFIRMED_CHUNK;
use mtrelay_core::reactor::{Interest, Step};
use mtrelay_core::sys::{clock, socket, splice};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::task::{Context, Poll};
use std::time::Duration;
use wire::cipher::recrypt;
use wire::faketls::record::{self, Unwrapper};

/// Time in which a turn re-encrypts at most, as far as it is more than [`UNCONFIRMED_CHUNK`] bytes: without AES instructions a turn of
/// 256 KiB would take a tenth of a second.
const RECRYPT_SLICE: Duration = Duration::from_millis(2);
/// Blocks filled at once: with the default block size of 16 KiB, a whole turn.
const BLOCKS: usize = COPY_TURN / (16 * 1024);
/// TLS records that a turn writes at most: two for each block, which may be a little longer than a record, and the rest of one begun
/// before.
const RECORDS: usize = BLOCKS * 2 + 1;
/// Pieces of one write: a header and a payload for each record, and the rest of a header.
const PIECES: usize = 2 * RECORDS + 1;

/// A piece of one gathered write.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// The last `left` bytes of a record's header, which announces a payload.
    Header {
        header: [u8; record::HEADER_LEN],
        left: usize,
        announces: usize,
    },
    /// A range of a block's bytes.
    Payload { block: usize, start: usize, end: usize },
}

impl Piece {
    fn len(&self) -> usize {
        match *self {
            Piece::Header { left, .. } => left,
            Piece::Payload { start, end, .. } => end - start,
        }
    }
}

type Blocks = heapless::Vec<Block, BLOCKS>;
type Plan = heapless::Vec<Piece, PIECES>;

impl Pump<'_> {
    /// Moves bytes through blocks of the pool. The bytes stay in the socket until they are written.
    pub(super) fn copy(
        &mut self,
        block: Option<Block>,
        limit: usize,
        context: &mut Context<'_>,
    ) -> Result<Moved, PumpEnd> {
        let Some(mut blocks) = self.take_blocks(block) else {
            return Ok(Moved::NoBlock);
        };
        let (from, to) = (self.direction.from, self.direction.to);
        let room = blocks.iter().map(|block| block.len()).sum::<usize>().min(limit);
        let peeked = from.poll_io(Interest::Read, context, |from| {
            with_slices(&mut blocks, room, |room| splice::peek(from, room))
        });
        let there = match peeked {
            Poll::Pending => return Ok(Moved::Bytes(0)),
            Poll::Ready(Ok(0)) => return Ok(Moved::End),
            Poll::Ready(Ok(len)) => len,
            Poll::Ready(Err(error)) => return Err(PumpEnd::ReadFailed(error)),
        };
        self.blocks = (2 * there / blocks[0].len()).clamp(1, BLOCKS);
        if self.must_check_room() {
            let has_room = to.poll_io(Interest::Write, context, |to| {
                let would_block = || ErrorKind::WouldBlock.into();
                socket::has_room(to).then_some(()).ok_or_else(would_block)
            });
            if has_room.is_pending() {
                return Ok(Moved::Bytes(0));
            }
        }

        let before = self.direction.transform.unwrap;
        let (plan, payload) = self.transform_in_time(&mut blocks, there)?;
        let whole: usize = plan.iter().map(Piece::len).sum();
        let sent = self.send(&blocks, &plan, whole, context)?;
        let paid = self.commit(&plan, sent);
        let taken = if sent == whole {
            there
        } else {
            self.take_back(payload - paid);
            self.taken_for(paid, before, &mut blocks, there)?
        };
        if taken > 0 {
            let is_drained = taken == there && there < room;
            self.remove(&mut blocks, taken, is_drained, context)?;
        }
        self.written(sent, paid);
        if sent < whole {
            self.flow_control.on_would_block(0);
        }
        Ok(Moved::Bytes(taken))
    }

    /// Takes blocks for the next read: `first` or another one, and as many as the read before has filled. `None`: all are in use.
    fn take_blocks(&self, first: Option<Block>) -> Option<Blocks> {
        let pool = self.direction.pool;
        let mut blocks = Blocks::new();
        // The new vector has room.
        let _ = blocks.push(first.or_else(|| pool.try_take())?);
        while blocks.len() < self.blocks
            && let Some(block) = pool.try_take()
            && blocks.push(block).is_ok()
        {}
        Some(blocks)
    }

    /// Writes the plan, which has `whole` bytes, in one system call. Returns the bytes written, zero when there was no room.
    fn send(
        &self,
        blocks: &Blocks,
        plan: &Plan,
        whole: usize,
        context: &mut Context<'_>,
    ) -> Result<usize, PumpEnd> {
        let written = self.direction.to.poll_step(Interest::Write, context, |to| {
            let sent = gather(blocks, plan, |pieces| splice::send(to, pieces))?;
            Ok(if sent < whole {
                Step::Exhausted(sent)
            } else {
                Step::Done(sent)
            })
        });
        match written {
            Poll::Pending => Ok(0),
            Poll::Ready(sent) => sent.map_err(PumpEnd::WriteFailed),
        }
    }

    /// Removes the first `len` bytes from the sender's socket, which were peeked at before.
    fn remove(
        &self,
        blocks: &mut Blocks,
        len: usize,
        is_drained: bool,
        context: &mut Context<'_>,
    ) -> Result<(), PumpEnd> {
        let removed = self.direction.from.poll_step(Interest::Read, context, |from| {
            with_slices(blocks, len, |room| splice::forget(from, room))?;
            Ok(if is_drained {
                Step::Exhausted(())
            } else {
                Step::Done(())
            })
        });
        match removed {
            Poll::Pending => Ok(()),
            Poll::Ready(removed) => removed.map_err(PumpEnd::ReadFailed),
        }
    }

    /// Transforms `len` bytes, and adapts how many can be transformed within [`RECRYPT_SLICE`].
    fn transform_in_time(&mut self, blocks: &mut Blocks, len: usize) -> Result<(Plan, usize), PumpEnd> {
        if len < UNCONFIRMED_CHUNK {
            return self.transform(blocks, len);
        }
        let begun = clock::now();
        let transformed = self.transform(blocks, len);
        let took = clock::now().saturating_duration_since(begun);
        if took > RECRYPT_SLICE {
            self.slice = (self.slice / 2).max(UNCONFIRMED_CHUNK);
        } else if len >= self.slice / 2 && took < RECRYPT_SLICE / 4 {
            self.slice = (self.slice * 2).min(COPY_TURN);
        }
        transformed
    }

    /// Transforms `len` bytes of the blocks and plans the write. Returns the plan and its payload in bytes.
    fn transform(&mut self, blocks: &mut Blocks, len: usize) -> Result<(Plan, usize), PumpEnd> {
        let transform = &mut self.direction.transform;
        let mut plan = Plan::new();
        let mut whole = 0;
        let mut record = self.record;
        let mut add = |piece| {
            let is_added = plan.push(piece).is_ok();
            debug_assert!(is_added, "a plan has room for every piece of a turn");
        };
        if record.header_left > 0 {
            add(Piece::Header {
                header: record.header,
                left: record.header_left,
                announces: record.left,
            });
        }
        let mut rest = len;
        for (at, block) in blocks.iter_mut().enumerate() {
            let len = rest.min(block.len());
            rest -= len;
            let bytes = &mut block[..len];
            let payload = match &mut transform.unwrap {
                Some(unwrapper) => unwrapper.unwrap_in_place(bytes).map_err(|_| PumpEnd::BadRecord)?,
                None => 0..len,
            };
            if let Some((off, on)) = &mut transform.recrypt {
                recrypt(off, on, &mut bytes[payload.clone()]);
            }
            whole += payload.len();
            let mut start = payload.start;
            while start < payload.end {
                let mut end = payload.end;
                if transform.wrap {
                    if record.left == 0 {
                        let len = (end - start).min(record::MAX_PAYLOAD);
                        add(Piece::Header {
                            header: record::header(len),
                            left: record::HEADER_LEN,
                            announces: len,
                        });
                        record.left = len;
                    }
                    end = end.min(start + record.left);
                    record.left -= end - start;
                }
                add(Piece::Payload {
                    block: at,
                    start,
                    end,
                });
                start = end;
            }
        }
        Ok((plan, whole))
    }

    /// Notes that the first `sent` bytes of the plan are written. Returns the payload among them.
    fn commit(&mut self, plan: &Plan, mut sent: usize) -> usize {
        let mut payload = 0;
        for piece in plan {
            if sent == 0 {
                break;
            }
            let len = piece.len().min(sent);
            sent -= len;
            match *piece {
                Piece::Header {
                    header,
                    left,
                    announces,
                } => {
                    self.record = Record {
                        header,
                        header_left: left - len,
                        left: announces,
                    }
                }
                Piece::Payload { .. } => {
                    payload += len;
                    self.record.left = self.record.left.saturating_sub(len);
                }
            }
        }
        payload
    }

    /// Steps the ciphers back over `len` bytes that were transformed and not written.
    fn take_back(&mut self, len: usize) {
        if let Some((off, on)) = &mut self.direction.transform.recrypt {
            for stream in [off, on] {
                stream.rewind(len);
            }
        }
    }

    /// The number of the socket's bytes that make up `payload` bytes of payload, which is less than all of it. TLS records are peeked at
    /// again for it, since the bytes in the blocks are changed already.
    fn taken_for(
        &mut self,
        payload: usize,
        before: Option<Unwrapper>,
        blocks: &mut Blocks,
        there: usize,
    ) -> Result<usize, PumpEnd> {
        let Some(mut unwrapper) = before else {
            return Ok(payload);
        };
        let from = self.direction.from;
        with_slices(blocks, there, |room| splice::peek(from.get_ref(), room)).map_err(PumpEnd::ReadFailed)?;
        let (mut taken, mut left, mut rest) = (0, payload, there);
        for block in &*blocks {
            let bytes = &block[..rest.min(block.len())];
            rest -= bytes.len();
            taken += unwrapper
                .advance(bytes, &mut left)
                .map_err(|_| PumpEnd::BadRecord)?;
        }
        self.direction.transform.unwrap = Some(unwrapper);
        Ok(taken)
    }
}

/// Calls `work` with the first `len` bytes of the blocks.
fn with_slices<T>(blocks: &mut Blocks, mut len: usize, work: impl FnOnce(&mut [IoSliceMut<'_>]) -> T) -> T {
    let mut slices: heapless::Vec<IoSliceMut<'_>, BLOCKS> = heapless::Vec::new();
    for block in blocks.iter_mut() {
        let here = len.min(block.len());
        len -= here;
        if here > 0 {
            // One slice for each block.
            let _ = slices.push(IoSliceMut::new(&mut block[..here]));
        }
    }
    work(&mut slices)
}

/// Calls `work` with the pieces of the plan.
fn gather(
    blocks: &Blocks,
    plan: &Plan,
    work: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut slices: heapless::Vec<IoSlice<'_>, PIECES> = heapless::Vec::new();
    for piece in plan {
        let bytes = match piece {
            Piece::Header { header, left, .. } => &header[record::HEADER_LEN - left..],
            Piece::Payload { block, start, end } => &blocks[*block][*start..*end],
        };
        // One slice for each piece.
        let _ = slices.push(IoSlice::new(bytes));
    }
    if slices.is_empty() {
        return Ok(0);
    }
    work(&slices)
}
