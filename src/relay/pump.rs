//! One direction of a session: bytes are read from the sender, transformed, and written to the receiver.
//!
//! Read [`Pump::poll`] first. Bytes that pass unchanged never enter user space: they go through a pipe by splice(2) ([`splice`]). Others
//! are copied out of the socket, transformed, written, and only then removed from the socket, as many as were written ([`copy`]): so no
//! block of the pool waits for a slow receiver. How much is read at a time is decided by [`crate::relay::flow_control`].
//!
//! Every byte that was taken from the sender is written before the pump reports its end, unless writing itself fails.

mod copy;
mod filled_pipe;
mod splice;
mod state;

use crate::pool::Block;
use crate::relay::flow_control::Decision;
use mtrelay_core::reactor::{Async, Interest};
use mtrelay_core::scheduler::Kind;
use mtrelay_core::sys::socket;
use state::{COPY_TURN, Moved};
pub(super) use state::{Direction, Pump, PumpEnd, Transform};
use std::future::Future as _;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Bytes that one turn splices at most.
const SPLICE_TURN: usize = 1 << 20;
/// Bytes of one turn from which the pump is a bulk transfer, which waits for its turn in the fair queue.
const BULK_BYTES: usize = 64 * 1024;

impl Pump<'_> {
    /// Moves bytes until the direction ends, or nothing can be moved.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<PumpEnd> {
        let (mut moved, turn) = (0, self.turn());
        let end = self.take_turn(&mut moved, turn, context);
        if moved > 0 {
            self.is_bulk = moved >= turn.min(BULK_BYTES);
        }
        end.map(|end| end.unwrap_or_else(|end| end))
    }

    fn take_turn(
        &mut self,
        moved: &mut usize,
        turn: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<PumpEnd, PumpEnd>> {
        let mut has_turn = !self.is_bulk;
        loop {
            if self.filled.is_some() {
                ready!(self.wait_for_room(|pump| may(pump.direction.to, Interest::Write, context)));
            } else {
                ready!(may(self.direction.from, Interest::Read, context));
                ready!(self.wait_for_room(|pump| pump.poll_room(context)));
            }
            if !has_turn || *moved >= turn {
                let kind = if self.filled.is_some() {
                    Kind::Holder
                } else {
                    Kind::Other
                };
                ready!(self.ticket.poll(kind, context));
                has_turn = true;
            }
            if self.filled.is_some() {
                *moved += self.drain(context).map_err(PumpEnd::WriteFailed)?;
                continue;
            }
            let block = match &mut self.waiting {
                Some(waiting) => {
                    let block = ready!(Pin::new(waiting).poll(context));
                    self.waiting = None;
                    Some(block)
                }
                None => None,
            };
            match self.advance(block, context)? {
                Moved::Bytes(len) => *moved += len,
                Moved::End => return Poll::Ready(Ok(PumpEnd::Finished)),
                Moved::NoBlock => self.waiting = Some(self.direction.pool.line_up()),
            }
        }
    }

    /// Polls for room in the receiver's socket, and tells flow control of a stall.
    fn wait_for_room(&mut self, poll: impl FnOnce(&mut Self) -> Poll<()>) -> Poll<()> {
        let room = poll(self);
        if self.flow_control.watches_receiver() {
            let handle = self.direction.handle;
            handle.wait_for_room(room.is_pending());
            if handle.is_stalled() {
                let decision = self.flow_control.on_stall();
                self.carry_out(decision);
            }
        }
        room
    }

    /// Whether the receiver has room: as far as the reactor knows, or by asking its socket. Where bytes are copied, the socket is asked
    /// once there are bytes.
    fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.splices() && self.must_check_room() {
            // A failed connection is reported by the write.
            self.direction.to.poll_ready(Interest::Write, context).map(drop)
        } else {
            may(self.direction.to, Interest::Write, context)
        }
    }

    /// Moves what there is, once.
    fn advance(&mut self, block: Option<Block>, context: &mut Context<'_>) -> Result<Moved, PumpEnd> {
        // Before a pipe is taken: the room was asked for with this number of free pipes.
        let limit = self.read_limit();
        let pipes = self.direction.pipes;
        if self.splices()
            && self.record.header_left == 0
            && block.is_none()
            && let Some(pipe) = pipes.take(self.flow_control.is_confirmed())
        {
            if !self.direction.transform.wrap {
                return self.splice((pipe, None), limit, context);
            }
            match pipes.take(self.flow_control.is_confirmed()) {
                Some(second) => return self.splice((pipe, Some(second)), limit, context),
                None => pipes.give_back(pipe),
            }
        }
        self.copy(block, limit, context)
    }

    /// Bytes of the next read at most.
    fn read_limit(&self) -> usize {
        if self.direction.transform.recrypt.is_some() {
            self.flow_control.recrypt_limit(self.slice)
        } else {
            self.flow_control
                .splice_limit(self.pipes_are_scarce(), self.turn())
        }
    }

    fn turn(&self) -> usize {
        if self.direction.transform.recrypt.is_some() {
            self.slice
        } else if self.splices() && !self.direction.transform.wrap {
            SPLICE_TURN
        } else {
            // With TLS headers in between, two pipes take no more than this at once.
            COPY_TURN
        }
    }

    /// Notes `len` bytes written to the receiver, `payload` of them payload.
    fn written(&mut self, len: usize, payload: usize) {
        let decision = self.flow_control.on_written(len);
        if decision.is_some() {
            self.carry_out(decision);
        }
        self.direction.handle.touch();
        if payload > 0 {
            (self.direction.moved)(payload);
        }
    }

    /// Carries out a decision of flow control, and those that follow from it.
    fn carry_out(&mut self, mut next: Option<Decision>) {
        let (from, to) = (self.direction.from.get_ref(), self.direction.to.get_ref());
        let control = &mut self.flow_control;
        while let Some(decision) = next {
            next = match decision {
                Decision::MeasureSenderRtt => control.on_sender_rtt(socket::round_trip(from)),
                Decision::MeasureReceiverRtt => control.on_receiver_rtt(socket::round_trip(to)),
                Decision::MeasureReceiverWindow => {
                    let unacknowledged = socket::unacknowledged(to);
                    control.on_receiver_window(socket::peer_window(to), unacknowledged)
                }
                Decision::ReadNotsentLowat => {
                    control.on_notsent_lowat(socket::notsent_lowat(to).unwrap_or(0))
                }
                Decision::FreeReceiveBuffer => {
                    socket::free_receive_buffer(from);
                    control.follow_up()
                }
                Decision::BoundReceiveBuffer(bytes) => {
                    socket::bound_receive_buffer(from, bytes);
                    control.follow_up()
                }
                Decision::ClampWindow(bytes) => {
                    socket::clamp_window(from, bytes);
                    control.follow_up()
                }
                Decision::SetNotsentLowat(bytes) => {
                    socket::set_notsent_lowat(to, bytes);
                    control.follow_up()
                }
            };
        }
    }
}

/// Ready when, as far as the reactor knows, an operation on the socket does not block.
fn may(socket: &Async<TcpStream>, interest: Interest, context: &mut Context<'_>) -> Poll<()> {
    socket.poll_io(interest, context, |_| Ok(())).map(drop)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests are their own peers")]
mod tests;
