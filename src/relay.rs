//! A session, from the first byte to the last: authenticate, dial, relay, close.
//!
//! Read `Session::run` first. Two promises hold whatever happens: every byte that arrived from one side is written to
//! the other before its end is passed on, and every session ends with exactly one [`CloseReason`].

pub mod asking;
pub mod course;
pub mod half;
pub mod held;
pub mod isolate;
pub mod opening;
pub mod passthrough;
pub mod pipes;
pub mod pulse;
pub mod replay;
pub mod settle;

use crate::access::{self, Access};
use crate::pool::BufferPool;
use crate::stats::{SessionStats, Stats, UserStats};
use asking::{Asked, Attempt, Loss, Question, Terms};
use course::{Course, Relayed};
use half::{Half, Treatment};
use held::Holder;
use mtrelay_core::close::{CloseReason, Side};
use mtrelay_core::dc::{DcId, Table};
use mtrelay_core::dial::attempts::RetrySchedule;
use mtrelay_core::dial::{Connected, Dialer};
use mtrelay_core::reactor::Async;
use mtrelay_core::sys::{clock, socket};
use opening::{Openings, Outcome, Ticket};
use passthrough::Front;
use pipes::Pipes;
use pulse::{Pulse, Pulses};
use replay::ReplayWindow;
use settle::{Farewell, settle};
use smol::LocalExecutor;
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;
use wire::accept::{Clock, Handshake, Policy};
use wire::cipher::Stream;
use wire::faketls::x25519::KeySharePool;
use wire::secret::Secret;
use wire::{Mode, Modes};

/// What outlives a change of the configuration.
pub struct Shared {
    /// Runs every task of the relay.
    pub executor: Rc<LocalExecutor<'static>>,
    /// Connects to data centres, and remembers how that went.
    pub dialer: Rc<Dialer>,
    /// The counters.
    pub stats: Rc<Stats>,
    /// The memory of relayed bytes.
    pub pool: BufferPool,
    /// The part of it in which questions stand that no DC has answered yet.
    pub holder: Rc<Holder>,
    /// What bytes pass through that stay as they are.
    pub pipes: Pipes,
    /// Openings seen before.
    pub replay: RefCell<ReplayWindow>,
    /// Key shares for the answers to their hellos.
    pub key_shares: RefCell<KeySharePool>,
    /// Connections that have not said who they are.
    pub openings: Rc<Openings>,
    /// Live sessions.
    pub pulses: Rc<Pulses>,
    /// Live connections to the fronted site.
    pub fronted: Rc<Pulses>,
    /// How a hello's time is judged at present.
    pub clock: Cell<Clock>,
    /// Whether our own clock is right, as far as is known.
    pub clock_trusted: Cell<bool>,
    /// The length that our answer's encrypted record has as long as the site's own is not known.
    pub flight_len: usize,
    /// Strangers who are shown the site at a time; the oldest goes for the newcomer.
    pub max_strangers: usize,
    /// The first unknown DCs that clients asked for: each is logged once, and whoever makes up many fills no log.
    pub unknown: RefCell<heapless::Vec<DcId, 8>>,
    /// What openings are read into, and questions encrypted in; never held across a wait.
    pub scratch: RefCell<Box<[u8]>>,
}

/// A user, as sessions need to know one.
pub struct User {
    /// The name in UCI.
    pub name: Rc<str>,
    /// The key.
    pub secret: Secret,
    /// Switched on.
    pub enabled: bool,
    /// Unix seconds after which the user is refused.
    pub expires: Option<u64>,
    /// Sessions at a time.
    pub max_sessions: Option<u64>,
    /// Client addresses at a time; of IPv6 a /64 is one.
    pub max_ips: Option<usize>,
    /// Counters.
    pub stats: Rc<UserStats>,
}

