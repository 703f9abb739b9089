//! How a client gets in: connect, the hello and its answer, the init header.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::{Client, End, Mode, Reader, Shape, Writer};
use crate::clock::{patience, unix_time};
use crate::faketls::{self, BadAnswer, ClientHello, HelloKind, HelloSpec, ServerAnswer};
use crate::obfuscated2::{Init, Tag, init_header};
use crate::rng::fresh_seed;

/// A client about to connect.
#[derive(Debug)]
pub struct Builder {
    /// What everything is drawn from.
    pub seed: u64,
    mode: Mode,
    addr: SocketAddr,
    secret: Option<[u8; 16]>,
    dc: i16,
    tag: Tag,
    shape: Shape,
    patience: Duration,
    hello: HelloKind,
    ciphers: Option<Vec<u16>>,
    time_offset: i64,
    init: Option<Init>,
    client_hello: Option<ClientHello>,
}

/// Why a client did not get in.
#[derive(Debug)]
pub enum ConnectError {
    /// No connection, or it broke while the opening was written.
    Io(io::Error),
    /// The connection ended before the answer was whole; what had come.
    Ended(End, Vec<u8>),
    /// An answer came, and a client would refuse it.
    Answer(BadAnswer, Vec<u8>),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Io(error) => write!(f, "{error}"),
            ConnectError::Ended(end, bytes) => write!(f, "{end} after {} bytes of the answer", bytes.len()),
            ConnectError::Answer(bad, bytes) => write!(f, "{bad} (an answer of {} bytes)", bytes.len()),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> ConnectError {
        ConnectError::Io(error)
    }
}

impl Builder {
    pub(super) fn new(mode: Mode, addr: SocketAddr, secret: Option<[u8; 16]>, dc: i16) -> Builder {
        Builder {
            seed: fresh_seed(),
            tag: mode.tag(),
            mode,
            addr,
            secret,
            dc,
            shape: Shape::default(),
            patience: patience(),
            hello: HelloKind::Classic,
            ciphers: None,
            time_offset: 0,
            init: None,
            client_hello: None,
        }
    }

    /// Draws everything from this seed.
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = seed;
        self
    }

    /// Writes like this.
    pub fn shape(mut self, shape: Shape) -> Builder {
        self.shape = shape;
        self
    }

    /// Gives up after this long without progress.
    pub fn patience(mut self, patience: Duration) -> Builder {
        self.patience = patience;
        self
    }

    /// Writes another tag than the mode's clients do.
    pub fn tag(mut self, tag: Tag) -> Builder {
        self.tag = tag;
        self
    }

    /// Which hello fake TLS starts with.
    pub fn hello(mut self, kind: HelloKind) -> Builder {
        self.hello = kind;
        self
    }

    /// The hello's cipher suites, without GREASE.
    pub fn ciphers(mut self, ciphers: &[u16]) -> Builder {
        self.ciphers = Some(ciphers.to_vec());
        self
    }

    /// A client whose clock is wrong by this many seconds.
    pub fn time_offset(mut self, seconds: i64) -> Builder {
        self.time_offset = seconds;
        self
    }

    /// Sends this header instead of a fresh one.
    pub fn init(mut self, init: Init) -> Builder {
        self.init = Some(init);
        self
    }

    /// Sends this hello instead of a fresh one.
    pub fn client_hello(mut self, hello: ClientHello) -> Builder {
        self.client_hello = Some(hello);
        self
    }

    /// Connects, and in fake TLS waits for the answer.
    pub fn connect(self) -> Result<Client, ConnectError> {
        let socket = TcpStream::connect_timeout(&self.addr, self.patience)?;
        self.connect_over(socket)
    }

    /// As `connect`, on a connection that stands already.
    pub fn connect_over(self, socket: TcpStream) -> Result<Client, ConnectError> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(self.patience))?;
        socket.set_write_timeout(Some(self.patience))?;
        let secret = self.secret.as_ref();
        let (mut opening, mut answer) = (Vec::new(), None);
        if let (Mode::Ee { domain }, Some(secret)) = (&self.mode, secret) {
            let hello = match self.client_hello {
                Some(hello) => hello,
                None => {
                    let time = i64::from(unix_time()).wrapping_add(self.time_offset) as u32;
                    let mut spec = HelloSpec::new(self.hello, domain, time);
                    if let Some(ciphers) = self.ciphers {
                        spec.ciphers = ciphers;
                    }
                    faketls::client_hello(secret, &spec, self.seed)
                }
            };
            answer = Some(handshake(&socket, secret, &hello, &self.shape)?);
            opening = hello.bytes;
        }
        let tls = answer.is_some();
        let init = self
            .init
            .unwrap_or_else(|| init_header(secret, self.tag, self.dc, self.seed));
        if !tls {
            opening = init.bytes.to_vec();
        }
        let socket = Arc::new(socket);
        let writer = Writer::open(Arc::clone(&socket), init.up, &init.bytes, tls, self.shape)?;
        let reader = Reader::new(socket, init.down, tls);
        Ok(Client {
            reader,
            writer,
            opening,
            answer,
            tag: self.tag,
            seed: self.seed,
        })
    }
}

/// Sends the hello and reads the answer, all of it and nothing more.
fn handshake(
    mut socket: &TcpStream,
    secret: &[u8; 16],
    hello: &ClientHello,
    shape: &Shape,
) -> Result<ServerAnswer, ConnectError> {
    let segment = hello
        .bytes
        .len()
        .div_ceil(shape.hello_segments.max(1))
        .min(shape.write_size.max(1));
    for segment in hello.bytes.chunks(segment) {
        socket.write_all(segment)?;
    }
    let mut bytes = Vec::new();
    loop {
        match faketls::answer_len(&bytes) {
            // Whatever came along is part of what the MAC must cover: the strictest client hashes all that it has.
            Ok(Some(len)) if bytes.len() >= len => break,
            Ok(_) => {}
            Err(bad) => return Err(ConnectError::Answer(bad, bytes)),
        }
        let mut piece = [0; 8192];
        match socket.read(&mut piece).map_err(End::from) {
            Ok(0) => return Err(ConnectError::Ended(End::Eof, bytes)),
            Ok(len) => bytes.extend_from_slice(&piece[..len]),
            Err(end) => return Err(ConnectError::Ended(end, bytes)),
        }
    }
    // What waits in the socket now was sent before we said anything: read it too, without waiting.
    socket.set_nonblocking(true)?;
    let mut piece = [0; 8192];
    let extra = socket.read(&mut piece);
    socket.set_nonblocking(false)?;
    if let Ok(len) = extra {
        bytes.extend_from_slice(&piece[..len]);
    }
    faketls::check_answer(secret, hello, &bytes).map_err(|bad| ConnectError::Answer(bad, bytes))
}
