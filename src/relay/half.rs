//! One direction of a session: unwrap, recrypt, wrap, or nothing of all that.
//!
//! Read [`Half::run`] first. Bytes that stay as they are never enter user space: they go through a pipe (splice(2)). The
//! others are copied out of the socket, treated, written, and only then taken off it, as many as were written: so there is
//! never anything in hand for a receiver that is behind, and no block of the pool waits for one.
//!
//! A receiver proves itself: until it has taken `PROOF` bytes without a wait, it gets small pieces, each after a look
//! whether there is room. So a reader that stalls holds no pipe, and makes nobody decrypt in vain.
//!
//! A half promises that every byte it has taken is written before it reports how it ended, unless writing itself fails.

use crate::pool::{Block, BufferPool, Waiting};
use crate::reactor::Async;
use crate::relay::pipes::Pipes;
use crate::relay::pulse::Pulse;
use crate::sys::socket;
use crate::sys::splice::{self, Pipe};
use std::future::{Future as _, poll_fn};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use wire::cipher::{Stream, recrypt};
use wire::faketls::record::{self, Unwrapper};

/// Bytes that one half moves before the others get their turn: through a pipe they take no longer than a quarter of it through
/// the ciphers.
const TURN: usize = 256 * 1024;
const SPLICED_TURN: usize = 1 << 20;
/// What is moved at once to a receiver that has not proved itself: half of the least room that a writable socket has with the
/// default of `notsent_lowat`.
const PIECE: usize = 8 * 1024;
/// What a receiver takes to prove itself: twice what one that never reads takes into its own socket.
const PROOF: usize = 256 * 1024;
/// So many times as much may wait unsent in the socket of a receiver that has proved itself: over a long way there has to be
/// something to send at each acknowledgement, however late we come with more.
const WIDER: u32 = 32;
/// Whoever has taken this much without reading it has little room left: three quarters of what one that never reads takes. One
/// that still announces a window of this size is reading, and its sender's window begins to grow: over a long way it is later
/// missed for several round trips.
const GLANCE: usize = 96 * 1024;
const WINDOW_OF_READERS: u32 = 60 * 1024;
/// What a sender may have on its way to a receiver that has stalled for a second.
const STALLED_WINDOW: u32 = 64 * 1024;
/// Blocks that are filled at once: with the default size, a whole turn.
const BLOCKS: usize = TURN / (16 * 1024);
/// The part of what a receiver has taken without a wait that is recrypted for it at once: so much may have been in vain.
const AHEAD: usize = 4;
/// Records that a turn makes at most, with blocks that are a little longer than one of them; and the rest of one begun before.
const RECORDS: usize = BLOCKS * 2 + 1;
/// A header and a payload for each, and the rest of a header.
const PIECES: usize = 2 * RECORDS + 1;

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
    /// Where they stand meanwhile,
    pub pool: &'a BufferPool,
    /// or pass through.
    pub pipes: &'a Pipes,
    /// Told of every byte.
    pub pulse: &'a Pulse,
    /// Counts every byte of payload.
    pub moved: &'a dyn Fn(usize),
}

impl Half<'_> {
    /// Moves bytes until the direction ends.
    pub async fn run(self) -> HalfEnd {
        let mut flow = Flow::new(self);
        poll_fn(|context| flow.poll(context)).await
    }

    /// The same, with these bytes before all others.
    pub async fn run_after(self, head: &[u8]) -> HalfEnd {
        match write_all(self.to, head).await {
            Ok(()) => self.run().await,
            Err(error) => HalfEnd::WriteFailed(error),
        }
    }
}

/// A half on its way.
pub struct Flow<'a> {
    half: Half<'a>,
    held: Option<Held<'a>>,
    record: Record,
    /// Bytes that the receiver has taken since it last had no room,
    taken: usize,
    /// and that it took before, from one lack of room to the next.
    burst: usize,
    /// What could wait unsent in its socket before it had proved itself.
    narrow: Option<u32>,
    /// Blocks that the next reading may fill.
    blocks: usize,
    /// A place in the line for a block, when all are in use.
    line: Option<Waiting>,
    clamp: Clamp,
}

