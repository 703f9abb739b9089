//! Connecting a session to its DC: addresses are tried until one of them has answered the first request.
//!
//! The dialer races the addresses (RFC 8305); [`FirstRequest`] keeps what the client sends until the DC's first answer. A DC that is lost
//! before is replaced by the next address, and the client notices nothing.

use crate::relay::client::Client;
use crate::relay::first_request::{DcAttempt, DcLoss, FirstRequest, Outcome, RequestIo};
use crate::relay::linger::{CloseMode, Ending};
use mtrelay_core::close::CloseReason;
use mtrelay_core::dc::DcId;
use mtrelay_core::dial::Connected;
use mtrelay_core::dial::RetrySchedule;
use mtrelay_core::reactor::Async;
use mtrelay_core::sys::{clock, socket};
use smol::future::FutureExt as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use wire::accept::Handshake;

/// Lifetime below which a DC connection that was lost without an answer counts against its address, even if the client had sent
/// nothing.
const SHORT_LIFETIME: Duration = Duration::from_secs(10);

/// A DC connection that has answered, or that is the last one to try.
pub(super) struct DcConnection {
    /// The DC's socket.
    pub socket: Async<TcpStream>,
    /// The DC's address.
    pub address: SocketAddr,
    /// Whether it was prewarmed.
    pub warm: bool,
}

/// A session that is connected: its DC, and the first request, which the duplex takes over.
pub(super) struct ConnectedSession {
    /// The DC.
    pub dc: DcConnection,
    /// The client's side of the first request.
    pub request: FirstRequest,
    /// The DC's side of it.
    pub attempt: DcAttempt,
}

/// A session that ended before its DC had answered.
pub(super) struct Unconnected {
    /// How it ended.
    pub ending: Ending,
    /// The DC's socket, if it is still open.
    pub dc: Option<Async<TcpStream>>,
}

/// Why there is no further DC connection.
enum DialEnd {
    /// The dialer gave up; with whether it made any attempt.
    Failed { attempted: bool },
    /// The session was ended from outside.
    Ended(CloseReason),
}

/// Connects to DC `id` and sends the first request, to one address after another until one answers.
///
/// # Errors
/// When the session has ended before.
pub(super) async fn connect(
    client: &Client,
    id: DcId,
    addresses: Vec<SocketAddr>,
    handshake: Handshake,
) -> Result<Box<ConnectedSession>, Unconnected> {
    let shared = &client.context.shared;
    let mut request = FirstRequest::new(handshake, &shared.retry_buffers);
    let mut schedule = RetrySchedule::default();
    let mut loss: Option<DcLoss> = None;
    loop {
        let dialed = dial(client, id, &addresses, &mut schedule).await;
        if let (Some(loss), Ok(_) | Err(DialEnd::Failed { attempted: true })) = (loss, &dialed) {
            note_loss(client, loss);
        }
        let connected = dialed.map_err(|end| Unconnected::undialed(end, loss))?;
        client.stats.connected(connected.address);
        // Before the DC sends anything: the kernel grows the buffer while bytes arrive faster than they are read.
        socket::keep_receive_buffer(connected.connection.get_ref());
        if connected.ipv6_fallback {
            client.stats.ipv6_fallback();
        }
        let dc = DcConnection {
            socket: connected.connection,
            address: connected.address,
            warm: connected.warm,
        };
        let mut attempt = request.attempt(client.context.fast_mode && loss.is_none());
        let has_other = || shared.dialer.has_other(&addresses, &schedule);
        match send(client, &dc, &mut request, &mut attempt, has_other).await {
            Outcome::Proceed => {
                return Ok(Box::new(ConnectedSession { dc, request, attempt }));
            }
            Outcome::Lost(how) => {
                log::debug!(
                    "dial: DC {id}: {how} of {} before an answer; sending the request again",
                    dc.address
                );
                loss = Some(how);
            }
            Outcome::Failed(reason) => return Err(Unconnected::failed(reason, dc.socket)),
            Outcome::Ended(reason) => return Err(Unconnected::ended(reason)),
        }
    }
}

