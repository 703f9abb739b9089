//! Routes to the data centres: direct, or through an MTProto proxy; and the connector that opens a transport on them.

use crate::auth_key::{KeyExchange, KeyExchangeError, NewAuthKey, Step};
use crate::rsa::PublicKey;
use crate::timeout::within;
use mtrelay_core::dc::{DcId, Table};
use mtrelay_core::dial::Dialer;
use mtrelay_core::dial::RetrySchedule;
use mtrelay_core::reactor::Async;
use mtrelay_core::sys::{clock, random};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use std::collections::VecDeque;
use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;
use wire::client::{Channel, ClientHandshake, Frame, Shares};
use wire::obfuscated2::Tag;
use wire::secret::Written;

/// Limit for all connection attempts of one `open` together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Limit for one answer while a connection opens: a silent server is reported within five seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Offset of the test servers' data centre numbers.
pub(crate) const TEST_DCS: i32 = 10_000;
/// Bytes of the read buffer during the proxy's handshake.
const HANDSHAKE_BUFFER_LEN: usize = 16 << 10;

/// A route to the data centres.
#[derive(Clone, Debug)]
pub enum Route {
    /// Directly to the addresses of this table.
    Direct(Table),
    /// Through the MTProto proxy with these addresses and this secret.
    Proxy(Vec<SocketAddr>, Written),
}

/// Why a connection did not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// No connection, or it was lost. Another attempt may help.
    Lost(String),
    /// A transport error (a negative number in place of a packet).
    Transport(i32),
    /// The other side breaks the protocol. Another attempt will not help.
    Wrong(String),
}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> OpenError {
        OpenError::Lost(error.to_string())
    }
}

impl From<KeyExchangeError> for OpenError {
    fn from(error: KeyExchangeError) -> OpenError {
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

/// Opens transports over the configured routes.
pub(crate) struct Connector {
    pub(crate) dialer: Rc<Dialer>,
    pub(crate) routes: Vec<Route>,
    pub(crate) keys: Vec<PublicKey>,
}

/// An open MTProto transport: whole messages in both directions.
pub(crate) struct Transport {
    pub(crate) stream: Async<TcpStream>,
    pub(crate) channel: Channel,
    frames: VecDeque<Frame>,
}

impl Connector {
    /// Connects to data centre `dc` over route number `turn`, modulo the number of routes.
    pub(crate) async fn open(&self, dc: i32, turn: usize) -> Result<Transport, OpenError> {
        let number = i16::try_from(dc).ok().and_then(DcId::new);
        let number = number.ok_or_else(|| OpenError::Wrong(format!("there is no data centre {dc}")))?;
        let Some(route) = self.routes.get(turn % self.routes.len().max(1)) else {
            return Err(OpenError::Wrong("no route is configured".into()));
        };
        let (addresses, handshake) = match route {
            Route::Direct(table) => {
                let addresses = table
                    .lookup(number)
                    .ok_or_else(|| OpenError::Wrong(format!("no address of data centre {dc} is known")))?;
                (
                    addresses,
                    ClientHandshake::direct(Tag::Intermediate, number.raw(), &mut random::fill),
                )
            }
            Route::Proxy(addresses, secret) => {
                let now = clock::unix_now();
                let handshake =
                    ClientHandshake::proxy(secret, number.raw(), Shares::Hybrid, now, &mut random::fill);
                (addresses.as_slice(), handshake)
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
        Transport::open(connected.connection, handshake).await
    }

    /// Exchanges a key over a transport that has carried nothing yet.
    pub(crate) async fn exchange_key(
        &self,
        transport: &mut Transport,
        dc: i32,
    ) -> Result<NewAuthKey, OpenError> {
        let (mut exchange, mut message) = KeyExchange::new(dc, clock::unix_now(), &mut random::fill);
        loop {
            let answer = within(ANSWER_TIMEOUT, transport.ask(&message))
                .await
                .ok_or_else(|| OpenError::Wrong("key exchange: no answer".into()))??;
            match exchange.handle_message(&answer, &self.keys, clock::unix_now(), &mut random::fill)? {
                Step::Send(next) => message = next,
                Step::Done(key) => return Ok(*key),
            }
        }
    }
}

impl Transport {
    async fn open(
        mut stream: Async<TcpStream>,
        mut handshake: ClientHandshake,
    ) -> Result<Transport, OpenError> {
        let talk = async {
            stream.write_all(handshake.first()).await?;
            let mut buffer = vec![0; handshake.wanted().clamp(1, HANDSHAKE_BUFFER_LEN)];
            while handshake.wanted() > 0 {
                buffer.resize(handshake.wanted().min(HANDSHAKE_BUFFER_LEN), 0);
                let len = stream.read(&mut buffer).await?;
                if len == 0 {
                    return Err(OpenError::Lost("the proxy closed the connection".into()));
                }
                let wrong = |error: wire::client::BadAnswer| OpenError::Wrong(error.to_string());
                handshake.handle_input(&buffer[..len]).map_err(wrong)?;
            }
            Ok(())
        };
        within(ANSWER_TIMEOUT, talk)
            .await
            .ok_or_else(|| OpenError::Lost("the proxy does not answer".into()))??;
        let channel = handshake.finish();
        Ok(Transport {
            stream,
            channel: channel.ok_or_else(|| OpenError::Wrong("the proxy's answer is incomplete".into()))?,
            frames: VecDeque::new(),
        })
    }

    /// Sends a message and returns the next one that arrives.
    async fn ask(&mut self, message: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut out = Vec::new();
        self.channel.send(message, &mut random::fill, &mut out);
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
