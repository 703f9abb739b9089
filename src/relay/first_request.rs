//! The first request: what a client sends before the DC's first answer. It can still be sent again to another address.
//!
//! The bytes are passed on at once and kept in a retry buffer ([`RetryBuffer`]). When a DC closes, resets or stays silent before its first
//! answer, the request is sent to another address behind a new header. The phase ends with the DC's first byte, with the client's
//! FIN, or when the request is too long to be kept; the duplex takes over then.
//!
//! Promises: the DC's answer is only peeked at, so the duplex starts with its first byte; and no byte is read from the client that
//! could not be kept.

use crate::relay::live_sessions::SessionHandle;
use crate::relay::retry_buffer::{RetryBuffer, RetryBuffers};
use crate::relay::stream;
use mtrelay_core::close::CloseReason;
use mtrelay_core::reactor::{Async, Interest, Step, Timer};
use mtrelay_core::sys::{random, socket};
use std::cell::RefCell;
use std::fmt;
use std::future::{Future as _, poll_fn};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use wire::Mode;
use wire::accept::Handshake;
use wire::cipher::{Stream, StreamKey};
use wire::faketls::record::Unwrapper;
use wire::obfuscated2::{DcInit, HEADER_LEN, Tag};
use wire::transport::{Frames, transport_error};

/// First and longest interval between two looks at the unacknowledged bytes; the kernel has no event for them.
const INITIAL_POLL_INTERVAL: Duration = Duration::from_millis(5);
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(320);

/// The client's side: the bytes of the request, and the ciphers towards the client.
pub(super) struct FirstRequest {
    /// The client's mode.
    pub mode: Mode,
    /// Decrypts the client's bytes.
    pub up: Stream,
    /// The key and IV that the client decrypts with.
    pub down: StreamKey,
    /// In ee mode: the state of the client's TLS record stream.
    pub records: Option<Unwrapper>,
    tag: Tag,
    dc: i16,
    kept: RetryBuffer,
    frames: Frames,
    /// The first frame is complete. From then on the DC owes an answer.
    whole_frame: bool,
}

/// The DC's side, for one connection to it.
pub(super) struct DcAttempt {
    header: [u8; HEADER_LEN],
    /// Encrypts the bytes that follow the header.
    pub up: Stream,
    /// The key and IV that the DC encrypts with.
    pub down: StreamKey,
    /// Fast mode: the DC encrypts with the client's key.
    pub fast: bool,
    /// Bytes of header and request that were written.
    sent: usize,
}

/// How the phase ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The DC has answered, or the request can no longer be sent again: the duplex begins.
    Proceed,
    /// The DC was lost before an answer.
    Lost(DcLoss),
    /// The client's connection has failed, or its bytes are invalid.
    Failed(CloseReason),
    /// The session was ended from outside.
    Ended(CloseReason),
}

/// How a DC was lost before its first answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DcLoss {
    /// Its connection ended.
    Ended(CloseReason),
    /// It sent nothing within the answer timeout.
    Silent,
}

impl DcLoss {
    /// The reason for which the connection ended, if it did.
    #[must_use]
    pub(super) fn ended(self) -> Option<CloseReason> {
        match self {
            DcLoss::Ended(reason) => Some(reason),
            DcLoss::Silent => None,
        }
    }
}

impl fmt::Display for DcLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DcLoss::Ended(reason) => reason.fmt(f),
            DcLoss::Silent => f.write_str("silence"),
        }
    }
}

/// What the phase works with.
#[derive(Clone, Copy)]
pub(super) struct RequestIo<'a> {
    /// The client's socket.
    pub client: &'a Async<TcpStream>,
    /// The DC's socket, just connected.
    pub dc: &'a Async<TcpStream>,
    /// The session in the registry.
    pub handle: &'a SessionHandle,
    /// Counts the client's bytes.
    pub moved_up: &'a dyn Fn(usize),
    /// Buffer in which the request is encrypted, piece by piece.
    pub scratch: &'a RefCell<Box<[u8]>>,
    /// Time for the DC's answer after it has acknowledged the request; `None`: no limit.
    pub answer_timeout: Option<Duration>,
}

/// What the answer timeout waits for.
enum AnswerWatch {
    /// The request is not complete, or not written.
    Off,
    /// Acknowledgements of the request; with the interval to the next look at them.
    Sending(Duration),
    /// The DC's answer: it has acknowledged the whole request.
    Waiting,
}

enum Event {
    Client,
    Dc,
    Time,
}

impl FirstRequest {
    /// The request of a client that has just authenticated. Nothing is read yet.
    #[must_use]
    pub(super) fn new(opening: Handshake, buffers: &Rc<RetryBuffers>) -> FirstRequest {
        let Handshake {
            mode,
            tag,
            dc,
            up,
            down,
            records,
            ..
        } = opening;
        FirstRequest {
            mode,
            up,
            down,
            records,
            tag,
            dc,
            kept: buffers.empty(),
            frames: Frames::new(tag),
            whole_frame: false,
        }
    }