/// Sends the first request on one connection. A DC that is silent while there is no other address stays open: clients also send
/// requests that have no answer.
async fn send(
    client: &Client,
    dc: &DcConnection,
    request: &mut FirstRequest,
    attempt: &mut DcAttempt,
    has_other: impl Fn() -> bool,
) -> Outcome {
    let begun = clock::now();
    let moved_up = |len| client.moved_up(len);
    let mut io = RequestIo {
        client: &client.socket,
        dc: &dc.socket,
        handle: &client.handle,
        moved_up: &moved_up,
        scratch: &client.context.shared.scratch,
        answer_timeout: client.context.answer_timeout,
    };
    loop {
        let sending = request.send(attempt, io);
        let ended = async { Outcome::Ended(client.handle.ended().await) };
        let outcome = sending.or(ended).await;
        if !matches!(outcome, Outcome::Lost(_)) {
            return outcome;
        }
        let was_short = clock::now().saturating_duration_since(begun) < SHORT_LIFETIME;
        if was_short || client.stats.up() > 0 {
            client.context.shared.dialer.suspect(dc.address, dc.warm);
        }
        if !matches!(outcome, Outcome::Lost(DcLoss::Silent)) || has_other() {
            return outcome;
        }
        log::debug!("dial: {} is silent and the only address: left open", dc.address);
        io.answer_timeout = None;
    }
}

/// Counts a retry, and a DC that acknowledged nothing against its address.
fn note_loss(client: &Client, loss: DcLoss) {
    client.stats.retried(loss.ended());
    if let (Some(CloseReason::DcTimeout), Some(lost)) = (loss.ended(), client.stats.addr()) {
        client.context.shared.dialer.timed_out(lost);
    }
}

async fn dial(
    client: &Client,
    id: DcId,
    addresses: &[SocketAddr],
    schedule: &mut RetrySchedule,
) -> Result<Connected, DialEnd> {
    let dialing = async {
        let mut attempted = false;
        let mut failed = |_, kind| {
            attempted = true;
            client.stats.connect_failed(kind);
        };
        let dialer = &client.context.shared.dialer;
        let connected = dialer.connect(Some(id), addresses, schedule, &mut failed).await;
        connected.map_err(|_| DialEnd::Failed { attempted })
    };
    let ended = async { Err(DialEnd::Ended(client.handle.ended().await)) };
    dialing.or(ended).await
}

impl Unconnected {
    fn ended(reason: CloseReason) -> Unconnected {
        Unconnected {
            ending: Ending::abrupt(reason),
            dc: None,
        }
    }

    /// No address is left. If every address could be connected to, the way in which the last one was lost is the session's end.
    fn undialed(end: DialEnd, loss: Option<DcLoss>) -> Unconnected {
        let (reason, mode) = match (end, loss) {
            (DialEnd::Ended(reason), _) => return Unconnected::ended(reason),
            (DialEnd::Failed { attempted: false }, Some(DcLoss::Ended(reason))) => {
                let was_reset = reason == CloseReason::DcReset;
                (
                    reason,
                    if was_reset {
                        CloseMode::Reset
                    } else {
                        CloseMode::Fin
                    },
                )
            }
            _ => (CloseReason::ConnectFailed, CloseMode::Fin),
        };
        Unconnected {
            ending: Ending::for_client(reason, mode),
            dc: None,
        }
    }

    /// The client has failed, or its bytes are invalid (`error`).
    fn failed(reason: CloseReason, dc: Async<TcpStream>) -> Unconnected {
        let is_invalid = reason == CloseReason::Error;
        Unconnected {
            ending: Ending {
                reason,
                client: is_invalid.then_some(CloseMode::Fin),
                dc: (!is_invalid).then_some(CloseMode::Reset),
            },
            dc: Some(dc),
        }
    }
}
