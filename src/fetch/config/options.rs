//! The table of mtfetch's options: name, type, default, range and one sentence of help for each. No other place knows a default.

use mtrelay_core::config::spec::{OptionEntry, OptionSpec, choice, flag, number, specs, text};
use mtrelay_core::dial::PreferIpv6;

/// The options of the `mtfetch` section.
#[rustfmt::skip]
pub(super) const MAIN: &[OptionEntry] = &[
    flag("enabled", "0", "Whether the service runs; the other commands do not ask."),
    number("api_id", "", (1, i32::MAX as u32), "", "Number of your own application, from my.telegram.org.").secret(),
    text("api_hash", "", "32 hex digits", "Hash of your own application, from my.telegram.org.").secret(),
    text("account", "/etc/mtfetch/account", "absolute path", "File with the keys of the account."),
    number("connections", "2", (1, 8), "", "Connections to the data centre of a file."),
    text("proxy", "", "tg://proxy link", "MTProto proxies that lead to the data centres. Empty: none.").list().secret(),
    choice("prefer_ipv6", "auto", PreferIpv6::WORDS,
        "Address family of connections to Telegram. auto: IPv6 and IPv4 are raced. always: IPv6 is preferred. never: IPv4 only."),
    text("bind_interface", "", "network device", "Network device through which Telegram is reached. Empty: as the routing table says."),
    flag("test", "0", "Whether Telegram's test servers are used."),
    text("rsa_key", "", "absolute path", "File with the public key of data centres that are not Telegram's."),
    text("cache", "", "absolute path or redis://HOST", "Where the cache is kept, a file or a Redis. Empty: in memory.").secret(),
    text("cache_file", "", "absolute path", "File of the cache; takes precedence over a file in `cache`."),
    number("cache_lifetime", "21600", (60, 604_800), "seconds", "Seconds that an entry of the cache is used."),
    text("listen", "127.0.0.1:8099", "IP address and port", "Addresses and ports of the HTTP server.").list(),
    text("token", "", "8 to 128 letters, digits, - and _", "Secret part of the server's URLs. Empty: drawn at each start.").secret(),
    number("clients", "64", (1, 1000), "", "Limit of HTTP connections at a time."),
    number("streams", "8", (1, 64), "", "Limit of media served at a time."),
    number("remuxes", "1", (0, 16), "", "Limit of remuxes at a time. 0: none."),
    text("ffmpeg", "ffmpeg", "program", "Program that remuxes."),
];

/// The options of a `proxy` section.
#[rustfmt::skip]
pub(super) const PROXY: &[OptionEntry] = &[
    text("server", "", "host and port", "Host and port of the MTProto proxy."),
    text("secret", "", "secret in any form", "Secret that the proxy shares with its users.").secret(),
];

/// The part of [`MAIN`] that the reader needs.
pub(crate) const MAIN_OPTIONS: &[OptionSpec] = &specs::<{ MAIN.len() }>(MAIN);
/// The part of [`PROXY`] that the reader needs.
pub(crate) const PROXY_OPTIONS: &[OptionSpec] = &specs::<{ PROXY.len() }>(PROXY);
