//! The table of options: name, type, default, range, unit, what a change takes, and the help text of each.
//!
//! No other place knows a default or a range. The readers of `config` take both from here. docs/options.md is generated from these rows
//! (`UPDATE=1 cargo test --test it options_page`), and tests compare the settings page, the packaged file and the init script with them.
//! The programs do not refer to the help texts, so these cost no bytes in the binary.

pub use mtrelay_core::config::dc::{DC, DC_OPTIONS};
pub use mtrelay_core::config::spec::{Kind as OptionKind, OptionEntry, OptionSpec};
use mtrelay_core::config::spec::{Kind, choice, flag, number, number_or_auto, other, specs, text};
use mtrelay_core::dial::PreferIpv6;

/// The longest timeout, in seconds: a week.
const MAX_TIMEOUT_S: u32 = 7 * 24 * 3600;
/// The most sessions. Each has two descriptors, of the million that Linux allows a process.
const MAX_SESSIONS: u32 = 100_000;
/// The largest quota, in MiB: a petabyte. In bytes it fits 64 bits.
const MAX_QUOTA_MB: u32 = 1_000_000_000;

/// The options of the `relay` section.
#[rustfmt::skip]
pub const RELAY: &[OptionEntry] = &[
    flag("enabled", "1", "Whether the relay runs. If not, the service does not start, and mtrelay run ends at once.").restart().restarts_service(),
    text("listen", "0.0.0.0:8443", "IP address and port",
        "Addresses and ports that clients connect to: 0.0.0.0 stands for every IPv4 address of the router, [::] for every IPv6 one. Port 443 looks most like a website, if LuCI itself does not use it.")
        .list().restarts_service(),
    flag("fast_mode", "1", "Downloads pass without being encrypted a second time. Switch it off only to look for a fault."),
    choice("prefer_ipv6", "auto", PreferIpv6::WORDS,
        "Address family of connections to Telegram. auto: IPv6 and IPv4 are raced. always: IPv6 is preferred. never: IPv4 only."),
    other("modes", Kind::Words(&["plain", "dd", "ee"]), "dd ee",
        "dd is understood by every client of today. ee looks like a website and needs a front domain. plain is easy to recognise: for very old clients only.")
        .list(),
    text("front_domain", "", "host name",
        "The website that ee links pretend to be, and that unauthenticated clients are shown. Choose one that is common where your users are, is hosted near the router, speaks TLS 1.3 and is not blocked: not google.com, and not a site that answers from another continent. Changing it makes the old ee links invalid. Empty: dd links only."),
    text("front_address", "", "host and port",
        "Host and port that connections to the front site go to. Empty: port 443 of the front domain."),
    number("front_measure", "21600", (0, MAX_TIMEOUT_S), "seconds",
        "Seconds between measurements of the front site's certificate, whose length our answers imitate. 0: never."),
    text("bind_interface", "", "network device",
        "The network device through which Telegram is reached: a VPN, say wg0. Empty: as the routing table says.")
        .restarts_service(),
    text("fwmark", "", "number, decimal or 0x…", "Firewall mark of connections to Telegram, for policy routing.")
        .restarts_service(),
    text("link_host", "", "host name or IP address",
        "Host that links and QR codes show: a DDNS name, or the public address of the router. Empty: LuCI takes the WAN address if it is public, the command line the address of a listener."),
    number("link_port", "", (1, 65535), "",
        "Port that links show, if another router forwards a different one to this router. Empty: the port of the first listener."),
    text("allow", "", "IP address or block", "Blocks of client addresses that may connect. Empty, and no allow list file: all.").list(),
    text("block", "", "IP address or block", "Blocks of client addresses that may not connect.").list(),
    text("allow_file", "", "absolute path", "A file with more blocks to allow, one a line.").restarts_service(),
    text("block_file", "", "absolute path", "A file with more blocks to block, one a line.").restarts_service(),
    text("proxy_protocol_from", "", "IP address or block",
        "Blocks of addresses whose PROXY protocol header is believed: a load balancer of yours in front of the relay. Leave it empty if there is none.")
        .list(),
    flag("limit_lan", "0",
        "One address has at most an eighth of the pending handshakes. Addresses of the LAN may have all, unless this is set: behind a tunnel or a forwarder, connections from outside seem to come from the LAN."),
    flag("open_wan", "0",
        "Opens the listen ports on the WAN while the service runs; the configuration of the firewall does not change. Not needed for clients at home."),
    flag("seccomp", "1", "The process gives up every system call that it does not need. Switch it off only to look for a fault.")
        .restart().restarts_service(),
    text("congestion", "", "name of an algorithm",
        "Congestion control algorithm of client connections. Empty: the system's default. bbr helps on lossy lines; it needs the package kmod-tcp-bbr."),
    number("notsent_lowat", "16384", (0, 1 << 24), "bytes",
        "Bytes that wait unsent in the socket of one client (TCP_NOTSENT_LOWAT). Bounds the memory of slow clients. 0: the system's default."),
    number("sndbuf", "", (4096, 1 << 26), "bytes",
        "Send buffer of a client's socket in bytes. Empty: the kernel sizes it, which is best nearly always."),
    number_or_auto("socket_memory_mb", (1, 2047), "MiB",
        "MiB that the buffers of all client sockets may hold together. auto: an eighth of the RAM."),
    number("pipes", "", (0, 65536), "",
        "Number of pipes. Downloads pass through them inside the kernel. Empty: 4 to 32, depending on the RAM. 0: none.")
        .restart(),
    number("pipe_size", "", (4096, 1 << 20), "bytes", "Size of a pipe in bytes. Empty: 1 MiB.").restart(),
    text("ubus_socket", "", "absolute path", "Path of the socket of ubusd. Empty: the usual places.")
        .restart().restarts_service(),
    number("buffer_size", "16384", (1024, 65536), "bytes", "Size of a relay buffer in bytes.").restart(),
    number("buffers", "64", (1, 1 << 20), "",
        "Number of relay buffers. Size times number is the most that relayed bytes ever take. If all are in use, sessions wait for one another.")
        .restart(),
    number("max_sessions", "1024", (1, MAX_SESSIONS), "",
        "Limit of live sessions of all users together. One device opens eight and more."),
    number("max_sessions_per_ip", "0", (0, MAX_SESSIONS), "",
        "Limit of live sessions from one client address. All devices behind one router count together. 0: no limit."),
    number("connect_timeout", "5", (0, MAX_TIMEOUT_S), "seconds",
        "Seconds for one connection attempt; the other addresses are raced meanwhile. 0: no limit."),
    number("handshake_timeout", "5", (0, MAX_TIMEOUT_S), "seconds", "Seconds for a client to authenticate. 0: no limit."),
    number("answer_timeout", "4", (0, MAX_TIMEOUT_S), "seconds",
        "Seconds for a data centre to answer a first request; then another address is tried. 0: no limit."),
    number_or_auto("clock_skew", (0, i32::MAX as u32), "seconds",
        "How far the clock of a client may be off in an ee handshake. auto: 20 minutes behind to 10 minutes ahead once the router knows the time, anything before. 0: anything."),
    other("clock_trusted", Kind::FlagOrAuto, "auto",
        "Whether the clock of the router is right. auto: as the kernel says. Set it to right if the time service of the router does not tell the kernel."),
    number("idle_timeout", "600", (0, MAX_TIMEOUT_S), "seconds",
        "Seconds without a byte in either direction until a session ends. 0: no limit."),
    number("drain_timeout", "10", (0, MAX_TIMEOUT_S), "seconds",
        "Seconds that sessions have to end by themselves when the service stops. 0: they are ended at once.")
        .restarts_service(),
    number("replay_window", "16384", (1, 1 << 20), "",
        "Number of handshakes remembered. A handshake that was recorded and is sent again gets no answer."),
    number("prewarm", "0", (0, 64), "",
        "Idle connections kept ready for each recently used data centre, so that a session begins faster. 0: none."),
    text("stats_listen", "127.0.0.1:8888", "IP address and port, or 0",
        "Address and port that serve /stats, /metrics for Prometheus and /status. Anyone who reaches the address can read them. 0: off.")
        .restart(),
    choice("log_level", "info", &["error", "warn", "info", "debug", "trace"],
        "Least severe messages that are logged. info: one line for each session that ended."),
];

