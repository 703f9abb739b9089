//! What every session stands on: the state that outlives a reload, and the configuration it began with.

use crate::access::{self, Access};
use crate::pool::BufferPool;
use crate::relay::admission::PendingHandshakes;
use crate::relay::front_site::FrontSite;
use crate::relay::live_sessions::SessionRegistry;
use crate::relay::panic_guard::Guarded;
use crate::relay::pipe_pool::PipePool;
use crate::relay::replay::ReplayWindow;
use crate::relay::retry_buffer::RetryBuffers;
use crate::stats::{Stats, UserStats};
use mtrelay_core::dc::{DcId, Table};
use mtrelay_core::dial::Dialer;
use mtrelay_core::reactor::Async;
use mtrelay_core::sys::random;
use smol::LocalExecutor;
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;
use wire::Modes;
use wire::accept::{Clock, Policy};
use wire::faketls::x25519::KeySharePool;
use wire::secret::Secret;

/// The state that outlives a reload.
pub struct Shared {
    /// Runs every task of the relay.
    pub executor: Rc<LocalExecutor<'static>>,
    /// Connects to data centres and to the front site, and remembers how that went.
    pub dialer: Rc<Dialer>,
    /// The counters.
    pub stats: Rc<Stats>,
    /// The blocks that hold relayed bytes.
    pub pool: BufferPool,
    /// The part of the pool that keeps first requests until a DC has answered.
    pub retry_buffers: Rc<RetryBuffers>,
    /// The pipes that bytes pass through by splice(2).
    pub pipes: PipePool,
    /// The marks of the last authenticated openings.
    pub replay: RefCell<ReplayWindow>,
    /// Key shares for the answers to ClientHellos, computed in advance.
    pub key_shares: RefCell<KeySharePool>,
    /// Connections that are not authenticated yet.
    pub pending: Rc<PendingHandshakes>,
    /// Live sessions.
    pub sessions: Rc<SessionRegistry>,
    /// Live connections to the front site.
    pub front_connections: Rc<SessionRegistry>,
    /// The rule by which a hello's time is judged now.
    pub clock: Cell<Clock>,
    /// Whether the local clock is trusted.
    pub clock_trusted: Cell<bool>,
    /// Length in bytes of the encrypted record in our answers until the front site's is measured.
    pub flight_len: usize,
    /// Limit of front connections at a time; beyond it the oldest ends.
    pub max_front_connections: usize,
    /// The first unknown DC ids that clients asked for. Each of them is logged once; later ones are not logged.
    pub unknown_dcs: RefCell<heapless::Vec<DcId, 8>>,
    /// Buffer for one read of a handshake and for encrypting first requests; never borrowed across an await.
    pub scratch: RefCell<Box<[u8]>>,
}

/// A user as sessions see it. The secret is in [`Context::secrets`], at the same index.
pub struct User {
    /// The name in UCI.
    pub name: Rc<str>,
    /// Whether the user may open sessions.
    pub enabled: bool,
    /// Unix time in seconds from which the user is refused.
    pub expires: Option<u64>,
    /// Limit of sessions at a time.
    pub max_sessions: Option<u64>,
    /// Limit of client addresses at a time; an IPv6 /64 counts as one.
    pub max_ips: Option<usize>,
    /// The user's counters.
    pub stats: Rc<UserStats>,
}

/// What the configuration says. Each connection keeps the context it began with.
pub struct Context {
    /// The state that outlives a reload.
    pub shared: Rc<Shared>,
    /// The users.
    pub users: Vec<User>,
    /// The users' secrets, in the order of `users`.
    pub secrets: Vec<Secret>,
    /// The modes that clients may use.
    pub modes: Modes,
    /// Downloads pass without re-encryption.
    pub fast_mode: bool,
    /// The server name that ClientHellos must have.
    pub front_domain: Option<String>,
    /// The site that unauthenticated clients are connected to.
    pub front: Option<Rc<FrontSite>>,
    /// Allow and block lists.
    pub access: Rc<Access>,
    /// Whether the per-source limits hold for LAN clients too.
    pub limit_lan: bool,
    /// Time for a whole handshake.
    pub handshake_timeout: Option<Duration>,
    /// Limit of sessions at a time.
    pub max_sessions: u64,
    /// Bytes that the buffers of all sessions' sockets may hold together; `None` where `sndbuf` bounds each socket.
    pub socket_memory: Option<u64>,
    /// Limit of sessions at a time from one address.
    pub max_sessions_per_ip: Option<usize>,
    /// Time for a DC's first answer to a complete first frame.
    pub answer_timeout: Option<Duration>,
    /// The addresses of the data centres.
    pub dcs: Table,
}

/// A connection that was just accepted.
pub struct Accepted {
    /// The client's socket.
    pub socket: Async<TcpStream>,
    /// The client's address: the peer's, or what a trusted balancer's PROXY header says.
    pub client: IpAddr,
}

impl Shared {
    /// Runs `task` to its end. A panic in it ends that task alone.
    pub fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let stats = self.stats.clone();
        // Boxed as `dyn`: the executor's task is the same type for all of them.
        self.executor
            .spawn(Guarded::new(stats, task.boxed_local()))
            .detach();
    }

    /// Logs a DC id without addresses, the first time that it is asked for.
    pub fn log_unknown_dc(&self, dc: DcId) {
        let mut known = self.unknown_dcs.borrow_mut();
        if !known.contains(&dc) && known.push(dc).is_ok() {
            log::warn!("unknown DC {dc}: refused (a 'dc' section can name its addresses)");
        }
    }
}

impl Context {
    /// The rules for a handshake at this moment.
    pub fn policy(&self) -> Policy<'_> {
        Policy {
            secrets: &self.secrets,
            modes: self.modes,
            front_domain: self.front_domain.as_deref(),
            clock: self.shared.clock.get(),
            only_tls: self.is_front_for_all(),
        }
    }

    /// Whether every unauthenticated client goes to the front site, whatever it sends: with `modes ee` alone a genuine client sends
    /// nothing but TLS.
    pub fn is_front_for_all(&self) -> bool {
        self.front.is_some() && self.modes.ee && !self.modes.dd && !self.modes.plain
    }

    /// The source address whose share of handshake slots `ip` uses; `None` for LAN clients, unless `limit_lan` is set.
    #[must_use]
    pub fn limited_source(&self, ip: IpAddr) -> Option<IpAddr> {
        (self.limit_lan || !access::is_lan(ip)).then(|| access::source(ip))
    }

    /// Length in bytes of the next answer's encrypted record.
    pub fn flight_len(&self) -> usize {
        let measured = self.front.as_ref().and_then(|front| front.flight_len());
        measured.unwrap_or_else(|| {
            let mut jitter = [0];
            random::fill(&mut jitter);
            self.shared.flight_len + usize::from(jitter[0] % 4)
        })
    }
}