    /// A header for the next DC connection. Only one of a session's headers may carry the client's own key (`fast`): whether a DC
    /// accepts the same key twice is not documented.
    #[must_use]
    pub(super) fn attempt(&self, fast: bool) -> DcAttempt {
        let init = if fast {
            DcInit::fast(self.tag, self.dc, &self.down, &mut random::fill)
        } else {
            DcInit::new(self.tag, self.dc, &mut random::fill)
        };
        DcAttempt {
            header: init.header,
            up: init.up,
            down: init.down,
            fast,
            sent: 0,
        }
    }

    /// Sends the request until the DC answers, or no answer is to be expected any more.
    pub(super) async fn send(&mut self, attempt: &mut DcAttempt, io: RequestIo<'_>) -> Outcome {
        match self.exchange(attempt, io).await {
            Ok(asked) | Err(asked) => asked,
        }
    }

    async fn exchange(&mut self, attempt: &mut DcAttempt, io: RequestIo<'_>) -> Result<Outcome, Outcome> {
        let mut timer = Timer::never();
        let mut watch = AnswerWatch::Off;
        // The first bytes often arrive together with the handshake: they are read without waiting for an event.
        let mut event = Event::Client;
        loop {
            match event {
                Event::Client => match self.receive(io).await? {
                    Received::More => watch = AnswerWatch::Off,
                    Received::Nothing => {}
                    Received::Full => return Ok(Outcome::Proceed),
                },
                Event::Dc => self.peek_answer(attempt, io).await?,
                Event::Time => {}
            }
            let pushed = self.push(attempt, io.dc, io.scratch).await;
            let all_sent =
                pushed.map_err(|error| Outcome::Lost(DcLoss::Ended(CloseReason::of_dc_error(&error))))?;
            if let (true, true, Some(timeout)) = (all_sent, self.whole_frame, io.answer_timeout) {
                watch = match watch {
                    AnswerWatch::Waiting if matches!(event, Event::Time) => {
                        return Ok(Outcome::Lost(DcLoss::Silent));
                    }
                    AnswerWatch::Waiting => AnswerWatch::Waiting,
                    // An acknowledgement takes at least a round trip, so the first look waits.
                    AnswerWatch::Off => {
                        timer = Timer::after(INITIAL_POLL_INTERVAL);
                        AnswerWatch::Sending(INITIAL_POLL_INTERVAL)
                    }
                    _ if socket::unacknowledged(io.dc.get_ref()) == 0 => {
                        timer = Timer::after(timeout);
                        AnswerWatch::Waiting
                    }
                    AnswerWatch::Sending(pause) if matches!(event, Event::Time) => {
                        let pause = (2 * pause).min(MAX_POLL_INTERVAL);
                        timer = Timer::after(pause);
                        AnswerWatch::Sending(pause)
                    }
                    sending @ AnswerWatch::Sending(_) => sending,
                };
            }
            if matches!(watch, AnswerWatch::Off) {
                timer = Timer::never();
            }
            event = next(io, !all_sent, &mut timer).await;
        }
    }

    /// Reads what the client has sent into the retry buffer.
    async fn receive(&mut self, io: RequestIo<'_>) -> Result<Received, Outcome> {
        // A larger place costs memory, so it is taken only when there are bytes for it.
        if self.kept.is_full() {
            let arrived = stream::attempt(io.client, Interest::Read, |client| {
                if socket::is_open_and_silent(client) {
                    return Err(ErrorKind::WouldBlock.into());
                }
                Ok(Step::Done(()))
            });
            if matches!(arrived.await, Ok(None)) {
                return Ok(Received::Nothing);
            }
        }
        if !self.kept.make_room() {
            return Ok(Received::Full);
        }
        let (kept, records, up) = (&mut self.kept, &mut self.records, &mut self.up);
        let received = stream::attempt(io.client, Interest::Read, |client| {
            let mut is_drained = false;
            let received = kept.add(|room| receive_into(room, client, records, up, &mut is_drained));
            match received {
                Err(ReceiveError::Io(error)) => Err(error),
                received if is_drained => Ok(Step::Exhausted(received)),
                received => Ok(Step::Done(received)),
            }
        });
        match received.await {
            Ok(None) => Ok(Received::Nothing),
            Ok(Some(Ok(range))) => {
                io.handle.touch();
                self.note_received(range, io.moved_up);
                Ok(Received::More)
            }
            Ok(Some(Err(ReceiveError::End))) => Ok(Received::Full),
            Ok(Some(Err(ReceiveError::BadRecord))) => {
                log::debug!("client={}: not a TLS record", io.handle.client);
                Err(Outcome::Failed(CloseReason::Error))
            }
            Ok(Some(Err(ReceiveError::Io(error)))) | Err(error) => {
                Err(Outcome::Failed(CloseReason::of_client_error(&error)))
            }
        }
    }

    fn note_received(&mut self, range: Range<usize>, moved_up: &dyn Fn(usize)) {
        moved_up(range.len());
        let mut piece = [0; 256];
        let mut at = range.start;
        while at < range.end && !self.whole_frame {
            let len = self.kept.read(at..range.end, &mut piece);
            self.whole_frame = self.frames.handle_input(&piece[..len]);
            at += len;
        }
    }

