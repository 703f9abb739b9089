//! Openings: connections that have not said who they are yet.
//!
//! An opening holds no relay block, only its own few bytes, and has one deadline for all of it. When there are too many
//! at once, in all or from one source, the oldest of those that have sent least makes room, so that strangers never
//! shut an honest client out, neither silent nor slow ones: the newcomer has a moment to speak before it may have to
//! go itself. Whoever is refused gets no answer of ours: its connection stays open in silence until the deadline.

use crate::relay::half::discard;
use crate::relay::passthrough::Visit;
use crate::relay::{Context, Taken};
use crate::stats::{Raised, Stats};
use mtrelay_core::close::Reject;
use mtrelay_core::reactor::{Async, Timer};
pub(crate) use mtrelay_core::sys::random::fill;
use mtrelay_core::sys::{clock, cpu};
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use wire::accept::{Acceptor, ApparentProtocol, Handshake, Progress, RejectReason, Rejection};
use wire::cipher::{Stream, StreamKey};
use wire::proxy_protocol::{self, Origin};

/// The most that is read at once before a client is known; a hello is about 2 KB.
pub(crate) const SCRATCH_LEN: usize = 2048;
/// What openings may hold together, in bytes: a few hundred whole hellos, or 60 of the longest.
const MAX_HELD: usize = 1 << 20;

/// Whoever has not said everything by then, and may be a visitor of the site, gets a connection to it.
const HEAD_START: Duration = Duration::from_millis(200);

/// The part of the places that one source may take, but never fewer than a phone opens at once when it wakes up.
const SOURCE_SHARE: usize = 8;
const BURST: usize = 16;
/// An opening younger than this makes room only where all are: a phone far away needs as long for its first bytes.
const GRACE: Duration = Duration::from_secs(1);

/// How much somebody has earned to stay; the lower go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Was refused, and is only kept waiting.
    Refused,
    /// Has not said who it is.
    #[default]
    Unknown,
    /// A user of ours has said hello.
    Known,
}

/// All openings in flight.
pub struct Openings {
    limit: Cell<usize>,
    held: Cell<usize>,
    /// The oldest first.
    list: RefCell<Vec<Rc<Entry>>>,
}

