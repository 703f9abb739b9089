//! The way of bytes that have to be treated: copied out of the socket, treated where they stand, written from there, and only then
//! taken off the socket, as many as were written.
//!
//! What was not taken stays in the sender's socket: the ciphers step back over it, and a record that has begun is remembered as a
//! header and a count. So the blocks are free again before anybody waits.

use super::{Flow, HalfEnd, Moved, PIECE, Record, SLICE, TURN};
use crate::pool::Block;
use mtrelay_core::sys::{clock, socket, splice};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use wire::cipher::recrypt;
use wire::faketls::record::{self, Unwrapper};

/// Blocks that are filled at once: with the default size, a whole turn.
const BLOCKS: usize = TURN / (16 * 1024);
/// Records that a turn makes at most, with blocks that are a little longer than one of them; and the rest of one begun before.
const RECORDS: usize = BLOCKS * 2 + 1;
/// A header and a payload for each, and the rest of a header.
const PIECES: usize = 2 * RECORDS + 1;

/// Part of what one writing gathers.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// The last bytes of a record's header, and the payload it announces.
    Header {
        header: [u8; record::HEADER_LEN],
        left: usize,
        announces: usize,
    },
    /// Bytes of a block.
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

impl Flow<'_> {
    /// Through blocks of the pool. What is in them stays in the socket too, until it is written.
    pub(super) fn copy(&mut self, block: Option<Block>, limit: usize) -> Result<Moved, HalfEnd> {
        let Some(first) = block.or_else(|| self.half.pool.try_take()) else {
            return Ok(Moved::NoBlock);
        };
        let mut blocks = Blocks::new();
        // It has room for one.
        let _ = blocks.push(first);
        while blocks.len() < self.blocks
            && let Some(block) = self.half.pool.try_take()
            && blocks.push(block).is_ok()
        {}
        let from = self.half.from;
        let room = blocks.iter().map(|block| block.len()).sum::<usize>().min(limit);
        let there = match with_slices(&mut blocks, room, |room| splice::peek(from.get_ref(), room)) {
            Ok(0) => return Ok(Moved::End),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                from.not_readable();
                return Ok(Moved::Some(0));
            }
            Err(error) => return Err(HalfEnd::ReadFailed(error)),
        };
        self.blocks = (2 * there / blocks[0].len()).clamp(1, BLOCKS);
        if self.has_to_look() && !socket::has_room(self.half.to.get_ref()) {
            self.half.to.not_writable();
            return Ok(Moved::Some(0));
        }

        let before = self.half.treatment.unwrap;
        let (plan, payload) = self.treat_in_time(&mut blocks, there)?;
        let whole: usize = plan.iter().map(Piece::len).sum();
        let sent = match gather(&blocks, &plan, |pieces| {
            splice::send(self.half.to.get_ref(), pieces)
        }) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(HalfEnd::WriteFailed(error)),
        };
        let paid = self.commit(&plan, sent);
        let taken = if sent == whole {
            there
        } else {
            self.take_back(payload - paid);
            self.taken_for(paid, before, &mut blocks, there)?
        };
        if taken > 0 {
            let forgotten = with_slices(&mut blocks, taken, |room| splice::forget(from.get_ref(), room));
            forgotten.map_err(HalfEnd::ReadFailed)?;
        }
        if taken == there && there < room && !from.is_closing() {
            from.not_readable();
        }
        self.written(sent, paid);
        if sent < whole {
            self.full();
        }
        Ok(Moved::Some(taken))
    }

    /// Treats them, and notes how many can be treated within a slice of time.
    fn treat_in_time(&mut self, blocks: &mut Blocks, len: usize) -> Result<(Plan, usize), HalfEnd> {
        if len < PIECE {
            return self.treat(blocks, len);
        }
        let begun = clock::now();
        let treated = self.treat(blocks, len);
        let took = clock::now().saturating_duration_since(begun);
        if took > SLICE {
            self.slice = (self.slice / 2).max(PIECE);
        } else if len >= self.slice / 2 && took < SLICE / 4 {
            self.slice = (self.slice * 2).min(TURN);
        }
        treated
    }

    /// Unwraps and recrypts `len` bytes of the blocks, and plans how they are written. Returns also how much payload that is.
    fn treat(&mut self, blocks: &mut Blocks, len: usize) -> Result<(Plan, usize), HalfEnd> {
        let treatment = &mut self.half.treatment;
        let mut plan = Plan::new();
        let mut whole = 0;
        let mut record = self.record;
        let mut add = |piece| {
            let is_added = plan.push(piece).is_ok();
            debug_assert!(is_added, "a plan has room for all that a turn can be cut into");
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
            let payload = match &mut treatment.unwrap {
                Some(unwrapper) => unwrapper.unwrap_in_place(bytes).map_err(|_| HalfEnd::BadRecord)?,
                None => 0..len,
            };
            if let Some((off, on)) = &mut treatment.recrypt {
                recrypt(off, on, &mut bytes[payload.clone()]);
            }
            whole += payload.len();
            let mut start = payload.start;
            while start < payload.end {
                let mut end = payload.end;
                if treatment.wrap {
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

    /// Notes that the first `sent` bytes of the plan are written. Returns how much payload is among them.
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

    /// The last `len` bytes were treated in vain.
    fn take_back(&mut self, len: usize) {
        if let Some((off, on)) = &mut self.half.treatment.recrypt {
            for stream in [off, on] {
                stream.rewind(len);
            }
        }
    }

    /// How many bytes of the socket make `payload` bytes of payload, which is less than all of it. Inside records, they have
    /// to be looked at again: in the blocks they stand no longer as they were.
    fn taken_for(
        &mut self,
        payload: usize,
        before: Option<Unwrapper>,
        blocks: &mut Blocks,
        there: usize,
    ) -> Result<usize, HalfEnd> {
        let Some(mut unwrapper) = before else {
            return Ok(payload);
        };
        let from = self.half.from;
        with_slices(blocks, there, |room| splice::peek(from.get_ref(), room)).map_err(HalfEnd::ReadFailed)?;
        let (mut taken, mut left, mut rest) = (0, payload, there);
        for block in &*blocks {
            let bytes = &block[..rest.min(block.len())];
            rest -= bytes.len();
            taken += unwrapper
                .advance(bytes, &mut left)
                .map_err(|_| HalfEnd::BadRecord)?;
        }
        self.half.treatment.unwrap = Some(unwrapper);
        Ok(taken)
    }
}

/// Does `work` with the first `len` bytes of the blocks.
fn with_slices<T>(blocks: &mut Blocks, mut len: usize, work: impl FnOnce(&mut [IoSliceMut<'_>]) -> T) -> T {
    let mut slices: heapless::Vec<IoSliceMut<'_>, BLOCKS> = heapless::Vec::new();
    for block in blocks.iter_mut() {
        let here = len.min(block.len());
        len -= here;
        if here > 0 {
            // As many as there can be blocks.
            let _ = slices.push(IoSliceMut::new(&mut block[..here]));
        }
    }
    work(&mut slices)
}

/// Does `work` with all pieces of the plan.
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
        // As many as the plan has pieces.
        let _ = slices.push(IoSlice::new(bytes));
    }
    if slices.is_empty() {
        return Ok(0);
    }
    work(&slices)
}
