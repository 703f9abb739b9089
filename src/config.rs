//! The configuration: UCI text in, a [`Config`] out that is valid once it exists.
//!
//! Read first: the commented file that the package installs as `/etc/config/mtrelay`; it shows every option. Options
//! are named here as they are there. The defaults stand in `options`, as text, and nowhere else: an
//! absent option is read as if its default stood in the file.
//!
//! Promises: every mistake of a file is reported, not only the first, each with its line. No message shows a secret,
//! nor what may be one in the wrong place. Numbers are bounded so that sums and products of them fit 32 bits.

mod cidr;
pub mod options;
pub mod users;

mod lists;

use crate::access::{Access, AddressSet};
use cidr::Cidr;
pub use mtrelay_core::calendar::{Date, month};
pub use mtrelay_core::config::problem::{Problem, Severity};
use mtrelay_core::config::uci::{Package, Section};
pub use mtrelay_core::config::value::HostPort;
use mtrelay_core::config::{
    read::{self, Reader},
    uci, value,
};
use mtrelay_core::dc::{DcId, Table};
use mtrelay_core::map::Map;
use options::{DC_OPTIONS, RELAY_OPTIONS};
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use users::Users;
pub use users::{QuotaReset, User};
use wire::Modes;

/// Where the configuration is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/config/mtrelay";

/// More sessions than the descriptors of one process serve.
const MAX_SESSIONS: u32 = 100_000;
/// Half of what 32 bits address: `buffer_size` × `buffers` stays countable in an `i32`.
const MAX_BUFFER_MEMORY: u64 = 1 << 30;
/// More listeners, or addresses of one data centre, than anyone has.
const MAX_LIST_LEN: usize = 64;
/// A file of a thousand users has 150 KiB. What is larger is another file, or never ends.
const MAX_FILE_LEN: u64 = 1 << 20;

/// Which address family is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreferIpv6 {
    /// Both race (RFC 8305).
    Auto,
    /// IPv6 first.
    Always,
    /// IPv4 first.
    Never,
}

/// How far a hello's clock may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSkew {
    /// What genuine clients need once our own clock is believed; before that, any.
    Auto,
    /// Any: the hello's time is not looked at.
    Any,
    /// So many seconds, both ways.
    Seconds(u32),
}