/// What the configuration says. Each connection keeps the one it began with.
pub struct Context {
    /// What all configurations have in common.
    pub shared: Rc<Shared>,
    /// The users.
    pub users: Vec<User>,
    /// Their secrets, in the same order.
    pub secrets: Vec<Secret>,
    /// What clients may come as.
    pub modes: Modes,
    /// Downloads pass without being encrypted again.
    pub fast_mode: bool,
    /// The server name that hellos must have.
    pub front_domain: Option<String>,
    /// Where strangers are sent.
    pub front: Option<Rc<Front>>,
    /// Who may connect.
    pub access: Rc<Access>,
    /// The limits of one source hold for those in the LAN too.
    pub limit_lan: bool,
    /// For a whole opening.
    pub handshake_timeout: Option<Duration>,
    /// Sessions at a time.
    pub max_sessions: u64,
    /// What all their sockets may hold together, in bytes; nothing where each has a bound of its own.
    pub socket_memory: Option<u64>,
    /// Sessions at a time from one address.
    pub max_sessions_per_ip: Option<usize>,
    /// For a DC's first answer to a whole first frame.
    pub answer_timeout: Option<Duration>,
    /// The data centres.
    pub dcs: Table,
    /// Connects to them.
    pub dialer: Rc<Dialer>,
}

/// What the kernel lets a send buffer grow to by itself (`net.ipv4.tcp_wmem`, half of its usual 4 MiB), and what a connection
/// needs at least to be of use.
const USUAL_SEND_BUFFER: u64 = 2 << 20;
const LEAST_SEND_BUFFER: u64 = 16 << 10;

/// A DC connection that ends sooner than this without an answer was no good, even if nothing was asked.
const SOON: Duration = Duration::from_secs(10);

/// A connection just accepted.
pub struct Taken {
    /// The connection.
    pub connection: Async<TcpStream>,
    /// Where it comes from.
    pub client: IpAddr,
}

impl Shared {
    /// Runs a connection's task to its end, whatever happens in it.
    pub fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let stats = self.stats.clone();
        // Boxed first: what wraps it would carry it twice.
        let task = task.boxed_local();
        let isolated = async move { isolate::isolated(&stats, task).await };
        self.executor.spawn(isolated.boxed_local()).detach();
    }

    fn log_unknown(&self, dc: DcId) {
        let mut known = self.unknown.borrow_mut();
        if !known.contains(&dc) && known.push(dc).is_ok() {
            log::warn!("unknown DC {dc}: refused (a 'dc' section can name its addresses)");
        }
    }
}

impl Context {
    fn policy(&self) -> Policy<'_> {
        Policy {
            secrets: &self.secrets,
            modes: self.modes,
            front_domain: self.front_domain.as_deref(),
            clock: self.shared.clock.get(),
            only_tls: self.is_all_for_front(),
        }
    }

    /// Whoever is no client of ours sees the site, whatever it sends: no client of ours sends anything but TLS.
    fn is_all_for_front(&self) -> bool {
        self.front.is_some() && self.modes.ee && !self.modes.dd && !self.modes.plain
    }

    /// The source that `ip` counts for, if its openings are bounded: a home's own devices may come as they like.
    #[must_use]
    pub fn limited_source(&self, ip: IpAddr) -> Option<IpAddr> {
        (self.limit_lan || !access::is_lan(ip)).then(|| access::source(ip))
    }

    /// The length of the next answer's encrypted record.
    fn flight_len(&self) -> usize {
        let measured = self.front.as_ref().and_then(|front| front.flight_len());
        measured.unwrap_or_else(|| {
            let mut jitter = [0];
            opening::fill(&mut jitter);
            self.shared.flight_len + usize::from(jitter[0] % 4)
        })
    }

    /// Why `user` may not begin another session from `client`.
    fn refuse(&self, user: &User, client: IpAddr) -> Option<CloseReason> {
        let stats = &user.stats;
        if !user.enabled {
            return Some(CloseReason::UserDisabled);
        }
        if user
            .expires
            .is_some_and(|expires| self.shared.clock_trusted.get() && u64::from(clock::unix_now()) >= expires)
        {
            return Some(CloseReason::Expired);
        }
        if stats.is_over_quota() {
            return Some(CloseReason::Quota);
        }
        // The session that asks is counted already.
        let same_ip = |pulse: &Pulse| pulse.client == client;
        let limited = self.shared.stats.sessions_active() > self.max_sessions
            || user.max_sessions.is_some_and(|limit| stats.active.get() > limit)
            || self
                .max_sessions_per_ip
                .is_some_and(|limit| self.shared.pulses.count(same_ip) > limit);
        let limited = limited || user.max_ips.is_some_and(|limit| self.ips_of(user) > limit);
        limited.then_some(CloseReason::Limit)
    }

    /// How many addresses the user's sessions come from.
    fn ips_of(&self, user: &User) -> usize {
        let mut sources = Vec::new();
        self.shared.pulses.each(|pulse| {
            let source = access::source(pulse.client);
            if pulse.is_of(&user.name) && !sources.contains(&source) {
                sources.push(source);
            }
        });
        sources.len()
    }
}

