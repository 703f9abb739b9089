//! Ways to data centres: straight there, or through an MTProto proxy; and what opens a connection on them.

use crate::exchange::{Exchange, ExchangeError, Secret, Step};
use crate::rsa::PublicKey;
use mtrelay_core::dc::{DcId, Table};
use mtrelay_core::dial::Dialer;
use mtrelay_core::dial::attempts::RetrySchedule;
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::clock;
use smol::future::FutureExt as _;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;
use wire::client::{Channel, ClientHandshake, Frame, Shares};
use wire::obfuscated2::Tag;
use wire::secret::Written;

/// All attempts to connect together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// One answer while a connection opens. Whoever is silent longer is told to the user within five seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// The numbers of the test servers begin behind this.
pub const TEST_DCS: i32 = 10_000;

/// A way.
#[derive(Clone, Debug)]
pub enum Way {
    /// To the addresses of this table.
    Direct(Table),
    /// Through the proxy that has these addresses and this secret.
    Proxy(Vec<SocketAddr>, Written),
}

/// Why a connection did not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// There is no connection, or it went. Another try may help.
    Lost(String),
    /// The transport's error with this code.
    Transport(i32),
    /// The other side is not what it should be. Another try will not help.
    Wrong(String),
}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> OpenError {
        OpenError::Lost(error.to_string())
    }
}

impl From<ExchangeError> for OpenError {
    fn from(error: ExchangeError) -> OpenError {
        OpenError::Wrong(error.to_string())
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Lost(what) | OpenError::Wrong(what) => f.write_str(what),
            OpenError::Transport(code) => write!(f, "transport error {code}"),
        }
    }
}

/// What every connection needs to begin.
pub(crate) struct Roads {
    pub(crate) dialer: Rc<Dialer>,
    pub(crate) ways: Vec<Way>,
    pub(crate) keys: Vec<PublicKey>,
}

/// An open connection: messages in, messages out.
pub(crate) struct Wire {
    pub(crate) stream: Async<TcpStream>,
    pub(crate) channel: Channel,
    frames: VecDeque<Frame>,
}

impl Roads {
    /// Connects to the data centre with this number, by the way with this number, counted around.
    pub(crate) async fn open(&self, dc: i32, turn: usize) -> Result<Wire, OpenError> {
        let number = i16::try_from(dc).ok().and_then(DcId::new);
        let number = number.ok_or_else(|| OpenError::Wrong(format!("there is no data centre {dc}")))?;
        let Some(way) = self.ways.get(turn % self.ways.len().max(1)) else {
            return Err(OpenError::Wrong("there is no way to any data centre".into()));
        };
        let (addresses, opening) = match way {
            Way::Direct(table) => {
                let addresses = table
                    .lookup(number)
                    .ok_or_else(|| OpenError::Wrong(format!("no address of data centre {dc} is known")))?;
                (
                    addresses,
                    ClientHandshake::direct(Tag::Intermediate, number.raw(), &mut fill),
                )
            }
            Way::Proxy(addresses, secret) => {
                let now = clock::unix_now();
                let opening = ClientHandshake::proxy(secret, number.raw(), Shares::Hybrid, now, &mut fill);
                (addresses.as_slice(), opening)
            }
        };
        let mut schedule = RetrySchedule::default();
        let mut told = |_, _| ();
        let connected = self.dialer.connect(None, addresses, &mut schedule, &mut told);
        let connected = within(CONNECT_TIMEOUT, connected)
            .await
            .ok_or_else(|| OpenError::Lost("connecting took too long".into()))?
            .map_err(|error| OpenError::Lost(error.to_string()))?;
        let _ = connected.connection.get_ref().set_nodelay(true);
        Wire::open(connected.connection, opening).await
    }

    /// Exchanges a key over a connection that has just been opened.
    pub(crate) async fn exchange(&self, wire: &mut Wire, dc: i32) -> Result<Secret, OpenError> {
        let (mut exchange, mut message) = Exchange::new(dc, clock::unix_now(), &mut fill);
        loop {
            let answer = within(ANSWER_TIMEOUT, wire.ask(&message))
                .await
                .ok_or_else(|| OpenError::Wrong("key exchange: no answer".into()))??;
            match exchange.handle_message(&answer, &self.keys, clock::unix_now(), &mut fill)? {
                Step::Send(next) => message = next,
                Step::Done(secret) => return Ok(*secret),
            }
        }
    }
}

impl Wire {
    async fn open(mut stream: Async<TcpStream>, mut opening: ClientHandshake) -> Result<Wire, OpenError> {
        let talk = async {
            stream.write_all(opening.first()).await?;
            let mut buffer = vec![0; opening.wanted().clamp(1, 1 << 14)];
            while opening.wanted() > 0 {
                buffer.resize(opening.wanted().min(1 << 14), 0);
                let len = stream.read(&mut buffer).await?;
                if len == 0 {
                    return Err(OpenError::Lost("the proxy closed the connection".into()));
                }
                let wrong = |error: wire::client::BadAnswer| OpenError::Wrong(error.to_string());
                opening.handle_input(&buffer[..len]).map_err(wrong)?;
            }
            Ok(())
        };
        within(ANSWER_TIMEOUT, talk)
            .await
            .ok_or_else(|| OpenError::Lost("the proxy does not answer".into()))??;
        let channel = opening.finish();
        Ok(Wire {
            stream,
            channel: channel.ok_or_else(|| OpenError::Wrong("the proxy's answer is incomplete".into()))?,
            frames: VecDeque::new(),
        })
    }

    /// Sends a message and waits for the next one.
    async fn ask(&mut self, message: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut out = Vec::new();
        self.channel.send(message, &mut fill, &mut out);
        self.stream.write_all(&out).await?;
        let mut buffer = vec![0; 2048];
        loop {
            match self.frames.pop_front() {
                Some(Frame::Message(message)) => return Ok(message),
                Some(Frame::Error(code)) => return Err(OpenError::Transport(code)),
                Some(Frame::QuickAck(_)) => {}
                None => {
                    let len = self.stream.read(&mut buffer).await?;
                    if len == 0 {
                        return Err(OpenError::Lost("the connection was closed".into()));
                    }
                    let mut frames = Vec::new();
                    self.channel
                        .receive(&mut buffer[..len], &mut frames)
                        .map_err(|error| OpenError::Wrong(error.to_string()))?;
                    self.frames.extend(frames);
                }
            }
        }
    }
}

/// Random bytes of the system.
pub(crate) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system has random bytes once it is up");
}

/// The output of `future`, if it comes in time.
pub(crate) async fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::after(time).await;
        None
    };
    async { Some(future.await) }.or(late).await
}
