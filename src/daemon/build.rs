//! From the configuration to the relay's state: the shared state, built once, and the context, built at each reload.

use crate::config::{ClockSkew, Config, QuotaReset, User as ConfiguredUser};
use crate::pool::BufferPool;
use crate::relay::{
    self, Context, FrontSite, PendingHandshakes, PipePool, ReplayWindow, RetryBuffers, SCRATCH_LEN, Shared,
    Site, User,
};
use crate::stats::Stats;
use mtrelay_core::dc::DcId;
use mtrelay_core::dial::{DialOptions, Dialer};
use mtrelay_core::map::Map;
use mtrelay_core::sys::process::{self, Rights};
use mtrelay_core::sys::socket::Tuning;
use mtrelay_core::sys::{clock, random};
use smol::LocalExecutor;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use wire::accept::Clock;
use wire::secret::Secret;

/// Limit of handshakes in progress. A silent one costs about 3 KiB with its socket: 1.5 MiB in all.
const MAX_HANDSHAKES: u64 = 512;
/// Limit of front connections at a time. Each takes two descriptors and about 20 KiB of kernel memory.
const MAX_FRONT_CONNECTIONS: u64 = 64;
/// Descriptors of the daemon itself: listeners, statistics, log, reactor.
const OWN_DESCRIPTORS: u64 = 64;
/// Seconds that a hello's time may be behind the local clock with `clock_skew auto`: 20 minutes.
const CLOCK_BEHIND_S: u32 = 1200;
/// Seconds that a hello's time may be ahead of the local clock with `clock_skew auto`: 10 minutes.
const CLOCK_AHEAD_S: u32 = 600;
/// Range of the encrypted flight's length in bytes. One length is drawn at each start; it serves until the front site is measured.
const FLIGHT_LENS: std::ops::Range<usize> = 2100..4300;

/// RAM in KiB for each pipe of the default pipe count. A pipe full of segments holds up to 370 KB, a 40th of that.
const RAM_PER_PIPE_KIB: u64 = 16 * 1024;
/// Bounds of the default pipe count. It is also at most a 16th of the descriptors, of which each pipe takes two.
const PIPES: std::ops::RangeInclusive<u64> = 4..=32;
/// Default size of a pipe in bytes: 256 slots of a page. A slot holds at most one TCP segment of 1448 bytes. An empty pipe costs a
/// table of 10 KiB (6 KiB on 32 bits) in the kernel.
const PIPE_SIZE: u32 = 1 << 20;
/// Divisor of the RAM that gives the default of `socket_memory_mb`: an eighth.
const SOCKET_MEMORY_DIVISOR: u64 = 8;

/// The number of pipes: `pipes`, or the default for this RAM and this limit of descriptors.
fn pipes(config: &Config, nofile: u64) -> u64 {
    config.pipes.map(u64::from).unwrap_or_else(|| {
        let by_memory = process::memory_kib() / RAM_PER_PIPE_KIB;
        by_memory.clamp(*PIPES.start(), *PIPES.end()).min(nofile / 16)
    })
}

/// Bytes that all clients' sockets together may hold.
fn socket_memory(config: &Config) -> u64 {
    match config.socket_memory_mb {
        Some(megabytes) => u64::from(megabytes) << 20,
        None => process::memory_kib() * 1024 / SOCKET_MEMORY_DIVISOR,
    }
}

/// Descriptors that the configuration may need at once.
pub(super) fn descriptors(config: &Config) -> u64 {
    // One more pipe holds the headers of TLS records.
    let pipes = config.pipes.map_or(*PIPES.end(), u64::from) + 1;
    2 * (u64::from(config.max_sessions) + MAX_FRONT_CONNECTIONS + pipes) + MAX_HANDSHAKES + OWN_DESCRIPTORS
}

/// The state that outlives a reload.
pub(super) fn shared(config: &Config, nofile: u64, executor: Rc<LocalExecutor<'static>>) -> Rc<Shared> {
    let handshakes = MAX_HANDSHAKES.min(nofile / 4);
    let mut draw = [0; 2];
    random::fill(&mut draw);
    let flight_len = FLIGHT_LENS.start + usize::from(u16::from_le_bytes(draw)) % FLIGHT_LENS.len();
    let pool = BufferPool::new(config.buffers as usize, config.buffer_size as usize);
    Rc::new(Shared {
        dialer: Dialer::new(executor.clone(), dial_options(config)),
        executor,
        stats: Stats::new(),
        retry_buffers: RetryBuffers::new(&pool),
        pool,
        pipes: PipePool::new(
            usize::try_from(pipes(config, nofile)).unwrap_or(usize::MAX),
            config.pipe_size.unwrap_or(PIPE_SIZE) as usize,
        ),
        replay: RefCell::new(ReplayWindow::new(config.replay_window as usize)),
        key_shares: RefCell::default(),
        pending: Rc::new(PendingHandshakes::new(handshakes as usize)),
        sessions: Rc::default(),
        front_connections: Rc::default(),
        clock: Cell::new(clock(config)),
        clock_trusted: Cell::new(is_clock_trusted(config)),
        flight_len,
        max_front_connections: MAX_FRONT_CONNECTIONS.min(nofile / 16).max(1) as usize,
        unknown_dcs: RefCell::default(),
        scratch: RefCell::new(vec![0; SCRATCH_LEN].into_boxed_slice()),
    })
}

