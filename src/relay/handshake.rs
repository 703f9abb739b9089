//! The handshake: from the first byte of a connection to its user, mode and DC, or to the front site.
//!
//! Read [`authenticate`] first, then `wire::accept`, which decides from the bytes. One deadline holds for the whole handshake. A
//! rejected client gets no answer: it is connected with the front site, or its connection stays open in silence until the deadline.

use crate::relay::admission::HandshakeSlot;
use crate::relay::context::{Accepted, Context};
use crate::relay::front::{FrontConnection, Visitor};
use crate::relay::stream::discard;
use mtrelay_core::close::Reject;
use mtrelay_core::reactor::{Async, Interest, Timer};
use mtrelay_core::sys::{clock, cpu, random};
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;
use wire::accept::{Acceptor, ApparentProtocol, Handshake, Progress, RejectReason, Rejection};
use wire::cipher::{Stream, StreamKey};
use wire::obfuscated2::ReplayKey;
use wire::proxy_protocol::{self, Origin};

/// Bytes of one read before a client is authenticated; a ClientHello has about 2 KB.
pub const SCRATCH_LEN: usize = 2048;
/// Time after which an unfinished handshake gets a connection to the front site, so that the site's own timeouts begin with the
/// connection and not with our deadline.
const FRONT_DELAY: Duration = Duration::from_millis(200);

/// The result of a handshake.
pub(super) enum Authentication {
    /// A user's client.
    User(Accepted, Box<Handshake>),
    /// A client for the front site.
    Visitor(Visitor),
    /// The connection is over.
    Closed,
}

/// Authenticates a connection, and learns its client's address from a balancer in between.
pub(super) async fn authenticate(
    accepted: Accepted,
    context: Rc<Context>,
    slot: HandshakeSlot,
) -> Authentication {
    let pending = Pending {
        context: &context,
        slot: &slot,
        socket: &accepted.socket,
        client: Cell::new(accepted.client),
        acceptor: RefCell::new(Acceptor::new()),
        is_rejected: Cell::new(false),
        may_be_visitor: Cell::new(false),
        front: Cell::new(None),
    };
    let outcome = pending
        .converse()
        .or(pending.displaced())
        .or(pending.deadline())
        .or(pending.front_ends())
        .await;
    let bytes = pending
        .may_be_visitor
        .get()
        .then(|| pending.bytes_for_front())
        .flatten();
    let (client, connection) = (pending.client.get(), pending.front.take());
    let accepted = Accepted {
        socket: accepted.socket,
        client,
    };
    match (outcome, bytes) {
        (Outcome::User(handshake), _) => Authentication::User(accepted, handshake),
        (Outcome::Visitor(bytes), _) | (Outcome::Closed, Some(bytes)) => Authentication::Visitor(Visitor {
            accepted,
            bytes,
            connection,
        }),
        (Outcome::Closed, None) => Authentication::Closed,
    }
}

/// What one of the four futures of a handshake has come to.
enum Outcome {
    User(Box<Handshake>),
    /// With the bytes received so far.
    Visitor(Vec<u8>),
    Closed,
}

/// A rejected handshake.
struct Rejected {
    reason: Reject,
    /// The user whose secret authenticated it nevertheless.
    user: Option<usize>,
    /// The bytes for the front site, if that may answer.
    bytes: Option<Vec<u8>>,
}

/// A handshake in progress.
struct Pending<'a> {
    context: &'a Context,
    slot: &'a HandshakeSlot,
    socket: &'a Async<TcpStream>,
    client: Cell<IpAddr>,
    acceptor: RefCell<Acceptor>,
    /// The rejection is counted.
    is_rejected: Cell<bool>,
    /// The handshake ended before its bytes told what it is: the front site may answer.
    may_be_visitor: Cell<bool>,
    front: Cell<Option<Rc<FrontConnection>>>,
}

