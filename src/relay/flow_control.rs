//! Flow control of one direction: how much is read at a time, and what bounds the sender.
//!
//! Pure policy: events go in (`on_…`), decisions come out, and the pump carries them out on its sockets. A decision that asks for a
//! measurement is answered with the matching `on_…` event, which may give the next decision; after a decision that sets something,
//! [`FlowControl::follow_up`] gives the next one.
//!
//! A receiver is a *confirmed reader* once it has accepted [`READER_CONFIRM_BYTES`] without a would-block. Until then it gets small
//! chunks, each after a look at the room in its socket, and its sender's window does not grow. So a receiver that never reads keeps
//! neither a pipe nor much kernel memory, and costs no decryption in vain.

use std::time::Duration;

/// Bytes of one read for a receiver that is not confirmed: half of the least room that a writable socket has with the default
/// `notsent_lowat` of 16 KiB.
pub(super) const UNCONFIRMED_CHUNK: usize = 8 * 1024;
/// Bytes accepted without a would-block that confirm a reader: twice what a receiver that never reads takes into its own socket.
const READER_CONFIRM_BYTES: usize = 256 * 1024;
/// Round-trip time from which a peer counts as far away.
const FAR_RTT: Duration = Duration::from_millis(5);
/// Factor on `notsent_lowat` for a confirmed reader far away: at each acknowledgement there have to be bytes to send, however late the
/// relay comes with more.
const FAR_NOTSENT_FACTOR: u32 = 32;
/// Bytes accepted after which a receiver that has not read is close to full: three quarters of what its socket takes. From here on
/// its window is looked at.
const UNREAD_LIMIT: usize = 96 * 1024;
/// Window in bytes, beyond what is unacknowledged, that shows a reader before it is confirmed. Its sender's window grows from then on:
/// over a long distance a window that begins to grow later is missed for several round trips.
const READER_WINDOW: usize = 48 * 1024;
/// Receive buffer in bytes for a near sender whose bytes are copied; the kernel doubles it (socket(7)), so half a megabyte may wait.
/// More is of no use (500 KB each 5 ms are 100 MB/s), and bytes behind megabytes are no longer in the processor's cache.
const NEAR_BACKLOG: u32 = 256 * 1024;
/// Bytes passed on before the sender's round-trip time is asked for. The kernel grows a receive buffer after 64 KiB at the earliest.
const RTT_PROBE_BYTES: usize = 32 * 1024;
/// Window in bytes of a sender whose receiver has stalled.
const STALLED_WINDOW: u32 = 64 * 1024;
/// A window clamp in bytes that bounds nothing.
const UNLIMITED_WINDOW: u32 = 1 << 30;
/// Divisor of what a confirmed reader accepts at a time that gives the bytes re-encrypted ahead of a write: what the socket does not
/// take was encrypted in vain.
const RECRYPT_AHEAD_DIVISOR: usize = 4;

/// What is known of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiver {
    /// Not looked at: the direction towards the DC, which always reads.
    Trusted,
    /// It has not shown yet that it reads. The sender's receive buffer is kept at its initial size.
    Unconfirmed,
    /// Its window shows that it reads. The sender's window grows.
    Reading,
    /// A confirmed reader nearby.
    Near,
    /// A confirmed reader far away; with the `notsent_lowat` in bytes that its socket had before.
    Far { notsent_lowat: u32 },
    /// It had no room for a second and is not confirmed since. The sender's window is clamped. `restore` is a `notsent_lowat` in
    /// bytes that its socket is still to get back.
    Stalled { restore: Option<u32> },
}

/// The receive buffer that holds what the sender has sent and the relay has not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backlog {
    /// The sender's distance decides; it is not known yet.
    Unmeasured,
    /// Bounded, or not to be bounded.
    Settled,
}

