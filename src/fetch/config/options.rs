//! The table of mtfetch's options: name, type, default, range and one sentence of help for each. No other place knows a default.

use mtrelay_core::config::spec::{OptionEntry, OptionSpec, choice, flag, number, specs, text};
use mtrelay_core::dial::PreferIpv6;

/// The options of the `mtfetch` section.
#[rustfmt::skip]
pub(super) const MAIN: &[OptionEntry] = &[
    flag("enabled", "0", "Whether the service runs. The program itself does not ask."),
    number("api_id", "", (1, i32::MAX as u32), "", "Number of your own application, from my.telegram.org.").secret(),
    text("api_hash", "", "32 hex digits", "Hash of your own application, from my.telegram.org.").secret(),
    text("account", "/etc/mtfetch/account", "absolute path", "File with the account's keys. The user of the service owns its folder."),
    number("connections", "2", (1, 8), "", "Connections to the data centre of a file. More than 4 is a warning."),
    text("proxy", "", "tg://proxy or https://t.me/proxy link", "MTProto proxies that lead to the data centres. Empty: direct connections.").list().secret(),
    choice("prefer_ipv6", "auto", PreferIpv6::WORDS,
        "Address family of connections to Telegram. auto: IPv6 and IPv4 are raced. always: IPv6 is preferred. never: IPv4 only."),
    text("bind_interface", "", "network device", "Network device through which Telegram is reached. Empty: as the routing table says."),
    flag("test", "0", "Whether Telegram's test servers are used in place of the production servers."),
    text("rsa_key", "", "absolute path", "PEM file with the public keys of other data centres than Telegram's."),
    text("cache", "", "absolute path or redis://HOST", "Where resolved links are kept: a file, or `redis://[[USER]:PASSWORD@]HOST[:PORT][/NUMBER]`.").secret(),
    text("cache_file", "", "absolute path", "File of resolved links, in addition to a Redis."),
    number("cache_lifetime", "21600", (60, 604_800), "seconds", "Seconds for which an entry of the cache is valid."),
    text("listen", "127.0.0.1:8099", "IP address and port", "Addresses and ports that the HTTP server listens on.").list(),
    text("token", "", "8 to 128 letters, digits, - and _", "Token that URLs must contain.").secret(),
    number("clients", "64", (1, 1000), "", "Limit of HTTP connections at a time. More wait."),
    number("streams", "8", (1, 64), "", "Limit of media served at a time, of 2 MB each. More get status 503."),
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
