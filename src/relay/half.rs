//! One direction of a session: unwrap, recrypt, wrap, or nothing of all that.
//!
//! Read [`Flow::poll`] first. Bytes that stay as they are never enter user space: they go through a pipe (splice(2)). The
//! others are copied out of the socket, treated, written, and only then taken off it, as many as were written: so there is
//! never anything in hand for a receiver that is behind, and no block of the pool waits for one.
//!
//! A receiver proves itself: until it has taken `PROOF` bytes without a wait, it gets small pieces, each after a look
//! whether there is room. So a reader that stalls holds no pipe, and makes nobody decrypt in vain.
//!
//! A half promises that every byte it has taken is written before it reports how it ended, unless writing itself fails.

mod copying;
mod splicing;

use crate::pool::{Block, BufferPool, Waiting};
use crate::relay::live_sessions::SessionHandle;
use crate::relay::pipes::Pipes;
use mtrelay_core::reactor::{Async, Kind, Place};
use mtrelay_core::sys::socket;
use splicing::Held;
use std::future::Future as _;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use wire::cipher::Stream;
use wire::faketls::record::{self, Unwrapper};

/// Bytes that one half moves before the others get their turn: through a pipe they take no longer than a quarter of it through
/// the ciphers.
const TURN: usize = 256 * 1024;
const SPLICED_TURN: usize = 1 << 20;
/// What is recrypted at once takes no longer than this, as far as less than `PIECE` need not be: where there are no AES
/// instructions, a whole turn would take a tenth of a second.
const SLICE: Duration = Duration::from_millis(2);
/// Whoever has moved so much at once waits in the reactor's line to move more, behind all who have little to move.
const MUCH: usize = 64 * 1024;
/// What is moved at once to a receiver that has not proved itself: half of the least room that a writable socket has with the
/// default of `notsent_lowat`.
const PIECE: usize = 8 * 1024;
/// What a receiver takes to prove itself: twice what one that never reads takes into its own socket.
const PROOF: usize = 256 * 1024;
/// A round trip that makes a long way.
const LONG_WAY: Duration = Duration::from_millis(5);
/// So many times as much may wait unsent in the socket of a receiver that has proved itself and is far away: there has to be
/// something to send at each acknowledgement, however late we come with more.
const WIDER: u32 = 32;
/// Whoever has taken this much without reading it has little room left: three quarters of what one that never reads takes. One
/// whose window takes this much more, besides what is on its way, is reading, and its sender's window begins to grow: over a long
/// way it is later missed for several round trips.
const GLANCE: usize = 96 * 1024;
const WINDOW_OF_READERS: usize = 48 * 1024;
/// What a near sender may have waiting where bytes are copied is twice this: two turns. It needs no more (500 KB in each 5 ms
/// are 100 MB/s), and what has waited behind megabytes is no longer in the processor's cache.
const NEAR_BACKLOG: u32 = TURN as u32;
/// So much is passed on before the sender's distance is asked for: the kernel lets its buffer grow after 64 KiB at the soonest.
const NOTEWORTHY: usize = 32 * 1024;
/// What a sender may have on its way to a receiver that has stalled for a second.
const STALLED_WINDOW: u32 = 64 * 1024;
/// The part of what a receiver has taken without a wait that is recrypted for it at once: so much may have been in vain.
const AHEAD: usize = 4;

/// How a half ended.
#[derive(Debug)]
pub(super) enum HalfEnd {
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
pub(super) struct Treatment {
    /// Take the payload out of TLS records.
    pub unwrap: Option<Unwrapper>,
    /// Take the first cipher off and put the second one on.
    pub recrypt: Option<(Stream, Stream)>,
    /// Put TLS records around.
    pub wrap: bool,
}

/// One direction.
pub(super) struct Half<'a> {
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
    pub pulse: &'a SessionHandle,
    /// Counts every byte of payload.
    pub moved: &'a dyn Fn(usize),
}