/// What the pump has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Measure the sender's round-trip time: [`FlowControl::on_sender_rtt`].
    MeasureSenderRtt,
    /// Measure the receiver's round-trip time: [`FlowControl::on_receiver_rtt`].
    MeasureReceiverRtt,
    /// Read the receiver's unacknowledged bytes, then its window: [`FlowControl::on_receiver_window`].
    MeasureReceiverWindow,
    /// Read the receiver's `notsent_lowat`: [`FlowControl::on_notsent_lowat`].
    ReadNotsentLowat,
    /// Let the sender's receive buffer grow.
    FreeReceiveBuffer,
    /// Set the sender's receive buffer, in bytes.
    BoundReceiveBuffer(u32),
    /// Clamp the sender's window, in bytes.
    ClampWindow(u32),
    /// Set the receiver's `notsent_lowat`, in bytes.
    SetNotsentLowat(u32),
}

/// The flow control of one direction.
#[derive(Debug)]
pub(super) struct FlowControl {
    receiver: Receiver,
    backlog: Backlog,
    /// Bytes accepted since the last would-block.
    accepted: usize,
    /// Bytes accepted between the two would-blocks before.
    accepted_before: usize,
    /// So few bytes were written that there is room without a look.
    is_fresh: bool,
}

impl FlowControl {
    /// For a direction whose bytes are copied or not.
    pub(super) fn new(copies: bool) -> FlowControl {
        FlowControl {
            receiver: Receiver::Trusted,
            backlog: if copies {
                Backlog::Unmeasured
            } else {
                Backlog::Settled
            },
            accepted: 0,
            accepted_before: 0,
            is_fresh: true,
        }
    }

    /// The same for a receiver that may stall. The sender's receive buffer is kept already
    /// ([`mtrelay_core::sys::socket::keep_receive_buffer`]).
    pub(super) fn watching_receiver(mut self) -> FlowControl {
        self.receiver = Receiver::Unconfirmed;
        self
    }

    /// Whether stalls of the receiver matter.
    pub(super) fn watches_receiver(&self) -> bool {
        self.receiver != Receiver::Trusted
    }

    /// Whether the receiver is a confirmed reader.
    pub(super) fn is_confirmed(&self) -> bool {
        self.acceptable() >= READER_CONFIRM_BYTES
    }

    /// Whether the room in the receiver's socket has to be looked at before bytes are read for it. `pipes_are_scarce`: bytes left in
    /// a pipe would harm other sessions.
    pub(super) fn must_check_room(&self, pipes_are_scarce: bool) -> bool {
        !self.is_fresh && !self.is_trusted(pipes_are_scarce)
    }

    /// Bytes of the next read where they pass unchanged, at most `turn`.
    pub(super) fn splice_limit(&self, pipes_are_scarce: bool, turn: usize) -> usize {
        if self.is_trusted(pipes_are_scarce) {
            self.acceptable().min(turn)
        } else {
            UNCONFIRMED_CHUNK
        }
    }

    /// Bytes of the next read where they are re-encrypted, at most `turn`.
    pub(super) fn recrypt_limit(&self, turn: usize) -> usize {
        if self.is_confirmed() {
            (self.acceptable() / RECRYPT_AHEAD_DIVISOR).min(turn)
        } else {
            UNCONFIRMED_CHUNK
        }
    }

    /// `len` bytes were written to the receiver.
    pub(super) fn on_written(&mut self, len: usize) -> Option<Decision> {
        self.accepted = self.accepted.saturating_add(len);
        self.is_fresh &= self.accepted <= UNCONFIRMED_CHUNK;
        match self.receiver {
            Receiver::Trusted => {
                let is_due = self.backlog == Backlog::Unmeasured && self.accepted >= RTT_PROBE_BYTES;
                is_due.then_some(Decision::MeasureSenderRtt)
            }
            Receiver::Unconfirmed if self.is_confirmed() => self.open(),
            Receiver::Unconfirmed if self.accepted >= UNREAD_LIMIT => Some(Decision::MeasureReceiverWindow),
            Receiver::Stalled { .. } if self.is_confirmed() => {
                self.receiver = Receiver::Reading;
                Some(Decision::ClampWindow(UNLIMITED_WINDOW))
            }
            _ => self.follow_up(),
        }
    }