/// Serves one connection: finds out who it is, and hands it on to a task of the right size.
pub async fn serve(mut taken: Taken, context: Rc<Context>, ticket: Ticket) {
    let shared = context.shared.clone();
    // Boxed, so that this memory is gone when the long part begins.
    let outcome = Box::pin(opening::authenticate(&mut taken, &context, &ticket)).await;
    drop(ticket);
    match outcome {
        Outcome::Client(opening) => shared.spawn(Session::run(taken, opening, context)),
        Outcome::Stranger { bytes, visit } => {
            if let Some(front) = context.front.clone() {
                shared.spawn(front.show(taken, bytes, visit, context.shared.clone()));
            }
        }
        Outcome::Gone => {}
    }
}

/// A client that said who it is, on its way to a DC.
struct Session {
    client: Async<TcpStream>,
    context: Rc<Context>,
    stats: Rc<SessionStats>,
    pulse: Rc<Pulse>,
}

impl Session {
    async fn run(taken: Taken, opening: Box<Handshake>, context: Rc<Context>) {
        let begun = clock::now();
        let user = &context.users[opening.user];
        let pulse = context
            .shared
            .pulses
            .begin(Some((user.name.clone(), user.secret)), taken.client);
        let dc = DcId::from_wire(opening.dc);
        let addresses = context.dcs.lookup(dc).map(<[SocketAddr]>::to_vec);
        let stats = &context.shared.stats;
        let stats = SessionStats::begin(stats, user.stats.clone(), stats.dc(dc), taken.client, begun);
        let refused = context.refuse(user, taken.client);
        let session = Session {
            client: taken.connection,
            context,
            stats,
            pulse,
        };
        session.bound_sockets();
        if let Some(reason) = refused {
            return settle(session.end(reason), Farewell::Finish).await;
        }
        let Some(addresses) = addresses else {
            session.context.shared.log_unknown(dc);
            return settle(session.end(CloseReason::UnknownDc), Farewell::Finish).await;
        };
        let shared = session.context.shared.clone();
        match session.reach(dc, &addresses, *opening).await {
            // A task of its own, so that this one's memory is gone when the long part begins.
            Ok(line) => shared.spawn(session.carry(line)),
            Err(unreached) => session.part(unreached.dc, unreached.relayed).await,
        }
    }

    /// Moves bytes until both directions have ended, or the session is ended from outside.
    async fn carry(self, line: Box<Line>) {
        let dc = line.dc;
        let (address, warm) = (line.address, line.warm);
        let moved_up = |len| self.moved_up(len);
        let moved_down = |len| {
            if self.stats.down() == 0 {
                self.context.dialer.answered(address);
            }
            self.stats.moved_down(len);
            self.end_over_quota();
        };
        let mut course = self.course(&dc, line.question, line.attempt, [&moved_up, &moved_down]);
        let relayed = poll_fn(|context| course.poll(context)).await;
        drop(course);
        if relayed.reason.by() == Side::Dc && self.stats.up() > 0 && self.stats.down() == 0 {
            // It took a question and went without an answer: the next session had better ask elsewhere first.
            self.context.dialer.suspect(address, warm);
        }
        Box::pin(self.part(Some(dc), relayed)).await;
    }

    /// Ends the session, and both connections as they deserve.
    async fn part(self, dc: Option<Async<TcpStream>>, relayed: Relayed) {
        if let (CloseReason::DcTimeout, Some(address)) = (relayed.reason, self.stats.addr()) {
            self.context.dialer.timed_out(address);
        }
        let executor = self.context.shared.executor.clone();
        let connection = self.end(relayed.reason);
        if let (Some(dc), Some(farewell)) = (dc, relayed.dc) {
            executor.spawn(settle(dc, farewell).boxed_local()).detach();
        }
        if let Some(farewell) = relayed.client {
            settle(connection, farewell).await;
        }
    }

