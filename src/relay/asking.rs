//! The time before a DC's first answer, in which a session can still go to another address.
//!
//! What the client says is passed on at once and kept besides ([`Held`]). A DC that closes, resets or stays silent before it
//! has answered anything is asked again at another address: a new header, then the same words. The first byte from a DC,
//! the client's end, or more words than can be kept end this time, and the plain relaying begins.
//!
//! Promises: nothing is read from the DC here, only looked at, so the relaying starts with its first byte; and nothing is
//! read from the client that could not be kept.

use crate::relay::held::{Held, Holder};
use crate::relay::pulse::Pulse;
use crate::relay::{client_failed, dc_failed, opening};
use mtrelay_core::close::CloseReason;
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::socket;
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

/// How soon to look again whether the kernel has sent everything (there is no event for it), and how late at most.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(320);

/// A client's side of a session: what it said, and how to understand and answer it.
pub struct Question {
    /// How it came.
    pub mode: Mode,
    /// Decrypts what it says.
    pub up: Stream,
    /// What it expects its answers to be encrypted with.
    pub down: StreamKey,
    /// Its TLS records.
    pub records: Option<Unwrapper>,
    tag: Tag,
    dc: i16,
    held: Held,
    frames: Frames,
    /// A whole first frame is there: from then on a DC's silence means something.
    whole_frame: bool,
}

/// One DC connection's side of it.
pub struct Attempt {
    header: [u8; HEADER_LEN],
    /// Encrypts what is behind the header.
    pub up: Stream,
    /// What the DC encrypts with.
    pub down: StreamKey,
    /// What the DC encrypts is already what the client expects.
    pub fast: bool,
    /// How much of the header and the question was written.
    sent: usize,
}

/// How the time before the first answer ended.
#[derive(Debug)]
pub enum Asked {
    /// With an answer, or because the question can no longer be asked again: the relaying begins.
    Answered,
    /// The DC has gone without an answer.
    Lost(Loss),
    /// The client has failed, or says what cannot be.
    Failed(CloseReason),
    /// The session was ended from outside.
    Ended(CloseReason),
}

/// How a DC failed to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its connection ended in this way.
    Ended(CloseReason),
    /// It said nothing.
    Silent,
}

impl Loss {
    /// The way in which the connection ended, if it did.
    #[must_use]
    pub fn ended(self) -> Option<CloseReason> {
        match self {
            Loss::Ended(reason) => Some(reason),
            Loss::Silent => None,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Ended(reason) => reason.fmt(f),
            Loss::Silent => f.write_str("silence"),
        }
    }
}

/// What the asking goes by.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The client.
    pub client: &'a Async<TcpStream>,
    /// The DC, just connected.
    pub dc: &'a Async<TcpStream>,
    /// Told of every byte.
    pub pulse: &'a Pulse,
    /// Counts the client's bytes.
    pub moved_up: &'a dyn Fn(usize),
    /// What is encrypted in pieces.
    pub scratch: &'a RefCell<Box<[u8]>>,
    /// How long the DC may be silent; without it, for ever.
    pub answer_timeout: Option<Duration>,
}

/// When the DC's silence is too long.
enum Watch {
    /// There is nothing to wait for yet.
    Off,
    /// The kernel has not sent everything yet; the next look at that comes after this long.
    Sending(Duration),
    /// The DC has it all.
    Waiting,
}

enum Event {
    Client,
    Dc,
    Time,
}

impl Question {
    /// The question of a client that has just opened.
    #[must_use]
    pub fn new(opening: Handshake, holder: &Rc<Holder>) -> Question {
        let Handshake {
            mode,
            tag,
            dc,
            up,
            down,
            records,
            ..
        } = opening;
        Question {
            mode,
            up,
            down,
            records,
            tag,
            dc,
            held: holder.empty(),
            frames: Frames::new(tag),
            whole_frame: false,
        }
    }