/// The whole configuration.
///
/// Wherever a timeout or a limit is an `Option`, `None` is what `0` in the file says: none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether the service starts at all. `run` in the foreground does not ask.
    pub enabled: bool,
    /// Where clients connect to. Never empty.
    pub listen: Vec<SocketAddr>,
    /// Whether downloads pass without being re-encrypted.
    pub fast_mode: bool,
    /// Which address family is tried first towards a data centre.
    pub prefer_ipv6: PreferIpv6,
    /// How clients may come.
    pub modes: Modes,
    /// The name in a hello and in `ee` links, as it was typed; compare it without regard to case. `None`: any name
    /// passes, and no `ee` links are given out.
    pub front_domain: Option<String>,
    /// Where strangers are sent: as given, or port 443 of `front_domain`. `None`: nowhere.
    pub front_address: Option<HostPort>,
    /// How often the length of the front's certificates is measured.
    pub front_measure: Option<Duration>,
    /// The device through which data centres are reached.
    pub bind_interface: Option<String>,
    /// The mark of connections to data centres, for policy routing.
    pub fwmark: Option<u32>,
    /// The host that links show.
    pub link_host: Option<String>,
    /// The port that links show, if it is not the first listener's.
    pub link_port: Option<u16>,
    /// Which addresses may connect, and which are balancers whose PROXY header is believed. The files' blocks are in
    /// it once they are read.
    pub access: Rc<Access>,
    /// A file with more blocks to allow.
    pub allow_file: Option<PathBuf>,
    /// A file with more blocks to block.
    pub block_file: Option<PathBuf>,
    /// Whether the limits of one source hold for those in the LAN too.
    pub limit_lan: bool,
    /// Whether the firewall lets the listen ports in from the WAN.
    pub open_wan: bool,
    /// Whether the process gives up the system calls that it does not need.
    pub seccomp: bool,
    /// The congestion control algorithm, if not the system's.
    pub congestion: Option<String>,
    /// TCP_NOTSENT_LOWAT in bytes, if not the system's.
    pub notsent_lowat: Option<u32>,
    /// SO_SNDBUF in bytes, if not the system's.
    pub sndbuf: Option<u32>,
    /// What all sockets' buffers may hold together, in MiB. `None`: an eighth of the RAM.
    pub socket_memory_mb: Option<u32>,
    /// The number of pipes for splicing, if it is not ours to choose.
    pub pipes: Option<u32>,
    /// The size of a pipe in bytes, if not the system's.
    pub pipe_size: Option<u32>,
    /// ubusd's socket, if not in one of the usual places.
    pub ubus_socket: Option<PathBuf>,
    /// The size of a relay block in bytes.
    pub buffer_size: u32,
    /// The number of relay blocks.
    pub buffers: u32,
    /// Sessions at once.
    pub max_sessions: u32,
    /// Sessions at once from one client address.
    pub max_sessions_per_ip: Option<u32>,
    /// How long one address of a data centre may take to accept.
    pub connect_timeout: Option<Duration>,
    /// How long a client may take to authenticate.
    pub handshake_timeout: Option<Duration>,
    /// How long a data centre may take to answer a whole first frame.
    pub answer_timeout: Option<Duration>,
    /// How far a hello's clock may be off.
    pub clock_skew: ClockSkew,
    /// Whether our own clock is right. `None`: when the kernel says so.
    pub clock_trusted: Option<bool>,
    /// How long a session may be silent.
    pub idle_timeout: Option<Duration>,
    /// How long sessions may go on after SIGTERM.
    pub drain_timeout: Option<Duration>,
    /// The number of handshakes that are remembered.
    pub replay_window: u32,
    /// The number of idle connections kept ready per data centre.
    pub prewarm: u32,
    /// Where the statistics are served. `None`: nowhere.
    pub stats_listen: Option<SocketAddr>,
    /// What is logged.
    pub log_level: log::LevelFilter,
    /// The users, in the order of the file. Names and secrets are unique.
    pub users: Vec<User>,
    /// The data centres: the built-in table with what `dc` sections replace.
    pub dcs: Table,
}

impl Default for Config {
    /// What an empty file means.
    fn default() -> Config {
        Config::from_uci("")
            .expect("the defaults are valid: a test reads them")
            .0
    }
}

impl Config {
    /// Reads a configuration, and gives the warnings with it.
    ///
    /// # Errors
    /// Every mistake, warnings included, in the order of their lines, if one of them is an error.
    pub fn from_uci(text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let (package, mut problems) = uci::parse(text);
        let config = build(&package, &mut problems);
        judged(config, problems)
    }

    /// Reads a configuration from a file. What is no UTF-8 in it is read as if it were `U+FFFD`.
    ///
    /// # Errors
    /// As [`Config::from_uci`]; a file that cannot be read is a mistake without a line.
    pub fn load(path: &Path) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let mut bytes = Vec::new();
        let read =
            std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            return Err(vec![Problem::error(
                0,
                format!("cannot be read: {error} (a file in UCI format)"),
            )]);
        }
        if bytes.len() as u64 > MAX_FILE_LEN {
            return Err(vec![Problem::error(
                0,
                format!("is too large (at most {MAX_FILE_LEN} bytes)"),
            )]);
        }
        let (package, mut problems) = uci::parse(&String::from_utf8_lossy(&bytes));
        let mut config = build(&package, &mut problems);
        list_files(&mut config, &package, &mut problems);
        judged(config, problems)
    }
}

fn judged(config: Config, mut problems: Vec<Problem>) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    problems.sort_by_key(|problem| (problem.file.is_some(), problem.line));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    Ok((config, problems))
}

fn access(reader: &mut Reader<'_>) -> Access {
    let allow = reader.many("allow", str::parse);
    Access {
        allow: (!allow.is_empty()).then(|| lists::set(&allow)),
        block: lists::set(&reader.many("block", str::parse)),
        balancers: lists::set(&reader.many("proxy_protocol_from", str::parse)),
    }
}

