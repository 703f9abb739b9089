//! Telegram's clients, as far as a relay can tell: the three modes, blocking sockets, and every odd shape of writing.
//!
//! Read [`crate::obfuscated2`] and [`crate::faketls`] first. Promises: a read or write that makes no progress for the
//! client's patience ends with [`End::Timeout`]; the answer to a fake-TLS hello is checked as strictly as Android does.

mod halves;
mod opening;

pub use halves::{Reader, Received, Short, Writer};
pub use opening::{Builder, ConnectError};

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::faketls::ServerAnswer;
use crate::frames::{self, Frames, ResPq};
use crate::obfuscated2::Tag;
use crate::rng::Rng;

/// How a client hides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Obfuscated2 alone, in any of the transports.
    Plain(Tag),
    /// Obfuscated2 with padded frames.
    Dd,
    /// Padded frames in obfuscated2 in fake TLS.
    Ee {
        /// The server name of the hello.
        domain: String,
    },
}

impl Mode {
    /// Fake TLS towards this name.
    pub fn ee(domain: &str) -> Mode {
        Mode::Ee {
            domain: domain.into(),
        }
    }

    /// The tag that the mode's clients write.
    pub fn tag(&self) -> Tag {
        match self {
            Mode::Plain(tag) => *tag,
            Mode::Dd | Mode::Ee { .. } => Tag::PADDED,
        }
    }
}

/// How a direction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The other side closed in order.
    Eof,
    /// The other side cut the connection.
    Reset,
    /// Nothing came for the client's patience.
    Timeout,
    /// What came breaks the rules of TLS records, or ended inside one.
    Protocol(String),
    /// Any other error of the socket.
    Other(io::ErrorKind),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => End::Timeout,
            kind => End::Other(kind),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Eof => f.write_str("end of stream"),
            End::Reset => f.write_str("reset"),
            End::Timeout => f.write_str("silence"),
            End::Protocol(what) => f.write_str(what),
            End::Other(kind) => write!(f, "{kind}"),
        }
    }
}

impl std::error::Error for End {}

/// Where the init header goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderShape {
    /// In a write, and a record, of its own as soon as the connection stands.
    #[default]
    Alone,
    /// As `Alone`, but over this many writes and records.
    Split(usize),
    /// In the write and the record of the first data: nothing is sent before.
    WithData,
}

/// How a client writes. The default is a good client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// At most this many bytes a write.
    pub write_size: usize,
    /// At most this many bytes in a TLS record.
    pub record_size: usize,
    /// An empty TLS record before each one.
    pub empty_records: bool,
    /// All the records of one `send` in one write, instead of a write each.
    pub coalesce: bool,
    /// Where the init header goes.
    pub header: HeaderShape,
    /// In how many writes the hello goes out.
    pub hello_segments: usize,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            write_size: usize::MAX,
            record_size: crate::faketls::MAX_RECORD_LEN,
            empty_records: false,
            coalesce: false,
            header: HeaderShape::Alone,
            hello_segments: 1,
        }
    }
}

/// A connection through the relay (or straight to a DC), opened.
#[derive(Debug)]
pub struct Client {
    /// What comes.
    pub reader: Reader,
    /// What goes.
    pub writer: Writer,
    /// The first bytes as sent, for replays: the hello in fake TLS, the init header otherwise.
    pub opening: Vec<u8>,
    /// The relay's answer in fake TLS.
    pub answer: Option<ServerAnswer>,
    tag: Tag,
    seed: u64,
}

impl Client {
    /// Connects as a well-behaved client does.
    ///
    /// # Panics
    /// If that fails; [`Client::builder`] gives the error instead.
    #[track_caller]
    pub fn connect(mode: Mode, addr: SocketAddr, secret: [u8; 16], dc: i16) -> Client {
        let builder = Client::builder(mode.clone(), addr, secret, dc);
        let seed = builder.seed;
        match builder.connect() {
            Ok(client) => client,
            Err(error) => panic!("{mode:?} to {addr} for DC {dc}: {error} (seed {seed})"),
        }
    }

    /// For every knob.
    pub fn builder(mode: Mode, addr: SocketAddr, secret: [u8; 16], dc: i16) -> Builder {
        Builder::new(mode, addr, Some(secret), dc)
    }

    /// Straight to a data centre: raw keys, no secret.
    #[track_caller]
    pub fn direct(addr: SocketAddr, tag: Tag, dc: i16) -> Client {
        Builder::new(Mode::Plain(tag), addr, None, dc)
            .connect()
            .expect("the fake DC listens")
    }

    /// The seed of everything that this client drew.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Sends through the ciphers, in the client's shape.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.send(bytes)
    }

    /// Exactly `count` bytes.
    pub fn recv_exact(&mut self, count: usize) -> Result<Vec<u8>, Short> {
        self.reader.recv_exact(count)
    }

    /// Everything until the end; for what fits into memory.
    pub fn recv_to_end(&mut self) -> (Vec<u8>, End) {
        self.reader.recv_to_end()
    }

    /// Ends the upload and keeps the download.
    pub fn finish(&mut self) -> io::Result<()> {
        self.writer.finish()
    }

    /// Two halves for two threads.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    /// The socket, for what the client itself would never do.
    pub fn raw(&self) -> &TcpStream {
        self.reader.raw()
    }

    /// Cuts the connection: a reset instead of an end.
    pub fn reset(self) {
        crate::tcp::reset_on_close(self.raw());
    }

    /// Whether nothing at all comes for this long. A relay says no more after its answer until the client's first data.
    pub fn is_silent(&self, time: Duration) -> io::Result<bool> {
        let before = self.raw().read_timeout()?;
        self.raw().set_read_timeout(Some(time))?;
        let peeked = self.raw().peek(&mut [0]).map_err(End::from);
        self.raw().set_read_timeout(before)?;
        Ok(peeked == Err(End::Timeout))
    }

    /// Sends one frame of the client's transport.
    pub fn send_frame(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut rng = Rng::new(self.seed ^ payload.len() as u64);
        let frame = frames::frame(self.tag, payload, &mut rng);
        self.send(&frame)
    }

    /// Reads one frame. What came after it is kept for the next.
    pub fn recv_frame(&mut self) -> Result<Vec<u8>, End> {
        let mut frames = Frames::new(self.tag);
        loop {
            match frames.next_frame() {
                Ok(Some(frame)) => return Ok(frame.payload),
                Ok(None) => {
                    // No more than surely belongs to this frame: what is behind it is for other calls.
                    let mut bytes = vec![0; frames.missing().min(65_536)];
                    let len = self.reader.read(&mut bytes)?;
                    frames.push(&bytes[..len]);
                }
                Err(error) => return Err(End::Protocol(error.to_string())),
            }
        }
    }

    /// Asks for a `resPQ` and checks that the nonce comes back.
    pub fn req_pq(&mut self) -> Result<ResPq, End> {
        let mut rng = Rng::new(self.seed.wrapping_add(1));
        let nonce = rng.array();
        self.send_frame(&frames::req_pq_multi(&nonce, &mut rng))?;
        let frame = self.recv_frame()?;
        match ResPq::parse(&frame) {
            Some(answer) if answer.nonce == nonce => Ok(answer),
            other => Err(End::Protocol(format!(
                "{} bytes are no resPQ to our nonce: {other:?}",
                frame.len()
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