    /// The receiver's socket was full. `len` bytes were written before, and are not reported otherwise.
    pub(super) fn on_would_block(&mut self, len: usize) {
        self.accepted_before = self.accepted.saturating_add(len);
        self.accepted = 0;
        self.is_fresh = false;
    }

    /// The receiver has had no room for a second.
    pub(super) fn on_stall(&mut self) -> Option<Decision> {
        let restore = match self.receiver {
            Receiver::Trusted | Receiver::Unconfirmed | Receiver::Stalled { .. } => return None,
            Receiver::Reading | Receiver::Near => None,
            Receiver::Far { notsent_lowat } => Some(notsent_lowat),
        };
        self.receiver = Receiver::Stalled { restore };
        (self.accepted, self.accepted_before) = (0, 0);
        self.is_fresh = false;
        Some(Decision::ClampWindow(STALLED_WINDOW))
    }

    /// The answer to [`Decision::MeasureSenderRtt`]; `None`: not known.
    pub(super) fn on_sender_rtt(&mut self, rtt: Option<Duration>) -> Option<Decision> {
        self.backlog = Backlog::Settled;
        if rtt.is_some_and(|rtt| rtt < FAR_RTT) {
            Some(Decision::BoundReceiveBuffer(NEAR_BACKLOG))
        } else {
            self.watches_receiver().then_some(Decision::FreeReceiveBuffer)
        }
    }

    /// The answer to [`Decision::MeasureReceiverWindow`]: the window in bytes, `None` if not known, and the unacknowledged bytes, which
    /// are measured first: an acknowledgement in between makes them too many, never too few.
    pub(super) fn on_receiver_window(
        &mut self,
        window: Option<u32>,
        unacknowledged: usize,
    ) -> Option<Decision> {
        let reads = window.is_some_and(|window| window as usize >= unacknowledged + READER_WINDOW);
        if reads { self.open() } else { None }
    }

    /// The answer to [`Decision::MeasureReceiverRtt`]; `None`: not known.
    pub(super) fn on_receiver_rtt(&mut self, rtt: Option<Duration>) -> Option<Decision> {
        self.receiver = Receiver::Near;
        rtt.is_some_and(|rtt| rtt >= FAR_RTT)
            .then_some(Decision::ReadNotsentLowat)
    }

    /// The answer to [`Decision::ReadNotsentLowat`]; zero is no bound.
    pub(super) fn on_notsent_lowat(&mut self, notsent_lowat: u32) -> Option<Decision> {
        self.receiver = Receiver::Far { notsent_lowat };
        Some(Decision::SetNotsentLowat(
            notsent_lowat.saturating_mul(FAR_NOTSENT_FACTOR),
        ))
    }

    /// The next decision after one that has set something.
    pub(super) fn follow_up(&mut self) -> Option<Decision> {
        match self.receiver {
            Receiver::Reading if self.is_confirmed() => Some(Decision::MeasureReceiverRtt),
            Receiver::Stalled { restore } => {
                self.receiver = Receiver::Stalled { restore: None };
                restore.map(Decision::SetNotsentLowat)
            }
            _ => None,
        }
    }

    /// The receiver reads: the sender's window may grow.
    fn open(&mut self) -> Option<Decision> {
        self.receiver = Receiver::Reading;
        Some(match self.backlog {
            Backlog::Unmeasured => Decision::MeasureSenderRtt,
            Backlog::Settled => Decision::FreeReceiveBuffer,
        })
    }

    /// Bytes that the receiver is expected to accept without a would-block. A receiver slower than its sender accepts one window again
    /// and again and would block in between, so half of the run before counts too.
    fn acceptable(&self) -> usize {
        self.accepted.max(self.accepted_before / 2)
    }

    fn is_trusted(&self, pipes_are_scarce: bool) -> bool {
        self.is_confirmed() && !pipes_are_scarce
    }
}

#[cfg(test)]
mod tests;