    /// Peeks at the DC's socket. Its bytes stay in the socket for the duplex.
    async fn peek_answer(&self, attempt: &DcAttempt, io: RequestIo<'_>) -> Result<(), Outcome> {
        let mut start = [0; 8];
        let peeked = stream::attempt(io.dc, Interest::Read, |dc| dc.peek(&mut start).map(Step::Done));
        match peeked.await {
            Ok(None) => Ok(()),
            Ok(Some(0)) => Err(Outcome::Lost(DcLoss::Ended(CloseReason::DcClosed))),
            Ok(Some(len)) => {
                if log::log_enabled!(log::Level::Debug) {
                    Stream::new(&attempt.down).apply(&mut start);
                    if let Some(code) = transport_error(self.tag, &start[..len]) {
                        log::debug!("dial: DC {}: transport error {code}", self.dc);
                    }
                }
                Err(Outcome::Proceed)
            }
            Err(error) => Err(Outcome::Lost(DcLoss::Ended(CloseReason::of_dc_error(&error)))),
        }
    }

    /// Writes what the DC has not been sent yet; `true` when everything is written.
    ///
    /// # Errors
    /// When the DC's connection has failed.
    async fn push(
        &mut self,
        attempt: &mut DcAttempt,
        dc: &Async<TcpStream>,
        scratch: &RefCell<Box<[u8]>>,
    ) -> io::Result<bool> {
        while attempt.sent < HEADER_LEN + self.kept.len() {
            let pushed = stream::attempt(dc, Interest::Write, |dc| {
                self.push_piece(attempt, dc, &mut scratch.borrow_mut())
            });
            if !matches!(pushed.await?, Some(true)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Encrypts and writes one piece of the header and the request; the result says whether the DC's socket took all of it.
    fn push_piece(
        &mut self,
        attempt: &mut DcAttempt,
        mut dc: &TcpStream,
        scratch: &mut [u8],
    ) -> io::Result<Step<bool>> {
        let header = attempt.header.get(attempt.sent..).unwrap_or_default();
        let from = attempt.sent.saturating_sub(HEADER_LEN);
        scratch[..header.len()].copy_from_slice(header);
        let behind = &mut scratch[header.len()..];
        let len = self.kept.read(from..self.kept.len(), behind);
        attempt.up.apply(&mut behind[..len]);
        let len = header.len() + len;
        let result = dc.write(&scratch[..len]);
        let written = *result.as_ref().unwrap_or(&0);
        attempt.up.rewind((len - written).min(len - header.len()));
        attempt.sent += result?;
        Ok(if written < len {
            Step::Exhausted(false)
        } else {
            Step::Done(true)
        })
    }

    /// Writes the rest and releases the retry buffer. The request cannot be sent again after this.
    ///
    /// # Errors
    /// When the DC's connection has failed.
    pub(super) async fn finish(
        mut self,
        mut attempt: DcAttempt,
        dc: &Async<TcpStream>,
        scratch: &RefCell<Box<[u8]>>,
    ) -> io::Result<(Option<Unwrapper>, Stream, Stream)> {
        while !self.push(&mut attempt, dc, scratch).await? {
            dc.ready(Interest::Write).await?;
        }
        Ok((self.records, self.up, attempt.up))
    }
}

/// The result of reading from the client.
enum Received {
    More,
    Nothing,
    /// The client's FIN, or no room to keep more: left to the duplex.
    Full,
}

/// Why nothing was received.
enum ReceiveError {
    /// The client has sent FIN.
    End,
    /// The client has sent something that is not a TLS record.
    BadRecord,
    Io(io::Error),
}

/// Reads once into `room` and takes the payload out. `is_drained` tells that the socket had no more bytes.
fn receive_into(
    room: &mut [u8],
    mut client: &TcpStream,
    records: &mut Option<Unwrapper>,
    up: &mut Stream,
    is_drained: &mut bool,
) -> Result<Range<usize>, ReceiveError> {
    let len = client.read(room).map_err(ReceiveError::Io)?;
    if len == 0 {
        return Err(ReceiveError::End);
    }
    *is_drained = len < room.len();
    let bytes = &mut room[..len];
    let payload = match records {
        Some(records) => records
            .unwrap_in_place(bytes)
            .map_err(|_| ReceiveError::BadRecord)?,
        None => 0..len,
    };
    up.apply(&mut bytes[payload.clone()]);
    Ok(payload)
}

/// Waits for the next event. The DC comes first: its answer ends the phase.
async fn next(io: RequestIo<'_>, unsent: bool, timer: &mut Timer) -> Event {
    poll_fn(|context| {
        let mut may =
            |socket: &Async<TcpStream>, interest| socket.poll_io(interest, context, |_| Ok(())).is_ready();
        if may(io.dc, Interest::Read) || unsent && may(io.dc, Interest::Write) {
            return Poll::Ready(Event::Dc);
        }
        if may(io.client, Interest::Read) {
            return Poll::Ready(Event::Client);
        }
        Pin::new(&mut *timer).poll(context).map(|_| Event::Time)
    })
    .await
}