    /// Connects to the DC and asks it what the client asks, at one address after another until one answers.
    async fn reach(
        &self,
        id: DcId,
        addresses: &[SocketAddr],
        opening: Handshake,
    ) -> Result<Box<Line>, Unreached> {
        let shared = &self.context.shared;
        let mut question = Question::new(opening, &shared.holder);
        let mut schedule = RetrySchedule::default();
        let mut loss: Option<Loss> = None;
        loop {
            let connected = self.dial(id, addresses, &mut schedule).await;
            if let (Some(how), Ok(_) | Err(Undialed::Failed { attempted: true })) = (loss, &connected) {
                self.stats.retried(how.ended());
                if let (Some(CloseReason::DcTimeout), Some(lost)) = (how.ended(), self.stats.addr()) {
                    self.context.dialer.timed_out(lost);
                }
            }
            let connected = connected.map_err(|end| Unreached::undialed(end, loss))?;
            let Connected {
                connection: dc,
                address,
                warm,
                ..
            } = connected;
            self.stats.connected(address);
            // Before it says anything, as what comes faster than it is taken may make the buffer larger.
            socket::keep_receive_buffer(dc.get_ref());
            if connected.ipv6_fallback {
                shared.stats.ipv6_fallback();
            }
            let begun = clock::now();
            let mut attempt = question.attempt(self.context.fast_mode && loss.is_none());
            let mut terms = Terms {
                client: &self.client,
                dc: &dc,
                pulse: &self.pulse,
                moved_up: &|len| self.moved_up(len),
                scratch: &shared.scratch,
                answer_timeout: self.context.answer_timeout,
            };
            let dialer = &self.context.dialer;
            let asked = loop {
                let asking = question.ask(&mut attempt, terms);
                let ended = async { Asked::Ended(self.pulse.ended().await) };
                let asked = asking.or(ended).await;
                if !matches!(asked, Asked::Lost(_)) {
                    break asked;
                }
                let soon = clock::now().saturating_duration_since(begun) < SOON;
                if soon || self.stats.up() > 0 {
                    dialer.suspect(address, warm);
                }
                if !matches!(asked, Asked::Lost(Loss::Silent)) || dialer.has_other(addresses, &schedule) {
                    break asked;
                }
                // What is silent everywhere is perhaps just not to be answered: clients say such things too.
                log::debug!("dial: DC {id}: {address} is silent, and there is no other: left open");
                terms.answer_timeout = None;
            };
            match asked {
                Asked::Answered => {}
                Asked::Lost(how) => {
                    log::debug!("dial: DC {id}: {how} of {address} before an answer; asking again");
                    loss = Some(how);
                    continue;
                }
                Asked::Failed(reason) => return Err(Unreached::failed(reason, dc)),
                Asked::Ended(reason) => return Err(Unreached::just(reason)),
            }
            return Ok(Box::new(Line {
                dc,
                address,
                warm,
                question,
                attempt,
            }));
        }
    }

    async fn dial(
        &self,
        dc: DcId,
        addresses: &[SocketAddr],
        schedule: &mut RetrySchedule,
    ) -> Result<Connected, Undialed> {
        let dialing = async {
            let mut attempted = false;
            let mut failed = |_, kind| {
                attempted = true;
                self.stats.connect_failed(kind);
            };
            let connecting = self
                .context
                .dialer
                .connect(Some(dc), addresses, schedule, &mut failed);
            let connected = connecting.await;
            connected.map_err(|_| Undialed::Failed { attempted })
        };
        let ended = async { Err(Undialed::Ended(self.pulse.ended().await)) };
        dialing.or(ended).await
    }

    /// Bounds what waits in the client's socket, where an equal share for every session is less than the kernel would let
    /// it grow to by itself. The more sessions, the smaller the share of the next one.
    fn bound_sockets(&self) {
        let Some(memory) = self.context.socket_memory else {
            return;
        };
        let share = memory / self.context.shared.stats.sessions_active().max(1);
        // Half of it is for the other socket, and the kernel doubles what it is told.
        let bytes = (share / 4).max(LEAST_SEND_BUFFER);
        if bytes < USUAL_SEND_BUFFER {
            socket::bound_send_buffer(self.client.get_ref(), bytes as u32);
        }
    }