/// Reads the files that the configuration names.
fn list_files(config: &mut Config, package: &Package, problems: &mut Vec<Problem>) {
    let relay = package.sections.iter().find(|section| section.kind == "relay");
    let access = Rc::make_mut(&mut config.access);
    let mut read = |name: &str, path: &Path, set: &mut AddressSet| {
        let line = Reader::new(relay, RELAY_OPTIONS, problems).line(name);
        if let Err(error) = lists::add_file(path, set, problems) {
            let text = format!(
                "{name} '{}' cannot be read: {error} (a file with a block of addresses on each line)",
                path.display()
            );
            problems.push(Problem::error(line, text));
        } else if set.is_empty() {
            let text = format!(
                "{name} '{}' names no address (such as 192.0.2.0/24)",
                path.display()
            );
            problems.push(Problem::warning(line, text));
        }
    };
    if let Some(path) = &config.allow_file {
        read("allow_file", path, access.allow.get_or_insert_default());
    }
    if let Some(path) = &config.block_file {
        read("block_file", path, &mut access.block);
    }
}

/// Whether a connection to `target` would come back to one of our own listeners. A wildcard listener has every address
/// of this machine: those that can be bound.
fn is_own_listener(listen: &[SocketAddr], target: SocketAddr) -> bool {
    let ip = target.ip().to_canonical();
    listen.iter().any(|own| {
        let is_wildcard = own.ip().is_unspecified() && own.is_ipv4() == ip.is_ipv4();
        own.port() == target.port()
            && (own.ip() == ip || is_wildcard && std::net::UdpSocket::bind((ip, 0)).is_ok())
    })
}

fn build(package: &Package, problems: &mut Vec<Problem>) -> Config {
    check_package_names(package, problems);
    let of_kind = |kind: &'static str| {
        package
            .sections
            .iter()
            .filter(move |section| section.kind == kind)
    };
    for section in &package.sections {
        if !matches!(section.kind.as_str(), "relay" | "user" | "dc") {
            let text = format!(
                "unknown section type {} (relay, user or dc)",
                uci::shown_name(&section.kind)
            );
            problems.push(Problem::warning(section.line, text));
        }
    }
    let mut relays = of_kind("relay");
    let first = relays.next();
    if let Some(first) = first {
        for second in relays {
            let text = format!(
                "a second relay section (all options in the first, on line {})",
                first.line
            );
            problems.push(Problem::error(second.line, text));
        }
    }
    let mut config = relay(first, problems);
    let mut users = Users::default();
    for section in of_kind("user") {
        users.read(section, config.front_domain.as_deref(), problems);
    }
    config.users = std::mem::take(&mut users.list);
    if !users.any_broken && !config.users.iter().any(|user| user.enabled) {
        let line = first.map_or(1, |section| section.line);
        let what = if config.users.is_empty() {
            "no user"
        } else {
            "no enabled user"
        };
        let text = format!("{what}, so nobody can connect (a user section with a name and a secret)");
        problems.push(Problem::warning(line, text));
    }
    let mut seen = Map::default();
    for section in of_kind("dc") {
        dc(section, &mut config.dcs, &mut seen, problems);
    }
    config
}

fn check_package_names(package: &Package, problems: &mut Vec<Problem>) {
    let Some((first, line)) = package.names.first() else {
        return;
    };
    if first != "mtrelay" {
        let text = format!("package {} (mtrelay)", uci::shown_name(first));
        problems.push(Problem::warning(*line, text));
    }
    if let Some((name, line)) = package.names.iter().find(|(name, _)| name != first) {
        let text = format!(
            "a second package, {} (`uci export mtrelay` prints only ours)",
            uci::shown_name(name)
        );
        problems.push(Problem::error(*line, text));
    }
}

