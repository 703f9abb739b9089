//! What the configuration becomes: the shared state, made once, and the context, made anew at each reload.

use crate::config::{self, ClockSkew, Config, User as ConfiguredUser};
use crate::dc::DcId;
use crate::dial::{DialOptions, Dialer, PreferIpv6};
use crate::map::Map;
use crate::pool::BufferPool;
use crate::relay::held::Holder;
use crate::relay::opening::{self, Openings};
use crate::relay::passthrough::{Front, Site};
use crate::relay::pipes::Pipes;
use crate::relay::replay::ReplayWindow;
use crate::relay::{Context, Shared, User};
use crate::stats::Stats;
use crate::sys::clock;
use crate::sys::process::Rights;
use crate::sys::socket::Tuning;
use smol::LocalExecutor;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use wire::accept::Clock;
use wire::secret::Secret;

/// Openings at a time. A silent one costs about 3 KiB with its socket: 1.5 MiB in all.
const MAX_OPENINGS: u64 = 512;
/// Strangers who are shown the site at a time: two descriptors and, in the kernel, some 20 KiB each.
const MAX_STRANGERS: u64 = 64;
/// What the daemon itself needs: listeners, statistics, log, reactor.
const OWN_DESCRIPTORS: u64 = 64;
/// Unix time as hellos carry it, without a clock to compare with: up to 20 minutes behind, 10 ahead.
const CLOCK_BEHIND_S: u32 = 1200;
const CLOCK_AHEAD_S: u32 = 600;
/// The length of a site's encrypted handshake flight, of which one is drawn at each start.
const FLIGHT_LENS: std::ops::Range<usize> = 2100..4300;

const PIPES: u32 = 16;
const PIPE_SIZE: u32 = 1 << 20;

/// How many descriptors the configuration may need at once.
pub(super) fn descriptors(config: &Config) -> u64 {
    2 * (u64::from(config.max_sessions) + MAX_STRANGERS) + MAX_OPENINGS + OWN_DESCRIPTORS
}

/// What outlives a reload.
pub(super) fn shared(config: &Config, nofile: u64, executor: Rc<LocalExecutor<'static>>) -> Rc<Shared> {
    let openings = MAX_OPENINGS.min(nofile / 4);
    let mut draw = [0; 2];
    opening::fill(&mut draw);
    let flight_len = FLIGHT_LENS.start + usize::from(u16::from_le_bytes(draw)) % FLIGHT_LENS.len();
    let pool = BufferPool::new(config.buffers as usize, config.buffer_size as usize);
    Rc::new(Shared {
        dialer: Dialer::new(executor.clone(), dial_options(config)),
        executor,
        stats: Stats::new(),
        holder: Holder::new(&pool),
        pool,
        pipes: Pipes::new(
            config.pipes.unwrap_or(PIPES) as usize,
            config.pipe_size.unwrap_or(PIPE_SIZE) as usize,
        ),
        replay: RefCell::new(ReplayWindow::new(config.replay_window as usize)),
        openings: Rc::new(Openings::new(openings as usize)),
        pulses: Rc::default(),
        fronted: Rc::default(),
        clock: Cell::new(clock(config)),
        clock_trusted: Cell::new(is_clock_trusted(config)),
        flight_len,
        max_strangers: MAX_STRANGERS.min(nofile / 16).max(1) as usize,
        unknown: RefCell::default(),
        scratch: RefCell::new(vec![0; opening::SCRATCH_LEN].into_boxed_slice()),
    })
}

/// What a user who is not root still has to be allowed: ports below 1024, also new ones at a reload, and marks.
pub(super) fn rights(config: &Config) -> Rights {
    Rights {
        low_ports: config.listen.iter().any(|own| (1..1024).contains(&own.port())),
        marks: config.fwmark.is_some(),
    }
}