impl Pending<'_> {
    /// Counts the rejection, also against the user whose secret authenticated it.
    fn reject(&self, reject: Reject, user: Option<usize>) {
        self.is_rejected.set(true);
        self.slot.rejected();
        let user = user.and_then(|user| self.context.users.get(user));
        let stats = &self.context.shared.stats;
        stats.reject(reject, user.map(|user| &*user.stats));
        log::debug!("reject: client={} reason={}", self.client.get(), reject.name());
    }

    /// Reads until the handshake is complete or rejected.
    async fn converse(&self) -> Outcome {
        if self.context.access.balancers.contains(self.client.get())
            && let Err(reject) = self.learn_client().await
        {
            self.reject(reject, None);
            return Outcome::Closed;
        }
        let rejected = match self.read_handshake().await {
            Ok(Ok(handshake)) => return Outcome::User(handshake),
            Ok(Err(rejected)) => rejected,
            Err(error) => {
                self.reject(Reject::Closed, None);
                // A client that has sent FIN may still be listening, as visitors of the site do.
                self.may_be_visitor
                    .set(error.kind() == io::ErrorKind::UnexpectedEof);
                return Outcome::Closed;
            }
        };
        self.reject(rejected.reason, rejected.user);
        match rejected.bytes.filter(|_| self.context.front.is_some()) {
            Some(bytes) => Outcome::Visitor(bytes),
            None => {
                let _ = discard(self.socket).await;
                Outcome::Closed
            }
        }
    }

    /// Waits until this handshake has to make room for another one.
    async fn displaced(&self) -> Outcome {
        self.slot.displaced().await;
        if !self.is_rejected.get() {
            self.reject(Reject::Budget, None);
        }
        Outcome::Closed
    }

    /// Waits for the deadline.
    async fn deadline(&self) -> Outcome {
        match self.context.handshake_timeout {
            Some(timeout) => drop(Timer::after(timeout).await),
            None => pending().await,
        }
        if !self.is_rejected.get() {
            self.reject(Reject::Timeout, None);
            self.may_be_visitor.set(true);
        }
        Outcome::Closed
    }

    /// Connects with the front site after [`FRONT_DELAY`], and waits until the site ends the connection of a client that is too slow.
    async fn front_ends(&self) -> Outcome {
        Timer::after(FRONT_DELAY).await;
        let is_for_front = self.context.is_front_for_all() || self.acceptor.borrow().begins_as_tls();
        let is_open = || !self.is_rejected.get() && !self.acceptor.borrow().is_answered();
        if let Some(site) = self.context.front.as_ref().filter(|_| is_for_front && is_open())
            && let Some(connection) =
                FrontConnection::connect(site, self.client.get(), &self.context.shared).await
        {
            let connection = Rc::new(connection);
            self.front.set(Some(connection.clone()));
            if !connection.site_speaks_first().await {
                self.front.set(None);
            } else if is_open() {
                self.reject(Reject::Timeout, None);
                self.may_be_visitor.set(true);
                return Outcome::Closed;
            }
        }
        pending().await
    }

    /// The bytes of an unfinished handshake, if the front site may answer it.
    fn bytes_for_front(&self) -> Option<Vec<u8>> {
        self.context.front.as_ref()?;
        let acceptor = self.acceptor.take();
        let is_for_front =
            !acceptor.is_answered() && self.context.is_front_for_all() || acceptor.begins_as_tls();
        is_for_front.then(|| acceptor.into_bytes())
    }

    /// Reads a balancer's PROXY header and takes its client's address, to which the access lists apply.
    async fn learn_client(&self) -> Result<(), Reject> {
        match self.read_proxy_header().await {
            Ok(Some(Origin::Client(ip))) => self.client.set(ip.to_canonical()),
            Ok(Some(Origin::Connection)) => {}
            Ok(None) => return Err(Reject::Malformed),
            Err(_) => return Err(Reject::Closed),
        }
        let client = self.client.get();
        if !self.context.access.admits(client) {
            return Err(Reject::Blocked);
        }
        self.slot
            .set_source(self.context.limited_source(client), clock::now());
        Ok(())
    }

    /// `None`: the balancer does not speak the PROXY protocol.
    ///
    /// # Errors
    /// When the balancer closes or resets, or its socket fails.
    async fn read_proxy_header(&self) -> io::Result<Option<Origin>> {
        let mut reader = proxy_protocol::Reader::default();
        loop {
            let step = self.socket.try_io(Interest::Read, |mut socket| {
                let mut piece = [0; 64];
                let room = reader.wanted().min(piece.len());
                match socket.read(&mut piece[..room])? {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    len => {
                        self.slot.received(len, 0);
                        Ok(reader.handle_input(&piece[..len]))
                    }
                }
            });
            match step.await? {
                Ok(None) => {}
                Ok(origin) => return Ok(origin),
                Err(proxy_protocol::Malformed) => return Ok(None),
            }
        }
    }

    /// # Errors
    /// When the client closes or resets, or its socket fails.
    async fn read_handshake(&self) -> io::Result<Result<Box<Handshake>, Rejected>> {
        let policy = self.context.policy();
        loop {
            let step = self
                .socket
                .try_io(Interest::Read, |mut socket| {
                    let mut scratch = self.context.shared.scratch.borrow_mut();
                    let mut acceptor = self.acceptor.borrow_mut();
                    let room = acceptor.wanted().min(scratch.len());
                    let len = socket.read(&mut scratch[..room])?;
                    if len == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    let step = acceptor.handle_input(&mut scratch[..len], &policy);
                    self.slot.received(len, acceptor.held());
                    Ok(step)
                })
                .await?;
            match step {
                Progress::NeedMore => {}
                Progress::Answer { user, replay_key } => {
                    if self.is_replay(replay_key) {
                        let bytes = Some(self.acceptor.take().into_bytes());
                        return Ok(Err(Rejected::replay(user, bytes)));
                    }
                    self.slot.hello_accepted();
                    let share = self
                        .context
                        .shared
                        .key_shares
                        .borrow_mut()
                        .take(&mut random::fill);
                    let answer = self
                        .acceptor
                        .borrow_mut()
                        .answer(&policy, self.context.flight_len(), &share, &mut fill_flight)
                        .unwrap_or_default();
                    self.send(&answer).await?;
                }
                // Inside fake TLS the hello is in the replay window already.
                Progress::Ready(handshake) if handshake.records.is_none() => {
                    let is_replay = self.is_replay(handshake.replay_key);
                    let replay = || Rejected::replay(handshake.user, None);
                    return Ok(if is_replay { Err(replay()) } else { Ok(handshake) });
                }
                Progress::Ready(handshake) => return Ok(Ok(handshake)),
                Progress::Rejected(rejection) => return Ok(Err(self.rejected(&rejection))),
            }
        }
    }

    /// Enters an opening into the replay window; true when it was there.
    fn is_replay(&self, key: ReplayKey) -> bool {
        !self.context.shared.replay.borrow_mut().insert(key)
    }

    fn rejected(&self, rejection: &Rejection) -> Rejected {
        if let RejectReason::ClockSkew(offset_s) = rejection.reason {
            log::debug!("clock: client={} is off by {offset_s} s", self.client.get());
            self.context.shared.stats.clock_refused(offset_s);
        }
        let bytes = self.acceptor.take().into_bytes();
        let is_for_front = rejection.protocol != ApparentProtocol::Unknown || self.context.is_front_for_all();
        Rejected {
            reason: reason(rejection),
            user: rejection.user,
            bytes: (is_for_front && !bytes.is_empty()).then_some(bytes),
        }
    }

    async fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let len = self
                .socket
                .try_io(Interest::Write, |mut socket| socket.write(bytes))
                .await?;
            bytes = &bytes[len..];
        }
        Ok(())
    }
}