/// The options of a `user` section. `name` and `secret` have no default.
#[rustfmt::skip]
pub const USER: &[OptionEntry] = &[
    text("name", "", "text, at most 64 bytes", "Shown in the log and in the counters: short, without spaces."),
    text("secret", "", "32 hex digits",
        "Anyone with the secret can use the relay. A new secret makes the old links of this user invalid.")
        .secret(),
    flag("enabled", "1", "Whether the user is admitted."),
    number("max_sessions", "0", (0, MAX_SESSIONS), "",
        "Limit of live sessions of this user. One device opens eight and more. 0: no limit."),
    number("max_ips", "0", (0, MAX_SESSIONS), "",
        "Limit of client addresses at a time. All devices behind one router count as one. 0: no limit."),
    number("quota_mb", "0", (0, MAX_QUOTA_MB), "MiB",
        "MiB that the user may transfer, up and down together. 0: no limit."),
    choice("quota_reset", "never", &["never", "monthly"],
        "When the transferred bytes count from zero again: never, or with each calendar month."),
    text("expires", "", "date, YYYY-MM-DD",
        "The user is admitted until the end of this day, in UTC. Empty: no limit."),
];

/// What the reader knows of [`RELAY`].
pub const RELAY_OPTIONS: &[OptionSpec] = &specs::<{ RELAY.len() }>(RELAY);
/// What the reader knows of [`USER`].
pub const USER_OPTIONS: &[OptionSpec] = &specs::<{ USER.len() }>(USER);
