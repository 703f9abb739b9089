//! Openings: connections that have not said who they are yet.
//!
//! An opening holds no relay block, only its own few bytes, and has one deadline for all of it. When there are too many
//! at once, the oldest of those that have sent least makes room, so that silent strangers never shut an honest client
//! out. Whoever is refused gets no answer of ours: its connection stays open in silence until the deadline.

use crate::close::Reject;
use crate::relay::half::discard;
use crate::relay::{Context, Taken};
use crate::stats::{Raised, Stats};
use async_io::{Async, Timer};
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::task::{Poll, Waker};
use wire::accept::{Acceptor, Looks, Opening, Refusal, Step, Why};

/// The most that is read at once before a client is known; a hello is about 2 KB.
pub(crate) const SCRATCH_LEN: usize = 2048;
/// What openings may hold together, in bytes: a few hundred whole hellos, or 60 of the longest.
const MAX_HELD: usize = 1 << 20;

/// What having authenticated is worth, in bytes received: more than anybody can send before that.
const KNOWN: usize = 1 << 20;

/// All openings in flight.
pub struct Openings {
    limit: Cell<usize>,
    held: Cell<usize>,
    /// The oldest first.
    list: RefCell<Vec<Rc<Entry>>>,
}

#[derive(Default)]
struct Entry {
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

    /// Takes a place; somebody else's if there is none left.
    #[must_use]
    pub fn enter(self: &Rc<Self>, stats: &Rc<Stats>) -> Ticket {
        while self.active() >= self.limit.get() {
            self.make_room();
        }
        let entry = Rc::new(Entry::default());
        self.list.borrow_mut().push(entry.clone());
        Ticket {
            _counted: stats.opening(),
            entry,
            openings: self.clone(),
        }
    }

    /// Cuts all of them off.
    pub fn cut_all(&self) {
        while self.active() > 0 {
            self.make_room();
        }
    }

    /// Cuts off the oldest of those that have sent least.
    fn make_room(&self) {
        let mut list = self.list.borrow_mut();
        let Some(index) = (0..list.len()).min_by_key(|index| list[*index].received.get()) else {
            return;
        };
        let entry = list.remove(index);
        drop(list);
        entry.cut.set(true);
        if let Some(waker) = entry.waker.take() {
            waker.wake();
        }
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
            entry.cut.set(true);
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }

    fn hold(&self, entry: &Entry, bytes: usize) {
        self.held.set(self.held.get() - entry.held.get() + bytes);
        entry.held.set(bytes);
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
        self.entry.received.set(self.entry.received.get() + KNOWN);
    }