    /// Both directions between the client and this DC, told of what they move.
    fn course<'a>(
        &'a self,
        dc: &'a Async<TcpStream>,
        question: Question,
        attempt: Attempt,
        [moved_up, moved_down]: [&'a dyn Fn(usize); 2],
    ) -> Course<'a> {
        let shared = &self.context.shared;
        let half = |from, to, treatment, moved| Half {
            from,
            to,
            treatment,
            pool: &shared.pool,
            pipes: &shared.pipes,
            pulse: &self.pulse,
            moved,
        };
        if attempt.fast && shared.pipes.exist() {
            self.stats.spliced();
        }
        let down = Treatment {
            unwrap: None,
            recrypt: (!attempt.fast).then(|| (Stream::new(&attempt.down), Stream::new(&question.down))),
            wrap: question.mode == Mode::Ee,
        };
        let asking = Box::pin(async move {
            let (unwrap, from, to) = question.finish(attempt, dc, &shared.scratch).await?;
            Ok(Treatment {
                unwrap,
                recrypt: Some((from, to)),
                wrap: false,
            })
        });
        let up = half(&self.client, dc, Treatment::default(), moved_up);
        Course::new(asking, up, half(dc, &self.client, down, moved_down))
    }

    fn moved_up(&self, len: usize) {
        self.stats.moved_up(len);
        self.end_over_quota();
    }

    fn end_over_quota(&self) {
        if self.stats.is_over_quota() {
            self.pulse.end(CloseReason::Quota);
        }
    }

    /// Counts and logs the end; the client's connection is all that is left.
    fn end(self, reason: CloseReason) -> Async<TcpStream> {
        let Session { client, stats, .. } = self;
        stats.end(reason, clock::now());
        client
    }
}

/// A DC connection that has answered, or is the last one.
struct Line {
    dc: Async<TcpStream>,
    address: SocketAddr,
    warm: bool,
    question: Question,
    attempt: Attempt,
}

/// Why there is no connection to ask.
enum Undialed {
    /// Whether an attempt was made at all.
    Failed {
        attempted: bool,
    },
    Ended(CloseReason),
}

/// A session that ended before its DC had answered.
struct Unreached {
    relayed: Relayed,
    dc: Option<Async<TcpStream>>,
}

impl Unreached {
    fn just(reason: CloseReason) -> Unreached {
        Unreached {
            relayed: Relayed {
                reason,
                client: None,
                dc: None,
            },
            dc: None,
        }
    }

    /// Nobody is left to ask. If all could be connected to, the way in which the last one went is the session's.
    fn undialed(end: Undialed, loss: Option<Loss>) -> Unreached {
        let (reason, farewell) = match (end, loss) {
            (Undialed::Ended(reason), _) => return Unreached::just(reason),
            (Undialed::Failed { attempted: false }, Some(Loss::Ended(reason))) => {
                let reset = reason == CloseReason::DcReset;
                (reason, if reset { Farewell::Reset } else { Farewell::Finish })
            }
            _ => (CloseReason::ConnectFailed, Farewell::Finish),
        };
        let mut unreached = Unreached::just(reason);
        unreached.relayed.client = Some(farewell);
        unreached
    }

    /// The client has failed, or what it says has.
    fn failed(reason: CloseReason, dc: Async<TcpStream>) -> Unreached {
        let ours = reason == CloseReason::Error;
        Unreached {
            relayed: Relayed {
                reason,
                client: ours.then_some(Farewell::Finish),
                dc: (!ours).then_some(Farewell::Reset),
            },
            dc: Some(dc),
        }
    }
}

fn client_failed(error: &io::Error) -> CloseReason {
    match error.kind() {
        ErrorKind::BrokenPipe => CloseReason::ClientClosed,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => CloseReason::ClientReset,
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            CloseReason::ClientTimeout
        }
        _ => CloseReason::Error,
    }
}

fn dc_failed(error: &io::Error) -> CloseReason {
    match client_failed(error) {
        CloseReason::ClientClosed => CloseReason::DcClosed,
        CloseReason::ClientReset => CloseReason::DcReset,
        CloseReason::ClientTimeout => CloseReason::DcTimeout,
        other => other,
    }
}