    /// A header for the next DC connection. The client's own key may stand in only one of them (`fast`): whether DCs mind
    /// meeting it twice, nobody knows.
    #[must_use]
    pub fn attempt(&self, fast: bool) -> Attempt {
        let init = if fast {
            DcInit::fast(self.tag, self.dc, &self.down, &mut opening::fill)
        } else {
            DcInit::new(self.tag, self.dc, &mut opening::fill)
        };
        Attempt {
            header: init.header,
            up: init.up,
            down: init.down,
            fast,
            sent: 0,
        }
    }

    /// Asks until there is an answer, or none to be expected any more.
    pub async fn ask(&mut self, attempt: &mut Attempt, terms: Terms<'_>) -> Asked {
        match self.converse(attempt, terms).await {
            Ok(asked) | Err(asked) => asked,
        }
    }

    async fn converse(&mut self, attempt: &mut Attempt, terms: Terms<'_>) -> Result<Asked, Asked> {
        let mut timer = Timer::never();
        let mut watch = Watch::Off;
        // The client's words often come together with its opening, and then need no waiting.
        let mut event = Event::Client;
        loop {
            match event {
                Event::Client => match self.listen(terms)? {
                    Heard::More => watch = Watch::Off,
                    Heard::Nothing => {}
                    Heard::TooMuch => return Ok(Asked::Answered),
                },
                Event::Dc => self.look(attempt, terms)?,
                Event::Time => {}
            }
            let pushed = self.push(attempt, terms.dc, terms.scratch);
            let all_sent = pushed.map_err(|error| Asked::Lost(Loss::Ended(dc_failed(&error))))?;
            if let (true, true, Some(timeout)) = (all_sent, self.whole_frame, terms.answer_timeout) {
                watch = match watch {
                    Watch::Waiting if matches!(event, Event::Time) => {
                        return Ok(Asked::Lost(Loss::Silent));
                    }
                    Watch::Waiting => Watch::Waiting,
                    // No DC is so near that a look at once would find it acknowledged.
                    Watch::Off => {
                        timer = Timer::after(FIRST_LOOK);
                        Watch::Sending(FIRST_LOOK)
                    }
                    _ if socket::unacknowledged(terms.dc.get_ref()) == 0 => {
                        timer = Timer::after(timeout);
                        Watch::Waiting
                    }
                    Watch::Sending(pause) if matches!(event, Event::Time) => {
                        let pause = (2 * pause).min(LAST_LOOK);
                        timer = Timer::after(pause);
                        Watch::Sending(pause)
                    }
                    sending @ Watch::Sending(_) => sending,
                };
            }
            if matches!(watch, Watch::Off) {
                timer = Timer::never();
            }
            event = next(terms, !all_sent, &mut timer).await;
        }
    }