/// Whether the sender's window is bound.
#[derive(Clone, Copy, Debug)]
enum Clamp {
    /// It never is.
    Never,
    /// It does not grow, since the receiver has not proved itself yet.
    First,
    /// It is not.
    Off,
    /// The receiver has stalled, and not proved itself since.
    On,
}

/// A pipe with bytes in it.
struct Held<'a> {
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

/// A TLS record that has begun: its header tells how much belongs to it, and cannot be taken back.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    header: [u8; record::HEADER_LEN],
    /// Bytes of the header still to be written: its last ones.
    header_left: usize,
    /// Bytes of payload still to be written.
    left: usize,
}

/// What moving once has come to.
enum Moved {
    /// So many bytes.
    Some(usize),
    /// The sender has finished.
    End,
    /// There is no block: the line is entered.
    NoBlock,
}

impl<'a> Flow<'a> {
    /// Before its first byte.
    #[must_use]
    pub fn new(half: Half<'a>) -> Flow<'a> {
        Flow {
            half,
            held: None,
            record: Record::default(),
            taken: 0,
            burst: 0,
            narrow: None,
            blocks: 1,
            line: None,
            clamp: Clamp::Never,
        }
    }

    /// When the receiver stalls, the sender's window is bound until it has proved itself again. What is on its way then
    /// still comes, and no more.
    #[must_use]
    pub fn clamping(mut self) -> Flow<'a> {
        socket::keep_receive_buffer(self.half.from.get_ref());
        self.clamp = Clamp::First;
        self
    }

