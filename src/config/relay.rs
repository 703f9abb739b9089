//! Reads the `relay` section.

use super::model::{ClockSkew, Config};
use super::options::RELAY_OPTIONS;
use super::{front, lists};
use crate::access::Access;
use log::LevelFilter;
use mtrelay_core::config::problem::Problem;
use mtrelay_core::config::read::Reader;
use mtrelay_core::config::uci::Section;
use mtrelay_core::config::value::{self, HostPort};
use mtrelay_core::dc::Table;
use mtrelay_core::dial::PreferIpv6;
use std::net::SocketAddr;
use std::rc::Rc;
use wire::Modes;

/// The largest product of `buffer_size` and `buffers`, in bytes: half of what an `i32` counts.
const MAX_BUFFER_MEMORY: u64 = 1 << 30;
/// The levels in the order of the words of `log_level`.
const LOG_LEVELS: [LevelFilter; 5] = [
    LevelFilter::Error,
    LevelFilter::Warn,
    LevelFilter::Info,
    LevelFilter::Debug,
    LevelFilter::Trace,
];

/// Reads the `relay` section. An absent section reads as an empty one.
pub(super) fn read(section: Option<&Section>, problems: &mut Vec<Problem>) -> Config {
    let mut reader = Reader::new(section, RELAY_OPTIONS, problems);
    for &line in section.map_or(&[][..], |section| &section.reopened) {
        reader.warning(
            line,
            "the relay section is opened again (one section with all options)".into(),
        );
    }
    let listen = listeners(&mut reader);
    let front_domain = reader.maybe("front_domain", value::domain);
    let config = Config {
        enabled: reader.flag("enabled"),
        fast_mode: reader.flag("fast_mode"),
        prefer_ipv6: reader.choice("prefer_ipv6", &PreferIpv6::ALL),
        modes: modes(&mut reader),
        front_address: reader
            .maybe("front_address", value::host_port)
            .or_else(|| front_domain.clone().map(|host| HostPort { host, port: 443 })),
        front_domain,
        front_measure: reader.seconds("front_measure"),
        bind_interface: reader.maybe("bind_interface", value::interface),
        fwmark: reader.maybe("fwmark", value::mark).flatten(),
        link_host: reader.maybe("link_host", value::public_host),
        // The option's range is that of a port, so it fits.
        link_port: reader.maybe_number("link_port").map(|port| port as u16),
        access: Rc::new(access(&mut reader)),
        allow_file: reader.maybe("allow_file", value::path),
        block_file: reader.maybe("block_file", value::path),
        limit_lan: reader.flag("limit_lan"),
        open_wan: reader.flag("open_wan"),
        seccomp: reader.flag("seccomp"),
        congestion: reader.maybe("congestion", value::algorithm),
        notsent_lowat: reader.limit("notsent_lowat"),
        sndbuf: reader.maybe_number("sndbuf"),
        socket_memory_mb: reader.number_or_auto("socket_memory_mb"),
        pipes: reader.maybe_number("pipes"),
        pipe_size: reader.maybe_number("pipe_size"),
        ubus_socket: reader.maybe("ubus_socket", value::path),
        buffer_size: reader.number("buffer_size"),
        buffers: reader.number("buffers"),
        max_sessions: reader.number("max_sessions"),
        max_sessions_per_ip: reader.limit("max_sessions_per_ip"),
        connect_timeout: reader.seconds("connect_timeout"),
        handshake_timeout: reader.seconds("handshake_timeout"),
        answer_timeout: reader.seconds("answer_timeout"),
        clock_skew: clock_skew(&mut reader),
        clock_trusted: reader.one("clock_trusted", |text| value::or_auto(text, value::boolean)),
        idle_timeout: reader.seconds("idle_timeout"),
        drain_timeout: reader.seconds("drain_timeout"),
        replay_window: reader.number("replay_window"),
        prewarm: reader.number("prewarm"),
        stats_listen: stats_listen(&mut reader),
        log_level: reader.choice("log_level", &LOG_LEVELS),
        users: Vec::new(),
        dcs: Table::built_in(),
        listen,
    };
    check_together(&config, &mut reader);
    reader.finish();
    config
}

/// Reports options that are valid alone and wrong together.
fn check_together(config: &Config, reader: &mut Reader<'_>) {
    front::check(config, reader);
    if u64::from(config.buffer_size) * u64::from(config.buffers) > MAX_BUFFER_MEMORY {
        let line = reader.line("buffers").max(reader.line("buffer_size"));
        let text =
            format!("buffer_size times buffers is too much memory (at most {MAX_BUFFER_MEMORY} bytes)");
        reader.error(line, text);
    }
    if let Some(stats) = config.stats_listen
        && config.listen.iter().any(|&own| collide(own, stats))
    {
        reader.error(
            reader.line("stats_listen").max(reader.line("listen")),
            format!("stats_listen {stats} is taken by listen (a port of its own)"),
        );
    }
}

fn clock_skew(reader: &mut Reader<'_>) -> ClockSkew {
    match reader.number_or_auto("clock_skew") {
        None => ClockSkew::Auto,
        Some(0) => ClockSkew::Any,
        Some(seconds) => ClockSkew::Seconds(seconds),
    }
}

/// Reads the lists of client addresses and balancers.
fn access(reader: &mut Reader<'_>) -> Access {
    let allow = reader.many("allow", str::parse);
    Access {
        allow: (!allow.is_empty()).then(|| lists::set(&allow)),
        block: lists::set(&reader.many("block", str::parse)),
        balancers: lists::set(&reader.many("proxy_protocol_from", str::parse)),
    }
}

fn listeners(reader: &mut Reader<'_>) -> Vec<SocketAddr> {
    let given = reader.addresses("listen", value::socket_address);
    for (at, &(address, line)) in given.iter().enumerate() {
        if let Some((other, other_line)) = given[..at].iter().find(|(other, _)| collide(*other, address)) {
            let text = format!("listen {address} is taken by {other} on line {other_line} (each port once)");
            reader.error(line, text);
        }
    }
    given.into_iter().map(|(address, _)| address).collect()
}

/// Whether two listeners cannot both be bound: the same port, not 0, of the same address or of all addresses. Listeners of the two
/// families do not collide, because listeners on `[::]` are IPv6 only.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.port() != 0
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn modes(reader: &mut Reader<'_>) -> Modes {
    let mut all = Modes {
        plain: false,
        dd: false,
        ee: false,
    };
    for modes in reader.many("modes", value::modes) {
        all = Modes {
            plain: all.plain | modes.plain,
            dd: all.dd | modes.dd,
            ee: all.ee | modes.ee,
        };
    }
    all
}

/// Reads `stats_listen`. Set but empty, it is off, where any other option is absent.
fn stats_listen(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    if reader.is_set_empty("stats_listen") {
        return None;
    }
    reader.one("stats_listen", |text| match value::boolean(text) {
        Ok(false) => Ok(None),
        _ => value::socket_address(text).map(Some),
    })
}