struct Entry {
    begun: Instant,
    /// Whose part of the places it takes; nobody's in the LAN.
    source: Cell<Option<IpAddr>>,
    standing: Cell<Standing>,
    received: Cell<usize>,
    held: Cell<usize>,
    cut: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// A place among the openings, given up when dropped.
pub struct Ticket {
    _counted: Raised,
    entry: Rc<Entry>,
    openings: Rc<Openings>,
}

impl Openings {
    /// Room for `limit` of them.
    #[must_use]
    pub fn new(limit: usize) -> Openings {
        Openings {
            limit: Cell::new(limit.max(1)),
            held: Cell::new(0),
            list: RefCell::default(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn active(&self) -> usize {
        self.list.borrow().len()
    }

    /// Takes a place; somebody else's if there is none left in all, or none for `source`.
    #[must_use]
    pub fn enter(self: &Rc<Self>, source: Option<IpAddr>, now: Instant, stats: &Rc<Stats>) -> Ticket {
        while self.active() >= self.limit.get() {
            self.make_room(now, |_| true);
        }
        self.bound(source, now, 1);
        let entry = Rc::new(Entry {
            begun: now,
            source: Cell::new(source),
            standing: Cell::default(),
            received: Cell::default(),
            held: Cell::default(),
            cut: Cell::default(),
            waker: Cell::default(),
        });
        self.list.borrow_mut().push(entry.clone());
        Ticket {
            _counted: stats.opening(),
            entry,
            openings: self.clone(),
        }
    }

    /// Cuts one off for want of descriptors, if there is one that had its time or was refused.
    pub fn give_up_one(&self, now: Instant) -> bool {
        let before = self.active();
        self.make_room(now, |entry| {
            entry.standing.get() != Standing::Known && !entry.has_grace(now)
        });
        self.active() < before
    }

    /// Makes room for `more` from this source.
    fn bound(&self, source: Option<IpAddr>, now: Instant, more: usize) {
        let limit = (self.limit.get() / SOURCE_SHARE).max(BURST);
        let same = |entry: &Entry| source.is_some() && entry.source.get() == source;
        let count = || self.list.borrow().iter().filter(|entry| same(entry)).count();
        for _ in limit..count() + more {
            self.make_room(now, same);
        }
    }

    /// Cuts all of them off.
    pub fn cut_all(&self) {
        for entry in self.list.take() {
            entry.cut_off();
        }
    }

    /// Cuts off the oldest of those that have sent least, among those that `may_go`.
    fn make_room(&self, now: Instant, may_go: impl Fn(&Entry) -> bool) {
        let mut list = self.list.borrow_mut();
        let rank = |index: &usize| {
            let entry = &list[*index];
            (entry.standing.get(), entry.has_grace(now), entry.received.get())
        };
        let candidates = (0..list.len()).filter(|index| may_go(&list[*index]));
        let Some(index) = candidates.min_by_key(rank) else {
            return;
        };
        let entry = list.remove(index);
        drop(list);
        entry.cut_off();
    }

    /// Cuts off the oldest of those that hold most.
    fn make_memory(&self) {
        while self.held.get() > MAX_HELD {
            let mut list = self.list.borrow_mut();
            let Some(index) = (0..list.len()).rev().max_by_key(|index| list[*index].held.get()) else {
                return;
            };
            let entry = list.remove(index);
            drop(list);
            self.hold(&entry, 0);
            entry.cut_off();
        }
    }

    fn hold(&self, entry: &Entry, bytes: usize) {
        self.held.set(self.held.get() - entry.held.get() + bytes);
        entry.held.set(bytes);
    }
}

impl Entry {
    fn has_grace(&self, now: Instant) -> bool {
        self.standing.get() == Standing::Unknown && now.saturating_duration_since(self.begun) < GRACE
    }

    fn cut_off(&self) {
        self.cut.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Ticket {
    fn received(&self, len: usize, held: usize) {
        self.entry.received.set(self.entry.received.get() + len);
        self.openings.hold(&self.entry, held);
        self.openings.make_memory();
    }

    /// A user of ours has said hello: whoever has not goes first.
    fn known(&self) {
        self.entry.standing.set(Standing::Known);
    }

    /// Whoever is refused is only kept waiting, and is the first to go.
    fn refused(&self) {
        self.entry.standing.set(Standing::Refused);
        self.openings.hold(&self.entry, 0);
    }

    /// It turned out to come from somewhere else.
    fn comes_from(&self, source: Option<IpAddr>, now: Instant) {
        self.entry.source.set(None);
        self.openings.bound(source, now, 1);
        self.entry.source.set(source);
    }

    fn cut(&self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|context| {
            if self.entry.cut.get() {
                return Poll::Ready(());
            }
            self.entry.waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.openings.hold(&self.entry, 0);
        self.openings
            .list
            .borrow_mut()
            .retain(|entry| !Rc::ptr_eq(entry, &self.entry));
    }
}

/// How an opening ended.
pub enum Outcome {
    /// One of our clients.
    Client(Box<Handshake>),
    /// Somebody who shall see the fronted site.
    Stranger {
        /// What came so far.
        bytes: Vec<u8>,
        /// The connection to the site, if there is one already.
        visit: Option<Rc<Visit>>,
    },
    /// Nobody any more.
    Gone,
}

/// Finds out who `taken` is, and with a balancer between also where it comes from.
pub async fn authenticate(taken: &mut Taken, context: &Context, ticket: &Ticket) -> Outcome {
    let counted = Cell::new(false);
    let client = Cell::new(taken.client);
    let acceptor = RefCell::new(Acceptor::new());
    // It came to an end before it was told who it is.
    let unfinished = Cell::new(false);
    let visit = Cell::new(None);
    let connection = &taken.connection;
    let reject = |reject: Reject, user: Option<usize>| {
        counted.set(true);
        ticket.refused();
        let user = user.and_then(|user| context.users.get(user));
        context.shared.stats.reject(reject, user.map(|user| &*user.stats));
        log::debug!("reject: client={} reason={}", client.get(), reject.name());
    };
    let talk = async {
        if context.access.balancers.contains(client.get()) {
            match origin(connection, ticket).await {
                Ok(Some(Origin::Client(ip))) => client.set(ip.to_canonical()),
                Ok(Some(Origin::Connection)) => {}
                Ok(None) => {
                    reject(Reject::Malformed, None);
                    return Outcome::Gone;
                }
                Err(_) => {
                    reject(Reject::Closed, None);
                    return Outcome::Gone;
                }
            }
            if !context.access.admits(client.get()) {
                reject(Reject::Blocked, None);
                return Outcome::Gone;
            }
            ticket.comes_from(context.limited_source(client.get()), clock::now());
        }
        let rejection = match converse(connection, client.get(), context, ticket, &acceptor).await {
            Ok(Ending::Opening(opening)) => return Outcome::Client(opening),
            Ok(Ending::Refused {
                reason,
                user,
                stranger,
            }) => {
                reject(reason, user);
                stranger
            }
            Err(error) => {
                reject(Reject::Closed, None);
                // Whoever has finished sending may still be listening, as the site's own visitors do.
                unfinished.set(error.kind() == io::ErrorKind::UnexpectedEof);
                return Outcome::Gone;
            }
        };
        if let Some(bytes) = rejection.filter(|_| context.front.is_some()) {
            let visit = visit.take();
            return Outcome::Stranger { bytes, visit };
        }
        let _ = discard(connection).await;
        Outcome::Gone
    };
    let deadline = async {
        match context.handshake_timeout {
            Some(timeout) => drop(Timer::after(timeout).await),
            None => pending().await,
        }
        if !counted.get() {
            reject(Reject::Timeout, None);
            unfinished.set(true);
        }
        Outcome::Gone
    };
    let cut = async {
        ticket.cut().await;
        if !counted.get() {
            reject(Reject::Budget, None);
        }
        Outcome::Gone
    };
    // The site has a patience of its own with whoever is slow, and it begins now, not when ours ends.
    let site_ends = async {
        Timer::after(HEAD_START).await;
        let is_for_front = context.is_all_for_front() || acceptor.borrow().begins_as_tls();
        let is_open = || !counted.get() && !acceptor.borrow().is_answered();
        if let Some(front) = context.front.as_ref().filter(|_| is_for_front && is_open())
            && let Some(begun) = front.visit(client.get(), &context.shared).await
        {
            let begun = Rc::new(begun);
            visit.set(Some(begun.clone()));
            let site_has_spoken = begun.is_over().await;
            if !site_has_spoken {
                visit.set(None);
            } else if is_open() {
                reject(Reject::Timeout, None);
                unfinished.set(true);
                return Outcome::Gone;
            }
        }
        pending().await
    };
    let outcome = talk.or(cut).or(deadline).or(site_ends).await;
    taken.client = client.get();
    match unfinished_stranger(acceptor.into_inner(), context).filter(|_| unfinished.get()) {
        Some(bytes) => {
            let visit = visit.take();
            Outcome::Stranger { bytes, visit }
        }
        None => outcome,
    }
}

/// The bytes of somebody who has not said enough to tell who it is, if the site shall see them.
fn unfinished_stranger(acceptor: Acceptor, context: &Context) -> Option<Vec<u8>> {
    context.front.as_ref()?;
    let is_for_front = !acceptor.is_answered() && context.is_all_for_front() || acceptor.begins_as_tls();
    is_for_front.then(|| acceptor.into_bytes())
}

/// What the balancer says of its client; `None` when it does not speak the PROXY protocol.
///
/// # Errors
/// When it closes or resets, or its socket fails.
async fn origin(connection: &Async<TcpStream>, ticket: &Ticket) -> io::Result<Option<Origin>> {
    let mut reader = proxy_protocol::Reader::default();
    loop {
        let step = connection.read_with(|mut socket| {
            let mut piece = [0; 64];
            let room = reader.wanted().min(piece.len());
            match socket.read(&mut piece[..room])? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                len => {
                    ticket.received(len, 0);
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

/// [`fill`] for kilobytes that are no keys: where the processor has instructions for AES, a keystream costs less than the kernel's own.
fn fill_much(bytes: &mut [u8]) {
    let (mut key, mut iv) = ([0; 32], [0; 16]);
    if bytes.len() <= 4 * key.len() || !cpu::has_aes() {
        return fill(bytes);
    }
    fill(&mut key);
    fill(&mut iv);
    bytes.fill(0);
    Stream::new(&StreamKey { key, iv }).apply(bytes);
}

enum Ending {
    Opening(Box<Handshake>),
    Refused {
        reason: Reject,
        /// Whose secret fitted all the same.
        user: Option<usize>,
        /// The bytes for the fronted site, if that shall answer.
        stranger: Option<Vec<u8>>,
    },
}

/// # Errors
/// When the client closes or resets, or its socket fails.
async fn converse(
    connection: &Async<TcpStream>,
    client: IpAddr,
    context: &Context,
    ticket: &Ticket,
    acceptor: &RefCell<Acceptor>,
) -> io::Result<Ending> {
    let policy = context.policy();
    loop {
        let step = connection
            .read_with(|mut socket| {
                let mut scratch = context.shared.scratch.borrow_mut();
                let mut acceptor = acceptor.borrow_mut();
                let room = acceptor.wanted().min(scratch.len());
                let len = socket.read(&mut scratch[..room])?;
                if len == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let step = acceptor.handle_input(&mut scratch[..len], &policy);
                ticket.received(len, acceptor.held());
                Ok(step)
            })
            .await?;
        match step {
            Progress::NeedMore => {}
            Progress::Answer { user, replay_key } => {
                if !context.shared.replay.borrow_mut().insert(replay_key) {
                    let (reason, stranger) = (Reject::Replay, Some(acceptor.take().into_bytes()));
                    return Ok(Ending::Refused {
                        reason,
                        user: Some(user),
                        stranger,
                    });
                }
                ticket.known();
                let share = context.shared.key_shares.borrow_mut().take(&mut fill);
                let answer = acceptor
                    .borrow_mut()
                    .answer(&policy, context.flight_len(), &share, &mut fill_much)
                    .unwrap_or_default();
                send(connection, &answer).await?;
            }
            Progress::Ready(opening) => {
                // Inside fake TLS the hello was the mark already.
                if opening.records.is_none() && !context.shared.replay.borrow_mut().insert(opening.replay_key)
                {
                    let (reason, user) = (Reject::Replay, Some(opening.user));
                    return Ok(Ending::Refused {
                        reason,
                        user,
                        stranger: None,
                    });
                }
                return Ok(Ending::Opening(opening));
            }
            Progress::Rejected(rejection) => {
                if let RejectReason::ClockSkew(offset_s) = rejection.reason {
                    log::debug!("clock: client={client} is off by {offset_s} s");
                    context.shared.stats.clock_refused(offset_s);
                }
                let bytes = acceptor.take().into_bytes();
                let for_front = rejection.protocol != ApparentProtocol::Unknown || context.is_all_for_front();
                let for_front = for_front && !bytes.is_empty();
                return Ok(Ending::Refused {
                    reason: reason(&rejection),
                    user: rejection.user,
                    stranger: for_front.then_some(bytes),
                });
            }
        }
    }
}

async fn send(connection: &Async<TcpStream>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let len = connection.write_with(|mut socket| socket.write(bytes)).await?;
        bytes = &bytes[len..];
    }
    Ok(())
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

#[cfg(test)]
mod tests;