    /// Moves bytes until the direction ends, or nothing can be moved.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<HalfEnd> {
        self.pump(context).map(|end| end.unwrap_or_else(|end| end))
    }

    fn pump(&mut self, context: &mut Context<'_>) -> Poll<Result<HalfEnd, HalfEnd>> {
        let mut moved = 0;
        while moved < self.turn() {
            if self.held.is_some() {
                ready!(self.wait(|flow| flow.half.to.may_write(context)));
                moved += self.empty_pipe().map_err(HalfEnd::WriteFailed)?;
                continue;
            }
            ready!(self.half.from.may_read(context));
            ready!(self.wait(|flow| flow.poll_room(context)));
            let block = match &mut self.line {
                Some(line) => {
                    let block = ready!(Pin::new(line).poll(context));
                    self.line = None;
                    Some(block)
                }
                None => None,
            };
            match self.advance(block)? {
                Moved::Some(len) => moved += len,
                Moved::End => return Poll::Ready(Ok(HalfEnd::Finished)),
                Moved::NoBlock => self.line = Some(self.half.pool.line_up()),
            }
        }
        // The others' turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Asks for room, and sees to it that a sender whose receiver stalls is not let send ever more.
    fn wait(&mut self, room: impl FnOnce(&mut Self) -> Poll<()>) -> Poll<()> {
        let room = room(self);
        if !matches!(self.clamp, Clamp::Never) {
            self.half.pulse.wait_for_room(room.is_pending());
            if self.half.pulse.is_stalled() && matches!(self.clamp, Clamp::Off) {
                self.doubt();
            }
        }
        room
    }

    /// Whether the receiver has room: for one that has proved itself, as far as is known; for others, by looking.
    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_trusted() {
            self.half.to.may_write(context)
        } else {
            // An error shows in the writing as well.
            self.half.to.poll_writable(context).map(drop)
        }
    }

    fn is_proved(&self) -> bool {
        self.proof() >= PROOF
    }

    /// What the receiver may be expected to take without a wait. A long way takes as much as its window, again and again, and has no
    /// room between.
    fn proof(&self) -> usize {
        self.taken.max(self.burst / 2)
    }

    /// Whether the receiver has proved itself, and no harm is done if it disappoints.
    fn is_trusted(&self) -> bool {
        self.is_proved() && !(self.splices() && self.half.pipes.are_scarce(self.pipes_at_once()))
    }

    /// How many pipes the bytes go through: around records they go through two.
    fn pipes_at_once(&self) -> usize {
        1 + usize::from(self.half.treatment.wrap)
    }

    /// Whether the bytes stay as they are.
    fn splices(&self) -> bool {
        let treatment = &self.half.treatment;
        treatment.unwrap.is_none() && treatment.recrypt.is_none() && self.half.pipes.exist()
    }

    /// The most that is moved at once.
    fn limit(&self) -> usize {
        if !self.is_trusted() {
            PIECE
        } else if self.half.treatment.recrypt.is_some() {
            (self.proof() / AHEAD).min(TURN)
        } else {
            self.proof().min(self.turn())
        }
    }

    fn turn(&self) -> usize {
        // With records between it would be more than two pipes take at once.
        if self.splices() && !self.half.treatment.wrap {
            SPLICED_TURN
        } else {
            TURN
        }
    }

    fn written(&mut self, len: usize, payload: usize) {
        self.taken = self.taken.saturating_add(len);
        if !matches!(self.clamp, Clamp::Never) {
            self.give_way();
        }
        self.count(payload);
    }

    /// Lifts the bounds that hold until the receiver has proved itself.
    fn give_way(&mut self) {
        let (from, to) = (self.half.from.get_ref(), self.half.to.get_ref());
        let is_proved = self.is_proved();
        let seems_to_read = || {
            let has_room = |window| window >= WINDOW_OF_READERS;
            self.taken >= GLANCE && socket::peer_window(to).is_some_and(has_room)
        };
        match self.clamp {
            Clamp::First if is_proved || seems_to_read() => {
                socket::free_receive_buffer(from);
                self.clamp = Clamp::Off;
            }
            Clamp::On if is_proved => {
                socket::clamp_window(from, socket::ANY_WINDOW);
                self.clamp = Clamp::Off;
            }
            _ => {}
        }
        if is_proved && self.narrow.is_none() {
            let narrow = socket::notsent_lowat(to).unwrap_or(0);
            // Zero is no bound.
            socket::set_notsent_lowat(to, narrow.saturating_mul(WIDER));
            self.narrow = Some(narrow);
        }
    }

    /// The receiver has stalled for a second: it has to prove itself anew.
    fn doubt(&mut self) {
        socket::clamp_window(self.half.from.get_ref(), STALLED_WINDOW);
        self.clamp = Clamp::On;
        (self.taken, self.burst) = (0, 0);
        if let Some(narrow) = self.narrow.take() {
            socket::set_notsent_lowat(self.half.to.get_ref(), narrow);
        }
    }

    fn count(&self, payload: usize) {
        self.half.pulse.touch();
        if payload > 0 {
            (self.half.moved)(payload);
        }
    }

    /// The receiver took less than there was.
    fn full(&mut self) {
        self.burst = std::mem::take(&mut self.taken);
        self.half.to.not_writable();
    }

    /// Moves what there is, once.
    fn advance(&mut self, block: Option<Block>) -> Result<Moved, HalfEnd> {
        // Before a pipe is taken: the receiver was asked for room in that light.
        let limit = self.limit();
        if self.splices()
            && self.record.header_left == 0
            && block.is_none()
            && let Some(pipe) = self.half.pipes.take(self.is_proved())
        {
            if !self.half.treatment.wrap {
                return self.splice(pipe, None, limit);
            }
            match self.half.pipes.take(self.is_proved()) {
                Some(second) => return self.splice(pipe, Some(second), limit),
                None => self.half.pipes.give_back(pipe),
            }
        }
        self.copy(block, limit)
    }

    /// Through a pipe; in ee mode through two, since the records' headers go between.
    fn splice(&mut self, pipe: Pipe, bare: Option<Pipe>, limit: usize) -> Result<Moved, HalfEnd> {
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
    fn empty_pipe(&mut self) -> io::Result<usize> {
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
    fn copy(&mut self, block: Option<Block>, limit: usize) -> Result<Moved, HalfEnd> {
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

        let before = self.half.treatment.unwrap;
        let (plan, payload) = self.treat(&mut blocks, there)?;
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
                stream.step_back(len);
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

async fn write_all(to: &Async<TcpStream>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let len = to.write_with(|mut socket| socket.write(bytes)).await?;
        bytes = &bytes[len..];
    }
    Ok(())
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