fn relay(section: Option<&Section>, problems: &mut Vec<Problem>) -> Config {
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
        enabled: reader.one("enabled", value::boolean),
        fast_mode: reader.one("fast_mode", value::boolean),
        prefer_ipv6: reader.one("prefer_ipv6", prefer_ipv6),
        modes: modes(&mut reader),
        front_address: reader
            .maybe("front_address", value::host_port)
            .or_else(|| front_domain.clone().map(|host| HostPort { host, port: 443 })),
        front_domain,
        front_measure: reader.seconds("front_measure"),
        bind_interface: reader.maybe("bind_interface", value::interface),
        fwmark: reader.maybe("fwmark", value::mark).flatten(),
        link_host: reader.maybe("link_host", value::public_host),
        // The bounds are those of a port, so it fits.
        link_port: reader
            .maybe_number("link_port", 1..=65535)
            .map(|port| port as u16),
        access: Rc::new(access(&mut reader)),
        allow_file: reader.maybe("allow_file", value::path),
        block_file: reader.maybe("block_file", value::path),
        limit_lan: reader.one("limit_lan", value::boolean),
        open_wan: reader.one("open_wan", value::boolean),
        seccomp: reader.one("seccomp", value::boolean),
        congestion: reader.maybe("congestion", value::algorithm),
        notsent_lowat: non_zero(reader.number("notsent_lowat", 0..=1 << 24)),
        sndbuf: reader.maybe_number("sndbuf", 4096..=1 << 26),
        socket_memory_mb: reader.one("socket_memory_mb", |text| match text {
            "auto" => Ok(None),
            _ => value::number(text, &(1..=2047))
                .map(Some)
                .map_err(|wrong| or_auto(&wrong)),
        }),
        pipes: reader.maybe_number("pipes", 0..=65536),
        pipe_size: reader.maybe_number("pipe_size", 4096..=1 << 20),
        ubus_socket: reader.maybe("ubus_socket", value::path),
        buffer_size: reader.number("buffer_size", 1024..=65536),
        buffers: reader.number("buffers", 1..=1 << 20),
        max_sessions: reader.number("max_sessions", 1..=MAX_SESSIONS),
        max_sessions_per_ip: non_zero(reader.number("max_sessions_per_ip", 0..=MAX_SESSIONS)),
        connect_timeout: reader.seconds("connect_timeout"),
        handshake_timeout: reader.seconds("handshake_timeout"),
        answer_timeout: reader.seconds("answer_timeout"),
        clock_skew: reader.one("clock_skew", |text| match text {
            "auto" => Ok(ClockSkew::Auto),
            _ => match value::number(text, &(0..=i32::MAX as u32)) {
                Ok(0) => Ok(ClockSkew::Any),
                Ok(seconds) => Ok(ClockSkew::Seconds(seconds)),
                Err(wrong) => Err(or_auto(&wrong)),
            },
        }),
        clock_trusted: reader.one("clock_trusted", |text| match text {
            "auto" => Ok(None),
            _ => value::boolean(text).map(Some).map_err(|wrong| or_auto(&wrong)),
        }),
        idle_timeout: reader.seconds("idle_timeout"),
        drain_timeout: reader.seconds("drain_timeout"),
        replay_window: reader.number("replay_window", 1..=1 << 20),
        prewarm: reader.number("prewarm", 0..=64),
        stats_listen: stats_listen(&mut reader),
        log_level: reader.one("log_level", log_level),
        users: Vec::new(),
        dcs: Table::built_in(),
        listen,
    };
    check_front(&config, &mut reader);
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
    reader.finish();
    config
}

fn listeners(reader: &mut Reader<'_>) -> Vec<SocketAddr> {
    let mut given = reader.many_with_lines("listen", value::socket_address);
    bound_list(&mut given, "listen", reader);
    for (at, &(address, line)) in given.iter().enumerate() {
        if let Some((other, other_line)) = given[..at].iter().find(|(other, _)| collide(*other, address)) {
            let text = format!("listen {address} is taken by {other} on line {other_line} (each port once)");
            reader.error(line, text);
        }
    }
    given.into_iter().map(|(address, _)| address).collect()
}

/// Keeps what is compared each with each short.
fn bound_list(given: &mut Vec<(SocketAddr, usize)>, name: &str, reader: &mut Reader<'_>) {
    if let Some(&(_, line)) = given.get(MAX_LIST_LEN) {
        reader.error(
            line,
            format!("{name} has too many entries (at most {MAX_LIST_LEN})"),
        );
        given.truncate(MAX_LIST_LEN);
    }
}

/// Whether two listeners cannot both be bound: the same port (unless the system is to choose it) of the same address
/// or of all addresses. Listeners of the two families do not meet: ours on `[::]` are for IPv6 only.
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