impl Rejected {
    fn replay(user: usize, bytes: Option<Vec<u8>>) -> Rejected {
        Rejected {
            reason: Reject::Replay,
            user: Some(user),
            bytes,
        }
    }
}

fn reason(rejection: &Rejection) -> Reject {
    match rejection.reason {
        RejectReason::BadSecret => Reject::BadSecret,
        RejectReason::BadTag => Reject::BadTag,
        RejectReason::ClockSkew(_) => Reject::ClockSkew,
        RejectReason::Malformed => Reject::Malformed,
        RejectReason::ModeDisabled => Reject::ModeDisabled,
        RejectReason::BadServerName => Reject::BadSni,
    }
}

/// Random bytes for the encrypted record of an answer, kilobytes that are no keys: with AES instructions, an AES-CTR keystream costs
/// less than the kernel's generator.
fn fill_flight(bytes: &mut [u8]) {
    let (mut key, mut iv) = ([0; 32], [0; 16]);
    if bytes.len() <= 4 * key.len() || !cpu::has_aes() {
        return random::fill(bytes);
    }
    random::fill(&mut key);
    random::fill(&mut iv);
    bytes.fill(0);
    Stream::new(&StreamKey { key, iv }).apply(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_answers_have_different_random_bytes() {
        let draw = |len| {
            let mut bytes = vec![0; len];
            fill_flight(&mut bytes);
            bytes
        };
        for len in [64, 128, 129, 2000] {
            let (one, other) = (draw(len), draw(len));
            let alike = one.iter().zip(&other).filter(|(one, other)| one == other).count();
            assert!(alike < len / 4, "{alike} of {len}");
            assert!(one.iter().filter(|byte| **byte == 0).count() < len / 4);
        }
    }
}