/// A half on its way.
pub(super) struct Flow<'a> {
    half: Half<'a>,
    held: Option<Held<'a>>,
    record: Record,
    /// Bytes that the receiver has taken since it last had no room,
    taken: usize,
    /// and that it took before, from one lack of room to the next.
    burst: usize,
    /// So little was written so far that there is room without a look.
    fresh: bool,
    way: Distance,
    /// What the sender may have waiting is bound, or need not be.
    is_bound: bool,
    /// Blocks that the next reading may fill.
    blocks: usize,
    /// What can be recrypted within a slice of time.
    slice: usize,
    /// A place in the line for a block, when all are in use.
    line: Option<Waiting>,
    /// It has moved much when it was last its turn,
    has_much: bool,
    /// and waits for the next one.
    place: Place,
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

/// How far away the receiver is.
#[derive(Clone, Copy, Debug)]
enum Distance {
    /// It has not proved itself yet.
    Unknown,
    Near,
    /// With what could wait unsent in its socket before.
    Far(u32),
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
    pub(super) fn new(half: Half<'a>) -> Flow<'a> {
        Flow {
            is_bound: half.treatment.recrypt.is_none(),
            half,
            held: None,
            record: Record::default(),
            taken: 0,
            burst: 0,
            fresh: true,
            way: Distance::Unknown,
            blocks: 1,
            slice: 2 * PIECE,
            line: None,
            has_much: false,
            place: Place::default(),
            clamp: Clamp::Never,
        }
    }

    /// When the receiver stalls, the sender's window is bound until it has proved itself again. What is on its way then
    /// still comes, and no more. The sender's receive buffer is kept already ([`socket::keep_receive_buffer`]), until the first proof.
    #[must_use]
    pub(super) fn clamping(mut self) -> Flow<'a> {
        self.clamp = Clamp::First;
        self
    }