/// Unlike other options, this one may be set to nothing: then it is off.
fn stats_listen(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    if reader.is_set_empty("stats_listen") {
        return None;
    }
    reader.one("stats_listen", |text| match value::boolean(text) {
        Ok(false) => Ok(None),
        _ => value::socket_address(text).map(Some),
    })
}

fn check_front(config: &Config, reader: &mut Reader<'_>) {
    let Some(front) = &config.front_address else {
        return;
    };
    let line = reader.line("front_address").max(reader.line("front_domain"));
    let ips: &[IpAddr] = match front.host.parse::<IpAddr>() {
        Ok(ip) => &[ip],
        Err(_) if front.host.eq_ignore_ascii_case("localhost") => &[
            IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ],
        Err(_) => &[],
    };
    let is_listener = ips
        .iter()
        .any(|&ip| is_own_listener(&config.listen, SocketAddr::new(ip, front.port)));
    // From outside we are link_host: strangers sent there would come back.
    let is_link = config
        .link_host
        .as_ref()
        .is_some_and(|host| host.eq_ignore_ascii_case(&front.host))
        && config.link_port.map_or_else(
            || config.listen.iter().any(|own| own.port() == front.port),
            |port| port == front.port,
        );
    if is_listener || is_link {
        reader.error(
            line,
            format!("front {front} is this relay itself (another server, where strangers are sent)"),
        );
    }
}

fn dc(section: &Section, table: &mut Table, seen: &mut Map<DcId, usize>, problems: &mut Vec<Problem>) {
    let mut reader = Reader::new(Some(section), DC_OPTIONS, problems);
    for &line in &section.reopened {
        reader.error(
            line,
            format!(
                "this dc section is opened again (one section per id, the first is on line {})",
                section.line
            ),
        );
    }
    let id = match reader.text("id") {
        None => {
            reader.error(section.line, "a dc without an id (option id '2')".into());
            None
        }
        Some((text, line)) => {
            let id = text
                .parse()
                .ok()
                .filter(|_| !text.starts_with('+'))
                .and_then(DcId::new);
            if id.is_none() {
                let right = "a number such as 2, -2 for media, 203 or 10002";
                reader.error(
                    line,
                    format!("id {} names no data centre ({right})", read::shown(text)),
                );
            }
            id.map(|id| (id, line))
        }
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let mut given = reader.many_with_lines("address", value::remote_address);
    bound_list(&mut given, "address", &mut reader);
    for (address, line) in given {
        if addresses.contains(&address) {
            reader.warning(line, format!("address {address} stands there twice (once)"));
        } else {
            addresses.push(address);
        }
    }
    if addresses.is_empty() && reader.line("address") == 0 {
        reader.error(
            section.line,
            "a dc without an address (list address '149.154.167.51:443')".into(),
        );
    }
    if let Some((id, line)) = id {
        if let Some(first) = seen.get(&id) {
            reader.error(
                line,
                format!("id {id} is taken by the dc on line {first} (all addresses in one section)"),
            );
        } else {
            seen.insert(id, line);
            table.set(id, addresses);
        }
    }
    reader.finish();
}

fn prefer_ipv6(text: &str) -> value::Read<PreferIpv6> {
    match text {
        "auto" => Ok(PreferIpv6::Auto),
        "always" => Ok(PreferIpv6::Always),
        "never" => Ok(PreferIpv6::Never),
        _ => Err("is no preference that we know (auto, always or never)".into()),
    }
}

fn log_level(text: &str) -> value::Read<log::LevelFilter> {
    match text {
        "error" => Ok(log::LevelFilter::Error),
        "warn" => Ok(log::LevelFilter::Warn),
        "info" => Ok(log::LevelFilter::Info),
        "debug" => Ok(log::LevelFilter::Debug),
        "trace" => Ok(log::LevelFilter::Trace),
        _ => Err("is no level that we know (error, warn, info, debug or trace)".into()),
    }
}

fn non_zero(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}

/// Adds the word `auto` to what would be right.
fn or_auto(wrong: &str) -> String {
    wrong.replacen('(', "(auto, or ", 1)
}

#[cfg(test)]
mod tests;
