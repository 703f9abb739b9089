//! The configuration: UCI text in, a [`Config`] out that is valid once it exists.
//!
//! Options have the names of docs/mtfetch.md, which describes them all. Defaults and ranges come from the table in `options`.
//! Promises: every error is reported with its line, and no message shows a secret.

mod options;
mod proxy;
#[cfg(test)]
mod tests;

use crate::cache;
use mtrelay_core::config::dc::DcSections;
use mtrelay_core::config::problem::{Problem, Severity};
use mtrelay_core::config::read::Reader;
use mtrelay_core::config::value::{self, Read};
use mtrelay_core::config::{HostPort, read_file, uci};
use mtrelay_core::dc::Table;
use mtrelay_core::dial::{DialOptions, PreferIpv6};
use options::{MAIN_OPTIONS, PROXY_OPTIONS};
pub(crate) use proxy::Proxy;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use uci::Section;

/// The configuration file without `-c`.
pub(crate) const DEFAULT_PATH: &str = "/etc/config/mtfetch";
/// More connections to a data centre than this give a warning.
const USUAL_CONNECTIONS: u32 = 4;

/// A valid configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Number and hash of the owner's application, from my.telegram.org.
    pub(crate) api: Option<(i32, String)>,
    /// The account file.
    pub(crate) account: PathBuf,
    /// The file of the cache.
    pub(crate) cache: Option<PathBuf>,
    /// The Redis of the cache.
    pub(crate) redis: Option<cache::RedisServer>,
    /// How long an entry of the cache is valid.
    pub(crate) cache_lifetime: Duration,
    /// Connections to the data centre of a file.
    pub(crate) connections: u32,
    /// MTProto proxies. Without one the route is direct.
    pub(crate) proxies: Vec<Proxy>,
    /// The options of outgoing connections.
    pub(crate) dial: DialOptions,
    /// Whether to use Telegram's test servers.
    pub(crate) test: bool,
    /// The addresses of the data centres.
    pub(crate) dcs: Table,
    /// A PEM file with public keys in place of Telegram's.
    pub(crate) rsa_key: Option<PathBuf>,
    /// The addresses of the HTTP server.
    pub(crate) listen: Vec<SocketAddr>,
    /// The token in the URLs of the HTTP server.
    pub(crate) token: Option<String>,
    /// Upper bound of HTTP connections.
    pub(crate) clients: u32,
    /// Upper bound of media in transfer.
    pub(crate) streams: u32,
    /// Upper bound of running remuxes.
    pub(crate) remuxes: u32,
    /// The program that remuxes.
    pub(crate) ffmpeg: PathBuf,
}

impl Default for Config {
    fn default() -> Config {
        Config::parse("")
            .expect("the defaults are valid: a test reads them")
            .0
    }
}

impl Config {
    /// Reads a file. Returns the configuration with its warnings, or all errors.
    pub(crate) fn load(file: &Path) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        Config::parse(&read_file(file).map_err(|problem| vec![problem])?)
    }

    /// Reads a text. Returns the configuration with its warnings, or all errors.
    pub(crate) fn parse(text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let (package, mut problems) = uci::parse(text);
        let main = package.sections.iter().find(|section| section.kind == "mtfetch");
        let mut reader = Reader::new(main, MAIN_OPTIONS, &mut problems);
        let mut config = read_main(&mut reader);
        reader.finish();
        let mut dcs = DcSections::default();
        for section in &package.sections {
            match section.kind.as_str() {
                "mtfetch" if main.is_some_and(|main| std::ptr::eq(main, section)) => {}
                "mtfetch" => {
                    problems.push(Problem::error(
                        section.line,
                        "a second mtfetch section (only one)",
                    ));
                }
                "dc" => dcs.read(section, &mut config.dcs, &mut problems),
                "proxy" => config.proxies.extend(read_proxy(section, &mut problems)),
                kind => {
                    let text = format!("unknown section {} (mtfetch, proxy or dc)", uci::shown_name(kind));
                    problems.push(Problem::warning(section.line, text));
                }
            }
        }
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            Err(problems)
        } else {
            Ok((config, problems))
        }
    }

    /// Whether all listeners are on loopback addresses.
    pub(crate) fn is_private(&self) -> bool {
        self.listen
            .iter()
            .all(|address| address.ip().to_canonical().is_loopback())
    }
}