    /// Moves bytes until the direction ends, or nothing can be moved.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<HalfEnd> {
        self.pump(context).map(|end| end.unwrap_or_else(|end| end))
    }

    fn pump(&mut self, context: &mut Context<'_>) -> Poll<Result<HalfEnd, HalfEnd>> {
        let (mut moved, turn) = (0, self.turn());
        let end = self.take_turn(&mut moved, turn, context);
        if moved > 0 {
            self.has_much = moved >= turn.min(MUCH);
        }
        end
    }

    fn take_turn(
        &mut self,
        moved: &mut usize,
        turn: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<HalfEnd, HalfEnd>> {
        let mut is_called = !self.has_much;
        loop {
            if self.held.is_some() {
                ready!(self.wait(|flow| flow.half.to.may_write(context)));
            } else {
                ready!(self.half.from.may_read(context));
                ready!(self.wait(|flow| flow.poll_room(context)));
            }
            if !is_called || *moved >= turn {
                let kind = if self.held.is_some() {
                    Kind::Holder
                } else {
                    Kind::Other
                };
                ready!(self.place.poll(kind, context));
                is_called = true;
            }
            if self.held.is_some() {
                *moved += self.empty_pipe().map_err(HalfEnd::WriteFailed)?;
                continue;
            }
            let block = match &mut self.line {
                Some(line) => {
                    let block = ready!(Pin::new(line).poll(context));
                    self.line = None;
                    Some(block)
                }
                None => None,
            };
            match self.advance(block)? {
                Moved::Some(len) => *moved += len,
                Moved::End => return Poll::Ready(Ok(HalfEnd::Finished)),
                Moved::NoBlock => self.line = Some(self.half.pool.line_up()),
            }
        }
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

    /// Whether the receiver has room: for one that has proved itself, as far as is known; for others, by looking. Where bytes
    /// are copied, that is done once there are some.
    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.splices() && self.has_to_look() {
            // An error shows in the writing as well.
            self.half.to.poll_writable(context).map(drop)
        } else {
            self.half.to.may_write(context)
        }
    }

    /// Whether the receiver may have no room although nobody has been told so.
    fn has_to_look(&self) -> bool {
        !self.fresh && !self.is_trusted()
    }

    fn is_proved(&self) -> bool {
        self.proof() >= PROOF
    }

    /// What the receiver may be expected to take without a wait. One that is slower than its sender takes as much as its window,
    /// again and again, and has no room between.
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
            (self.proof() / AHEAD).min(self.slice)
        } else {
            self.proof().min(self.turn())
        }
    }

    fn turn(&self) -> usize {
        // With records between it would be more than two pipes take at once.
        if self.half.treatment.recrypt.is_some() {
            self.slice
        } else if self.splices() && !self.half.treatment.wrap {
            SPLICED_TURN
        } else {
            TURN
        }
    }

    fn written(&mut self, len: usize, payload: usize) {
        self.taken = self.taken.saturating_add(len);
        self.fresh &= self.taken <= PIECE;
        if !matches!(self.clamp, Clamp::Never) {
            self.give_way();
        } else if !self.is_bound && self.taken >= NOTEWORTHY {
            self.bound_backlog();
        }
        self.count(payload);
    }

    /// Lifts the bounds that hold until the receiver has proved itself.
    fn give_way(&mut self) {
        let (from, to) = (self.half.from.get_ref(), self.half.to.get_ref());
        let is_proved = self.is_proved();
        let seems_to_read = || {
            if self.taken < GLANCE {
                return false;
            }
            // First what is on its way: an acknowledgement between the two questions makes it too much, and never too little.
            let on_its_way = socket::unacknowledged(to);
            socket::peer_window(to).is_some_and(|window| window as usize >= on_its_way + WINDOW_OF_READERS)
        };
        match self.clamp {
            Clamp::First if is_proved || seems_to_read() => {
                if self.is_bound || !self.bound_backlog() {
                    socket::free_receive_buffer(from);
                }
                self.clamp = Clamp::Off;
            }
            Clamp::On if is_proved => {
                socket::clamp_window(from, socket::ANY_WINDOW);
                self.clamp = Clamp::Off;
            }
            _ => {}
        }
        if let (true, Distance::Unknown) = (is_proved, self.way) {
            self.way = Distance::Near;
            if socket::round_trip(to).is_some_and(|round_trip| round_trip >= LONG_WAY) {
                let narrow = socket::notsent_lowat(to).unwrap_or(0);
                // Zero is no bound.
                socket::set_notsent_lowat(to, narrow.saturating_mul(WIDER));
                self.way = Distance::Far(narrow);
            }
        }
    }

    /// Bounds what a near sender may have waiting; whether it is near.
    fn bound_backlog(&mut self) -> bool {
        self.is_bound = true;
        let from = self.half.from.get_ref();
        let is_near = socket::round_trip(from).is_some_and(|round_trip| round_trip < LONG_WAY);
        if is_near {
            socket::bound_receive_buffer(from, NEAR_BACKLOG);
        }
        is_near
    }

    /// The receiver has stalled for a second: it has to prove itself anew.
    fn doubt(&mut self) {
        socket::clamp_window(self.half.from.get_ref(), STALLED_WINDOW);
        self.clamp = Clamp::On;
        (self.taken, self.burst) = (0, 0);
        self.fresh = false;
        if let Distance::Far(narrow) = self.way {
            socket::set_notsent_lowat(self.half.to.get_ref(), narrow);
        }
        self.way = Distance::Unknown;
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
        self.fresh = false;
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
}

/// Writes all of `bytes`.
///
/// # Errors
/// As write(2).
pub(super) async fn write_all(to: &Async<TcpStream>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let len = to.write_with(|mut socket| socket.write(bytes)).await?;
        bytes = &bytes[len..];
    }
    Ok(())
}

/// Tells a receiver that there will be no more.
pub(super) fn finish(to: &Async<TcpStream>) {
    // An error means that it knows.
    let _ = to.get_ref().shutdown(Shutdown::Write);
}

/// Reads and throws away until the sender has finished, so that it is never blocked by us.
///
/// # Errors
/// When it did not finish but failed.
pub(super) async fn discard(from: &Async<TcpStream>) -> io::Result<()> {
    // The bytes live within the closure, so that the future does not carry them.
    while from.read_with(|mut socket| socket.read(&mut [0; 4096])).await? > 0 {}
    Ok(())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests are their own peers")]
mod tests;
