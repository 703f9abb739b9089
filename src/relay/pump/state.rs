//! The state of a pump, which its two ways of moving bytes share.

use super::filled_pipe::FilledPipe;
use crate::pool::{BufferPool, Waiting};
use crate::relay::flow_control::{FlowControl, UNCONFIRMED_CHUNK};
use crate::relay::live_sessions::SessionHandle;
use crate::relay::pipe_pool::PipePool;
use mtrelay_core::reactor::Async;
use mtrelay_core::scheduler::Ticket;
use std::io;
use std::net::TcpStream;
use wire::cipher::Stream;
use wire::faketls::record::{self, Unwrapper};

/// Bytes that one turn copies at most. A turn by splice(2) takes no more than a quarter of the time of one through the ciphers.
pub(super) const COPY_TURN: usize = 256 * 1024;

/// How a direction ended.
#[derive(Debug)]
pub(in crate::relay) enum PumpEnd {
    /// The sender has sent FIN, and everything before is written. The FIN is for the caller to pass on.
    Finished,
    /// Reading failed. Everything that had arrived before is written.
    ReadFailed(io::Error),
    /// Writing failed.
    WriteFailed(io::Error),
    /// The client has sent something that is not a TLS record.
    BadRecord,
}

/// What a pump does to the bytes.
#[derive(Debug, Default)]
pub(in crate::relay) struct Transform {
    /// Take the payload out of TLS records.
    pub(in crate::relay) unwrap: Option<Unwrapper>,
    /// Decrypt with the first cipher and encrypt with the second.
    pub(in crate::relay) recrypt: Option<(Stream, Stream)>,
    /// Put the payload into TLS records.
    pub(in crate::relay) wrap: bool,
}

/// One direction of a connection pair.
pub(in crate::relay) struct Direction<'a> {
    /// The sender.
    pub(in crate::relay) from: &'a Async<TcpStream>,
    /// The receiver.
    pub(in crate::relay) to: &'a Async<TcpStream>,
    /// What happens to the bytes.
    pub(in crate::relay) transform: Transform,
    /// Blocks for bytes that are copied.
    pub(in crate::relay) pool: &'a BufferPool,
    /// Pipes for bytes that are spliced.
    pub(in crate::relay) pipes: &'a PipePool,
    /// The session in the registry: it notes every move.
    pub(in crate::relay) handle: &'a SessionHandle,
    /// Counts the bytes of payload that are moved.
    pub(in crate::relay) moved: &'a dyn Fn(usize),
}

/// What moves the bytes of one direction. Poll it until it is ready.
pub(in crate::relay) struct Pump<'a> {
    pub(super) direction: Direction<'a>,
    pub(super) flow_control: FlowControl,
    /// A pipe with bytes for the receiver.
    pub(super) filled: Option<FilledPipe<'a>>,
    pub(super) record: Record,
    /// Blocks that the next read may fill.
    pub(super) blocks: usize,
    /// Bytes that can be re-encrypted within a time slice.
    pub(super) slice: usize,
    /// A place in the pool's queue, while all blocks are in use.
    pub(super) waiting: Option<Waiting>,
    /// The last turn moved a bulk amount.
    pub(super) is_bulk: bool,
    /// The ticket of the fair queue.
    pub(super) ticket: Ticket,
}

/// The TLS record in progress: its header announces a length, and cannot be changed any more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    pub(super) header: [u8; record::HEADER_LEN],
    /// Bytes of the header that are still to be written: its last ones.
    pub(super) header_left: usize,
    /// Bytes of payload that are still to be written.
    pub(super) left: usize,
}

/// The result of one step.
pub(super) enum Moved {
    /// Bytes were moved; zero if there was nothing to read or no room.
    Bytes(usize),
    /// The sender has sent FIN.
    End,
    /// All blocks of the pool are in use.
    NoBlock,
}

impl<'a> Pump<'a> {
    /// A pump before its first byte.
    #[must_use]
    pub(in crate::relay) fn new(direction: Direction<'a>) -> Pump<'a> {
        Pump {
            flow_control: FlowControl::new(direction.transform.recrypt.is_some()),
            direction,
            filled: None,
            record: Record::default(),
            blocks: 1,
            slice: 2 * UNCONFIRMED_CHUNK,
            waiting: None,
            is_bulk: false,
            ticket: Ticket::default(),
        }
    }

    /// The same for a receiver that may stall: the client.
    #[must_use]
    pub(in crate::relay) fn watching_receiver(mut self) -> Pump<'a> {
        self.flow_control = self.flow_control.watching_receiver();
        self
    }

    /// Whether the bytes pass unchanged, or with TLS headers between, and there are pipes for them.
    pub(super) fn splices(&self) -> bool {
        let transform = &self.direction.transform;
        transform.unwrap.is_none() && transform.recrypt.is_none() && self.direction.pipes.exist()
    }

    /// Whether bytes left in a pipe would reach into the pipes that are reserved for sessions that drain theirs at once.
    pub(super) fn pipes_are_scarce(&self) -> bool {
        // TLS headers take a second pipe.
        let needed = 1 + usize::from(self.direction.transform.wrap);
        self.splices() && self.direction.pipes.are_scarce(needed)
    }

    /// Whether the receiver's socket has to be asked for room before bytes are read.
    pub(super) fn must_check_room(&self) -> bool {
        self.flow_control.must_check_room(self.pipes_are_scarce())
    }
}
