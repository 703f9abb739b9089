//! Every option there is, with its default: the one place where defaults stand.
//!
//! They are kept as text, so that the installed file and LuCI's placeholders can be compared with them, and read as if
//! they stood in the file.

pub use mtrelay_core::config::spec::OptionSpec;
use mtrelay_core::config::spec::{list, option};

/// The options of the `relay` section, with their defaults.
pub const RELAY_OPTIONS: &[OptionSpec] = &[
    option("enabled", "1"),
    list("listen", "0.0.0.0:8443"),
    option("fast_mode", "1"),
    option("prefer_ipv6", "auto"),
    list("modes", "dd ee"),
    option("front_domain", ""),
    option("front_address", ""),
    option("front_measure", "21600"),
    option("bind_interface", ""),
    option("fwmark", ""),
    option("link_host", ""),
    option("link_port", ""),
    list("allow", ""),
    list("block", ""),
    option("allow_file", ""),
    option("block_file", ""),
    list("proxy_protocol_from", ""),
    option("limit_lan", "0"),
    option("open_wan", "0"),
    option("seccomp", "1"),
    option("congestion", ""),
    option("notsent_lowat", "16384"),
    option("sndbuf", ""),
    option("socket_memory_mb", "auto"),
    option("pipes", ""),
    option("pipe_size", ""),
    option("ubus_socket", ""),
    option("buffer_size", "16384"),
    option("buffers", "64"),
    option("max_sessions", "1024"),
    option("max_sessions_per_ip", "0"),
    option("connect_timeout", "5"),
    option("handshake_timeout", "5"),
    option("answer_timeout", "4"),
    option("clock_skew", "auto"),
    option("clock_trusted", "auto"),
    option("idle_timeout", "600"),
    option("drain_timeout", "10"),
    option("replay_window", "16384"),
    option("prewarm", "0"),
    option("stats_listen", "127.0.0.1:8888"),
    option("log_level", "info"),
];

/// The options of a `user` section, with their defaults. `name` and `secret` have none.
pub const USER_OPTIONS: &[OptionSpec] = &[
    option("name", ""),
    option("secret", ""),
    option("enabled", "1"),
    option("max_sessions", "0"),
    option("max_ips", "0"),
    option("quota_mb", "0"),
    option("quota_reset", "never"),
    option("expires", ""),
];

/// The options of a `dc` section. None has a default.
pub const DC_OPTIONS: &[OptionSpec] = &[option("id", ""), list("address", "")];