fn read_main(reader: &mut Reader<'_>) -> Config {
    let api_id = reader.maybe_number("api_id");
    let api_hash = reader.maybe("api_hash", hash);
    let line = reader.line("api_id").max(reader.line("api_hash"));
    if api_id.is_some() != api_hash.is_some() && line > 0 {
        reader.warning(
            line,
            "api_id and api_hash belong together (both, from my.telegram.org)".into(),
        );
    }
    // Read only to check its value: the init script acts on it.
    reader.flag("enabled");
    let connections = reader.number("connections");
    if connections > USUAL_CONNECTIONS {
        let text = format!(
            "connections {connections}: more than {USUAL_CONNECTIONS} seldom help, and lead to flood waits"
        );
        reader.warning(reader.line("connections"), text);
    }
    let redis_or_file = reader.maybe("cache", cache_location);
    let (redis, cache) = match redis_or_file {
        Some(CacheLocation::Redis(server)) => (Some(server), None),
        Some(CacheLocation::File(path)) => (None, Some(path)),
        None => (None, None),
    };
    Config {
        api: api_id.and_then(|id| Some((id as i32, api_hash?))),
        account: reader.one("account", value::path),
        cache: reader.maybe("cache_file", value::path).or(cache),
        redis,
        cache_lifetime: Duration::from_secs(reader.number("cache_lifetime").into()),
        connections,
        proxies: reader.many("proxy", str::parse::<Proxy>),
        dial: DialOptions {
            prefer_ipv6: reader.choice("prefer_ipv6", &PreferIpv6::ALL),
            bind_interface: reader.maybe("bind_interface", value::interface),
            connect_timeout: Some(Duration::from_secs(10)),
            ..DialOptions::default()
        },
        test: reader.flag("test"),
        dcs: Table::built_in(),
        rsa_key: reader.maybe("rsa_key", value::path),
        listen: reader.many("listen", value::socket_address),
        token: reader.maybe("token", token),
        clients: reader.number("clients"),
        streams: reader.number("streams"),
        remuxes: reader.number("remuxes"),
        ffmpeg: reader.one("ffmpeg", |text| Ok(PathBuf::from(text))),
    }
}

fn read_proxy(section: &Section, problems: &mut Vec<Problem>) -> Option<Proxy> {
    let mut reader = Reader::new(Some(section), PROXY_OPTIONS, problems);
    let server = reader.maybe("server", value::host_port);
    let secret = reader.maybe("secret", proxy::secret);
    for (name, is_there) in [
        ("server", reader.line("server") > 0),
        ("secret", reader.line("secret") > 0),
    ] {
        if !is_there {
            reader.error(section.line, format!("a proxy without {name}"));
        }
    }
    reader.finish();
    Some(Proxy {
        server: server?,
        secret: secret?,
    })
}

fn hash(text: &str) -> Read<String> {
    if text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err("is not the hash of an application (32 hex digits, from my.telegram.org)".into())
}

/// A token of URL-safe characters, long enough not to be guessed.
pub(crate) fn token(text: &str) -> Read<String> {
    let letters = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if letters && (8..=128).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err("is not a token (8 to 128 letters, digits, - and _)".into())
}

/// Where the cache is kept.
#[derive(Clone, Debug)]
pub(crate) enum CacheLocation {
    /// In a Redis.
    Redis(cache::RedisServer),
    /// In a file.
    File(PathBuf),
}

/// Parses `redis://…` or an absolute path.
pub(crate) fn cache_location(text: &str) -> Read<CacheLocation> {
    if text.starts_with("redis:") {
        return text.parse().map(CacheLocation::Redis);
    }
    match value::path(text) {
        Ok(path) => Ok(CacheLocation::File(path)),
        Err(_) => Err("is neither an absolute path nor redis://HOST".into()),
    }
}

/// The address of a listener for people. An unspecified address is shown as `HOST`.
pub(crate) fn shown_address(address: SocketAddr) -> HostPort {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => "HOST".into(),
        IpAddr::V6(ip) if ip.is_unspecified() => "HOST".into(),
        ip => ip.to_string(),
    };
    HostPort {
        host,
        port: address.port(),
    }
}