/// How clients' sockets are prepared.
pub(super) fn tuning(config: &Config) -> Tuning {
    Tuning {
        notsent_lowat: config.notsent_lowat,
        sndbuf: config.sndbuf,
        congestion: config.congestion.clone(),
    }
}

/// How data centres are connected to.
pub(crate) fn dial_options(config: &Config) -> DialOptions {
    let prefer_ipv6 = match config.prefer_ipv6 {
        config::PreferIpv6::Auto => PreferIpv6::Auto,
        config::PreferIpv6::Always => PreferIpv6::Always,
        config::PreferIpv6::Never => PreferIpv6::Never,
    };
    DialOptions {
        connect_timeout: config.connect_timeout,
        prefer_ipv6,
        bind_interface: config.bind_interface.clone(),
        fwmark: config.fwmark,
        prewarm: config.prewarm,
    }
}

/// What each connection keeps of the configuration. A front that has not changed goes on as it was.
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
    let dialer = shared.dialer.clone();
    let front = front(config, shared, old.and_then(|old| old.front.as_ref()));
    Rc::new(Context {
        shared: shared.clone(),
        secrets: users.iter().map(|user| user.secret).collect(),
        users,
        modes: config.modes,
        fast_mode: config.fast_mode,
        front_domain: config.front_domain.clone(),
        front,
        access: config.access.clone(),
        limit_lan: config.limit_lan,
        handshake_timeout: config.handshake_timeout,
        max_sessions: u64::from(config.max_sessions),
        max_sessions_per_ip: config.max_sessions_per_ip.map(|limit| limit as usize),
        answer_timeout: config.answer_timeout,
        dcs: config.dcs.clone(),
        dialer,
    })
}

fn front(config: &Config, shared: &Rc<Shared>, old: Option<&Rc<Front>>) -> Option<Rc<Front>> {
    let site = Site {
        address: config.front_address.as_ref()?.to_string(),
        server_name: config.front_domain.clone(),
        own: config.listen.clone(),
        measure: config.front_measure.filter(|_| config.modes.ee),
    };
    if let Some(same) = old.filter(|old| old.site == site) {
        return Some(same.clone());
    }
    let front = Rc::new(Front::new(site, shared.dialer.clone()));
    shared.spawn(Front::keep_measured(Rc::downgrade(&front), shared.stats.clone()));
    Some(front)
}

fn user(user: &ConfiguredUser, stats: &Stats) -> User {
    let stats = stats.user(&user.name);
    stats
        .quota
        .set(user.quota_mb.map(|megabytes| u64::from(megabytes) << 20));
    User {
        name: user.name.as_str().into(),
        secret: user.secret,
        enabled: user.enabled,
        expires: user.expires.as_ref().map(|date| date.end_unix()),
        max_sessions: user.max_sessions.map(u64::from),
        max_ips: user.max_ips.map(|limit| limit as usize),
        stats,
    }
}

/// Whether our own clock is right, as far as the kernel or the owner says so.
pub(super) fn is_clock_trusted(config: &Config) -> bool {
    config.clock_trusted.unwrap_or_else(clock::is_synchronised)
}

/// How hellos' times are judged at this moment.
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

/// When each user's access ends, for those whose does.
pub(super) fn expiries(config: &Config) -> Map<String, String> {
    let users = config.users.iter();
    users
        .filter_map(|user| Some((user.name.clone(), user.expires.as_ref()?.to_string())))
        .collect()
}

/// The configuration of somebody who has none: the defaults, and a user with a secret of this moment.
pub(super) fn fresh_config() -> Config {
    let mut secret = [0; 16];
    opening::fill(&mut secret);
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
        quota_reset: config::QuotaReset::Never,
        expires: None,
    });
    config
}

/// The address by which other machines most likely reach this one: that of the default route. No packet is sent.
pub(super) fn own_address() -> String {
    let probe = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        // Any address outside would do; this one is from the block for documentation (RFC 5737).
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 443)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    probe().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string()
}
