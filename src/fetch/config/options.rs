//! The options, and their defaults as text: here and nowhere else.

/// An option of a section.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its name.
    pub name: &'static str,
    /// What an absent one reads as; empty for nothing.
    pub default: &'static str,
}

const fn option(name: &'static str, default: &'static str) -> OptionSpec {
    OptionSpec { name, default }
}

/// The `mtfetch` section's.
pub const MAIN_OPTIONS: &[OptionSpec] = &[
    option("enabled", "0"),
    option("api_id", ""),
    option("api_hash", ""),
    option("account", "/etc/mtfetch/account"),
    option("connections", "2"),
    option("proxy", ""),
    option("prefer_ipv6", "auto"),
    option("bind_interface", ""),
    option("test", "0"),
    option("rsa_key", ""),
    option("cache", ""),
    option("cache_file", ""),
    option("cache_lifetime", "21600"),
    option("listen", "127.0.0.1:8099"),
    option("token", ""),
    option("clients", "64"),
    option("streams", "8"),
    option("remuxes", "1"),
    option("ffmpeg", "ffmpeg"),
];

/// A `dc` section's, as the relay's.
pub const DC_OPTIONS: &[OptionSpec] = &[option("id", ""), option("address", "")];

/// A `proxy` section's, for those who have no link.
pub const PROXY_OPTIONS: &[OptionSpec] = &[option("server", ""), option("secret", "")];