    /// Whoever is refused is only kept waiting, and is the first to go.
    fn refused(&self) {
        self.entry.received.set(0);
        self.openings.hold(&self.entry, 0);
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
    Client(Box<Opening>),
    /// Somebody who shall see the fronted site; these are the bytes so far.
    Stranger(Vec<u8>),
    /// Nobody any more.
    Gone,
}

/// Finds out who `taken` is.
pub async fn authenticate(taken: &Taken, context: &Context, ticket: &Ticket) -> Outcome {
    let counted = Cell::new(false);
    let reject = |reject: Reject, user: Option<usize>| {
        counted.set(true);
        ticket.refused();
        let user = user.and_then(|user| context.users.get(user));
        context.shared.stats.reject(reject, user.map(|user| &*user.stats));
        log::debug!("reject: client={} reason={}", taken.client, reject.name());
    };
    let talk = async {
        let refusal = match converse(&taken.connection, taken.client, context, ticket).await {
            Ok(Ending::Opening(opening)) => return Outcome::Client(opening),
            Ok(Ending::Refused {
                reason,
                user,
                stranger,
            }) => {
                reject(reason, user);
                stranger
            }
            Err(_) => {
                reject(Reject::Closed, None);
                return Outcome::Gone;
            }
        };
        if let Some(bytes) = refusal.filter(|_| context.front.is_some()) {
            return Outcome::Stranger(bytes);
        }
        let _ = discard(&taken.connection).await;
        Outcome::Gone
    };
    let deadline = async {
        match context.handshake_timeout {
            Some(timeout) => drop(Timer::after(timeout).await),
            None => pending().await,
        }
        if !counted.get() {
            reject(Reject::Timeout, None);
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
    talk.or(cut).or(deadline).await
}

enum Ending {
    Opening(Box<Opening>),
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
) -> io::Result<Ending> {
    let mut acceptor = Acceptor::new();
    let policy = context.policy();
    loop {
        let step = connection
            .read_with(|mut socket| {
                let mut scratch = context.shared.scratch.borrow_mut();
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
            Step::NeedMore => {}
            Step::Answer { user, replay_key } => {
                if !context.shared.replay.borrow_mut().insert(replay_key) {
                    let (reason, stranger) = (Reject::Replay, Some(acceptor.into_bytes()));
                    return Ok(Ending::Refused {
                        reason,
                        user: Some(user),
                        stranger,
                    });
                }
                ticket.known();
                let answer = acceptor
                    .answer(&policy, context.flight_len(), &mut fill)
                    .unwrap_or_default();
                send(connection, &answer).await?;
            }
            Step::Ready(opening) => {
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
            Step::Refused(refusal) => {
                if let Why::ClockSkew(offset_s) = refusal.why {
                    log::debug!("clock: client={client} is off by {offset_s} s");
                    context.shared.stats.clock_refused(offset_s);
                }
                let bytes = acceptor.into_bytes();
                let for_front = refusal.looks != Looks::Noise && !bytes.is_empty();
                return Ok(Ending::Refused {
                    reason: reason(&refusal),
                    user: refusal.user,
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

fn reason(refusal: &Refusal) -> Reject {
    match refusal.why {
        Why::BadSecret => Reject::BadSecret,
        Why::BadTag => Reject::BadTag,
        Why::ClockSkew(_) => Reject::ClockSkew,
        Why::Malformed => Reject::Malformed,
        Why::ModeDisabled => Reject::ModeDisabled,
        Why::BadServerName => Reject::BadSni,
    }
}

/// Random bytes from the kernel.
pub(crate) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("getrandom(2) does not fail once the kernel has seeded it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_sent_least_makes_room() {
        let openings = Rc::new(Openings::new(3));
        let tickets: Vec<_> = (0..3).map(|_| openings.enter(&Stats::new())).collect();
        tickets[0].received(64, 0);
        let newcomer = openings.enter(&Stats::new());
        let cut = |ticket: &Ticket| ticket.entry.cut.get();
        assert_eq!([0, 1, 2].map(|index| cut(&tickets[index])), [false, true, false]);
        assert!(!cut(&newcomer));
        assert_eq!(openings.active(), 3);
    }

    #[test]
    fn the_refused_go_first_and_the_known_last() {
        let openings = Rc::new(Openings::new(3));
        let tickets: Vec<_> = (0..3).map(|_| openings.enter(&Stats::new())).collect();
        for ticket in &tickets {
            ticket.received(517, 0);
        }
        tickets[0].known();
        tickets[2].refused();
        let newcomers = [openings.enter(&Stats::new()), openings.enter(&Stats::new())];
        let cut = |ticket: &Ticket| ticket.entry.cut.get();
        assert_eq!([0, 1, 2].map(|index| cut(&tickets[index])), [false, false, true]);
        assert_eq!(
            newcomers.each_ref().map(cut),
            [true, false],
            "then whoever has sent nothing"
        );
    }

    #[test]
    fn hellos_do_not_fill_the_memory() {
        let openings = Rc::new(Openings::new(1000));
        let tickets: Vec<_> = (0..200).map(|_| openings.enter(&Stats::new())).collect();
        for ticket in &tickets {
            ticket.received(1, 16 * 1024);
            assert!(openings.held.get() <= MAX_HELD);
        }
        drop(tickets);
        assert_eq!((openings.active(), openings.held.get()), (0, 0));
    }
}