    /// Takes in what the client says.
    fn listen(&mut self, terms: Terms<'_>) -> Result<Heard, Asked> {
        // A place costs memory: not before there is something to put into it.
        if self.held.is_full() && socket::is_open_and_silent(terms.client.get_ref()) {
            terms.client.not_readable();
            return Ok(Heard::Nothing);
        }
        if !self.held.make_room() {
            return Ok(Heard::TooMuch);
        }
        let (records, up) = (&mut self.records, &mut self.up);
        let received = self.held.add(|room| {
            let len = match terms.client.get_ref().read(room) {
                Ok(0) => return Err(Heard::TooMuch.into()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::Interrupted => return Err(Heard::Nothing.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    terms.client.not_readable();
                    return Err(Heard::Nothing.into());
                }
                Err(error) => return Err(Unheard::Over(client_failed(&error))),
            };
            if len < room.len() && !terms.client.is_closing() {
                terms.client.not_readable();
            }
            terms.pulse.touch();
            let bytes = &mut room[..len];
            let payload = match records {
                Some(records) => records.unwrap_in_place(bytes).map_err(|_| Unheard::BadRecord)?,
                None => 0..len,
            };
            up.apply(&mut bytes[payload.clone()]);
            Ok(payload)
        });
        match received {
            Ok(range) => {
                self.heard(range, terms.moved_up);
                Ok(Heard::More)
            }
            Err(Unheard::Fine(heard)) => Ok(heard),
            Err(Unheard::Over(reason)) => Err(Asked::Failed(reason)),
            Err(Unheard::BadRecord) => {
                log::debug!("client={} sends no TLS records", terms.pulse.client);
                Err(Asked::Failed(CloseReason::Error))
            }
        }
    }

    fn heard(&mut self, range: Range<usize>, moved_up: &dyn Fn(usize)) {
        moved_up(range.len());
        let mut piece = [0; 256];
        let mut at = range.start;
        while at < range.end && !self.whole_frame {
            let len = self.held.read(at..range.end, &mut piece);
            self.whole_frame = self.frames.handle_input(&piece[..len]);
            at += len;
        }
    }

    /// Looks at what the DC has done. Its bytes are left where they are.
    fn look(&self, attempt: &Attempt, terms: Terms<'_>) -> Result<(), Asked> {
        let mut start = [0; 8];
        match terms.dc.get_ref().peek(&mut start) {
            Ok(0) => Err(Asked::Lost(Loss::Ended(CloseReason::DcClosed))),
            Ok(len) => {
                if log::log_enabled!(log::Level::Debug) {
                    Stream::new(&attempt.down).apply(&mut start);
                    if let Some(code) = transport_error(self.tag, &start[..len]) {
                        log::debug!("dial: DC {}: transport error {code}", self.dc);
                    }
                }
                Err(Asked::Answered)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                terms.dc.not_readable();
                Ok(())
            }
            Err(error) => Err(Asked::Lost(Loss::Ended(dc_failed(&error)))),
        }
    }

    /// Writes what the DC has not got yet; `true` when that is all of it.
    ///
    /// # Errors
    /// When the DC's connection has failed.
    fn push(
        &mut self,
        attempt: &mut Attempt,
        dc: &Async<TcpStream>,
        scratch: &RefCell<Box<[u8]>>,
    ) -> io::Result<bool> {
        let mut scratch = scratch.borrow_mut();
        while attempt.sent < HEADER_LEN + self.held.len() {
            let header = attempt.header.get(attempt.sent..).unwrap_or_default();
            let from = attempt.sent.saturating_sub(HEADER_LEN);
            scratch[..header.len()].copy_from_slice(header);
            let behind = &mut scratch[header.len()..];
            let len = self.held.read(from..self.held.len(), behind);
            attempt.up.apply(&mut behind[..len]);
            let len = header.len() + len;
            let written = write(dc.get_ref(), &scratch[..len])?;
            attempt.sent += written;
            attempt.up.rewind((len - written).min(len - header.len()));
            if written < len {
                dc.not_writable();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the rest, and gives the memory back. Nothing is asked again after this.
    ///
    /// # Errors
    /// When the DC's connection has failed.
    pub async fn finish(
        mut self,
        mut attempt: Attempt,
        dc: &Async<TcpStream>,
        scratch: &RefCell<Box<[u8]>>,
    ) -> io::Result<(Option<Unwrapper>, Stream, Stream)> {
        while !self.push(&mut attempt, dc, scratch)? {
            dc.writable().await?;
        }
        Ok((self.records, self.up, attempt.up))
    }
}

/// What came of listening to the client.
enum Heard {
    More,
    Nothing,
    /// The end, or no place to keep more: the relaying sees to it.
    TooMuch,
}

enum Unheard {
    Fine(Heard),
    Over(CloseReason),
    BadRecord,
}

impl From<Heard> for Unheard {
    fn from(heard: Heard) -> Unheard {
        Unheard::Fine(heard)
    }
}

/// # Errors
/// As write(2); a full socket takes nothing, which is none.
fn write(mut to: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match to.write(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            other => return other,
        }
    }
}

/// Waits until there is something to do. The DC comes first: its answer ends all this.
async fn next(terms: Terms<'_>, unsent: bool, timer: &mut Timer) -> Event {
    poll_fn(|context| {
        if terms.dc.may_read(context).is_ready() {
            return Poll::Ready(Event::Dc);
        }
        if unsent && terms.dc.may_write(context).is_ready() {
            return Poll::Ready(Event::Dc);
        }
        if terms.client.may_read(context).is_ready() {
            return Poll::Ready(Event::Client);
        }
        Pin::new(&mut *timer).poll(context).map(|_| Event::Time)
    })
    .await
}