/// The capabilities that an unprivileged user keeps: to bind ports below 1024, also at a reload, and to set SO_MARK.
pub(super) fn rights(config: &Config) -> Rights {
    Rights {
        low_ports: config.listen.iter().any(|own| (1..1024).contains(&own.port())),
        marks: config.fwmark.is_some(),
    }
}

/// Socket options of accepted connections.
pub(super) fn tuning(config: &Config) -> Tuning {
    Tuning {
        notsent_lowat: config.notsent_lowat,
        sndbuf: config.sndbuf,
        congestion: config.congestion.clone(),
    }
}

/// The options of connections to data centres.
pub(crate) fn dial_options(config: &Config) -> DialOptions {
    DialOptions {
        connect_timeout: config.connect_timeout,
        prefer_ipv6: config.prefer_ipv6,
        bind_interface: config.bind_interface.clone(),
        fwmark: config.fwmark,
        prewarm: config.prewarm,
    }
}

/// The context of the sessions that begin from now on. An unchanged front keeps its state and its measurement.
pub(super) fn context(config: &Config, shared: &Rc<Shared>, old: Option<&Context>) -> Rc<Context> {
    let users: Vec<User> = config
        .users
        .iter()
        .map(|user| self::user(user, &shared.stats))
        .collect();
    shared
        .stats
        .retain_users(|name| users.iter().any(|user| &*user.name == name));
    for id in (1..=5).flat_map(|id| [id, -id]).chain([203]) {
        shared
            .stats
            .declare_dc(DcId::new(id).expect("no zero among them"));
    }
    for id in config.dcs.iter().map(|(id, _)| id) {
        shared.stats.declare_dc(id);
    }
    let front = front(config, shared, old.and_then(|old| old.front.as_ref()));
    Rc::new(Context {
        shared: shared.clone(),
        secrets: config.users.iter().map(|user| user.secret).collect(),
        users,
        modes: config.modes,
        fast_mode: config.fast_mode,
        front_domain: config.front_domain.clone(),
        front,
        access: config.access.clone(),
        limit_lan: config.limit_lan,
        handshake_timeout: config.handshake_timeout,
        max_sessions: u64::from(config.max_sessions),
        socket_memory: config.sndbuf.is_none().then(|| socket_memory(config)),
        max_sessions_per_ip: config.max_sessions_per_ip.map(|limit| limit as usize),
        answer_timeout: config.answer_timeout,
        dcs: config.dcs.clone(),
    })
}

fn front(config: &Config, shared: &Rc<Shared>, old: Option<&Rc<FrontSite>>) -> Option<Rc<FrontSite>> {
    let site = Site {
        address: config.front_address.as_ref()?.to_string(),
        server_name: config.front_domain.clone(),
        own: config.listen.clone(),
        measure: config.front_measure.filter(|_| config.modes.ee),
    };
    if let Some(same) = old.filter(|old| old.site == site) {
        return Some(same.clone());
    }
    let front = Rc::new(FrontSite::new(site, shared.dialer.clone(), shared.stats.clone()));
    shared.spawn(relay::keep_measured(Rc::downgrade(&front)));
    Some(front)
}

fn user(user: &ConfiguredUser, stats: &Stats) -> User {
    let stats = stats.user(&user.name);
    stats
        .quota
        .set(user.quota_mb.map(|megabytes| u64::from(megabytes) << 20));
    User {
        name: user.name.as_str().into(),
        enabled: user.enabled,
        expires: user.expires.as_ref().map(|date| date.end_unix()),
        max_sessions: user.max_sessions.map(u64::from),
        max_ips: user.max_ips.map(|limit| limit as usize),
        stats,
    }
}

/// Whether the local clock is trusted: `clock_trusted`, or else what the kernel says.
pub(super) fn is_clock_trusted(config: &Config) -> bool {
    config.clock_trusted.unwrap_or_else(clock::is_synchronised)
}

/// The rule for hellos' times at this moment.
pub(super) fn clock(config: &Config) -> Clock {
    let (behind, ahead) = match config.clock_skew {
        ClockSkew::Auto if is_clock_trusted(config) => (CLOCK_BEHIND_S, CLOCK_AHEAD_S),
        ClockSkew::Auto | ClockSkew::Any => return Clock::Unknown,
        ClockSkew::Seconds(seconds) => (seconds, seconds),
    };
    Clock::Known {
        now: clock::unix_now(),
        behind,
        ahead,
    }
}

/// The `expires` date of every user that has one.
pub(super) fn expiries(config: &Config) -> Map<String, String> {
    let users = config.users.iter();
    users
        .filter_map(|user| Some((user.name.clone(), user.expires.as_ref()?.to_string())))
        .collect()
}

/// A configuration for a start without a file: the defaults, and one user with a fresh random secret.
pub(super) fn generated_config() -> Config {
    let mut secret = [0; 16];
    random::fill(&mut secret);
    let mut config = Config::default();
    config.listen.push(SocketAddr::from((
        std::net::Ipv6Addr::UNSPECIFIED,
        config.listen[0].port(),
    )));
    config.users.push(ConfiguredUser {
        name: "owner".into(),
        secret: Secret::from_bytes(secret),
        enabled: true,
        max_sessions: None,
        max_ips: None,
        quota_mb: None,
        quota_reset: QuotaReset::Never,
        expires: None,
    });
    config
}

/// The address by which other machines most likely reach this one: the source address of the default route. No packet is sent.
pub(super) fn own_address() -> String {
    let probe = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        // Any routed address serves; this one is from the documentation block (RFC 5737).
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 443)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    probe().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string()
}
