//! The configuration: UCI text in, a [`Config`] out that is valid once it exists.
//!
//! Options are named here as in the file that the package installs as `/etc/config/mtfetch`; docs/mtfetch.md tells them all. Text is taken
//! apart by the relay's own reader of UCI. Promises: every mistake is reported with its line, and no message shows a secret.

mod options;
mod proxy;
#[cfg(test)]
mod tests;

use crate::cache;
use mtrelay_core::config::problem::{Problem, Severity};
use mtrelay_core::config::value::{self, Read};
use mtrelay_core::config::{HostPort, uci};
use mtrelay_core::dc::{DcId, Table};
use mtrelay_core::dial::{DialOptions, PreferIpv6};
pub use options::{DC_OPTIONS, MAIN_OPTIONS, OptionSpec, PROXY_OPTIONS};
pub use proxy::Proxy;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use uci::Section;

/// Where the configuration is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/config/mtfetch";
/// Whoever has a larger one has another file there.
const MAX_FILE_LEN: u64 = 1 << 20;
/// More connections to a data centre than this are somebody's explicit wish.
pub const USUAL_CONNECTIONS: u32 = 4;

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The number and the hash of the owner's own application, from my.telegram.org.
    pub api: Option<(i32, String)>,
    /// The file with the account's keys.
    pub account: PathBuf,
    /// The cache's file.
    pub cache: Option<PathBuf>,
    /// The cache's Redis.
    pub redis: Option<cache::Server>,
    /// How long the cache is believed.
    pub cache_lifetime: Duration,
    /// Connections to the data centre of a file.
    pub connections: u32,
    /// Ways to the data centres; without one, directly.
    pub proxies: Vec<Proxy>,
    /// How connections are made.
    pub dial: DialOptions,
    /// Telegram's test servers.
    pub test: bool,
    /// Where the data centres are.
    pub dcs: Table,
    /// Data centres whose key is another one than Telegram's: the file with it.
    pub rsa_key: Option<PathBuf>,
    /// Where `serve` listens.
    pub listen: Vec<SocketAddr>,
    /// What stands in its URLs.
    pub token: Option<String>,
    /// Connections of players at once.
    pub clients: u32,
    /// Media at once.
    pub streams: u32,
    /// Remuxes at once.
    pub remuxes: u32,
    /// The program for them.
    pub ffmpeg: PathBuf,
}

impl Default for Config {
    fn default() -> Config {
        Config::parse("")
            .expect("the defaults are valid: a test reads them")
            .0
    }
}

impl Config {
    /// Reads a file; answers the warnings with what it says.
    ///
    /// # Errors
    /// All mistakes.
    pub fn load(file: &Path) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let unreadable = |error: std::io::Error| vec![Problem::error(0, format!("cannot be read: {error}"))];
        let mut bytes = Vec::new();
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened
            .take(MAX_FILE_LEN + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 > MAX_FILE_LEN {
            return Err(vec![Problem::error(
                0,
                format!("is larger than {MAX_FILE_LEN} bytes"),
            )]);
        }
        let text = String::from_utf8(bytes).map_err(|_| vec![Problem::error(0, "is no UTF-8 text")])?;
        Config::parse(&text)
    }

    /// Reads a text; answers the warnings with what it says.
    ///
    /// # Errors
    /// All mistakes.
    pub fn parse(text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        let (package, mut problems) = uci::parse(text);
        let main = package.sections.iter().find(|section| section.kind == "mtfetch");
        let mut reader = Reader::new(main, MAIN_OPTIONS, &mut problems);
        let mut config = read_main(&mut reader);
        reader.finish();
        for section in &package.sections {
            match section.kind.as_str() {
                "mtfetch" if main.is_some_and(|main| std::ptr::eq(main, section)) => {}
                "mtfetch" => {
                    problems.push(Problem::error(
                        section.line,
                        "a second mtfetch section (only one)",
                    ));
                }
                "dc" => read_dc(section, &mut config.dcs, &mut problems),
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

    /// Whether every listener can be reached from this machine alone.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.listen
            .iter()
            .all(|address| address.ip().to_canonical().is_loopback())
    }
}

fn read_main(reader: &mut Reader<'_>) -> Config {
    let api_id = reader.maybe("api_id", |text| value::number(text, &(1..=i32::MAX as u32)));
    let api_hash = reader.maybe("api_hash", hash);
    let line = reader.line("api_id").max(reader.line("api_hash"));
    if api_id.is_some() != api_hash.is_some() && line > 0 {
        reader.warn(
            line,
            "api_id and api_hash belong together (both, from my.telegram.org)".into(),
        );
    }
    // Read for the sake of its mistakes: it is the service's script that acts on it.
    reader.one("enabled", value::boolean);
    let connections = reader.one("connections", |text| value::number(text, &(1..=8)));
    if connections > USUAL_CONNECTIONS {
        let text =
            format!("connections {connections}: more than {USUAL_CONNECTIONS} seldom help, and bring waits");
        reader.warn(reader.line("connections"), text);
    }
    let redis_or_file = reader.maybe("cache", place);
    let (redis, cache) = match redis_or_file {
        Some(Place::Redis(server)) => (Some(server), None),
        Some(Place::File(path)) => (None, Some(path)),
        None => (None, None),
    };
    Config {
        api: api_id.and_then(|id| Some((id as i32, api_hash?))),
        account: reader.one("account", value::path),
        cache: reader.maybe("cache_file", value::path).or(cache),
        redis,
        cache_lifetime: Duration::from_secs(
            reader
                .one("cache_lifetime", |text| value::number(text, &(60..=604_800)))
                .into(),
        ),
        connections,
        proxies: reader.many("proxy", str::parse::<Proxy>),
        dial: DialOptions {
            prefer_ipv6: reader.one("prefer_ipv6", prefer_ipv6),
            bind_interface: reader.maybe("bind_interface", value::interface),
            connect_timeout: Some(Duration::from_secs(10)),
            ..DialOptions::default()
        },
        test: reader.one("test", value::boolean),
        dcs: Table::built_in(),
        rsa_key: reader.maybe("rsa_key", value::path),
        listen: reader.many("listen", value::socket_address),
        token: reader.maybe("token", token),
        clients: reader.one("clients", |text| value::number(text, &(1..=1000))),
        streams: reader.one("streams", |text| value::number(text, &(1..=64))),
        remuxes: reader.one("remuxes", |text| value::number(text, &(0..=16))),
        ffmpeg: reader.one("ffmpeg", |text| Ok(PathBuf::from(text))),
    }
}

fn read_dc(section: &Section, dcs: &mut Table, problems: &mut Vec<Problem>) {
    let mut reader = Reader::new(Some(section), DC_OPTIONS, problems);
    let id = reader.maybe("id", dc_id);
    let addresses = reader.many("address", value::remote_address);
    for (name, is_there) in [
        ("id", reader.line("id") > 0),
        ("address", reader.line("address") > 0),
    ] {
        if !is_there {
            reader.error(section.line, format!("a dc without {name}"));
        }
    }
    reader.finish();
    if let Some(id) = id {
        dcs.set(id, addresses);
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

fn dc_id(text: &str) -> Read<DcId> {
    let id = text.parse().ok().and_then(DcId::new);
    id.ok_or_else(|| String::from("is no data centre's number (such as 2, or -2 for its media server)"))
}

fn prefer_ipv6(text: &str) -> Read<PreferIpv6> {
    match text {
        "auto" => Ok(PreferIpv6::Auto),
        "always" => Ok(PreferIpv6::Always),
        "never" => Ok(PreferIpv6::Never),
        _ => Err("is none of auto, always, never".into()),
    }
}

fn hash(text: &str) -> Read<String> {
    if text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err("is no application's hash (32 hex digits, from my.telegram.org)".into())
}

/// What can stand in a URL as it is, and is not guessed.
pub fn token(text: &str) -> Read<String> {
    let letters = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if letters && (8..=128).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err("is no token (8 to 128 letters, digits, - and _)".into())
}

/// Where the cache is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a Redis.
    Redis(cache::Server),
    /// In a file.
    File(PathBuf),
}

/// `redis://…`, or an absolute path.
///
/// # Errors
/// When it is neither.
pub fn place(text: &str) -> Read<Place> {
    if text.starts_with("redis:") {
        return text.parse().map(Place::Redis);
    }
    match value::path(text) {
        Ok(path) => Ok(Place::File(path)),
        Err(_) => Err("is neither an absolute path nor redis://HOST".into()),
    }
}

/// A value for a message: short, on one line, and not at all if it could be a secret in the wrong place.
fn shown(name: &str, text: &str) -> String {
    const SECRETS: [&str; 6] = ["api_hash", "token", "secret", "proxy", "cache", "api_id"];
    if SECRETS.contains(&name) || text.len() >= 40 {
        return String::from("(not shown)");
    }
    mtrelay_core::quote::Quoted { mark: '\'', text }.to_string()
}

/// The options of one section.
struct Reader<'a> {
    section: Option<&'a Section>,
    specs: &'static [OptionSpec],
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn new(
        section: Option<&'a Section>,
        specs: &'static [OptionSpec],
        problems: &'a mut Vec<Problem>,
    ) -> Reader<'a> {
        Reader {
            section,
            specs,
            problems,
        }
    }

    fn error(&mut self, line: usize, text: String) {
        self.problems.push(Problem::error(line, text));
    }

    fn warn(&mut self, line: usize, text: String) {
        self.problems.push(Problem::warning(line, text));
    }

    /// Its values with their lines. To UCI an empty one is an absent one.
    fn values(&self, name: &str) -> Vec<(&'a str, usize)> {
        let items = self.section.map_or(&[][..], |section| &section.items);
        let named = items.iter().filter(|item| item.name == name);
        named
            .map(|item| (item.value.trim(), item.line))
            .filter(|(text, _)| !text.is_empty())
            .collect()
    }

    /// The line that decides an option, 0 if it is absent.
    fn line(&self, name: &str) -> usize {
        self.values(name).last().map_or(0, |value| value.1)
    }

    fn default(&self, name: &str) -> &'static str {
        let spec = self.specs.iter().find(|spec| spec.name == name);
        spec.expect("every option that is read has its entry").default
    }

    fn read<T>(&mut self, name: &str, text: &str, line: usize, read: &impl Fn(&str) -> Read<T>) -> Option<T> {
        read(text)
            .map_err(|wrong| self.error(line, format!("{name} {} {wrong}", shown(name, text))))
            .ok()
    }

    fn maybe<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> Option<T> {
        let &(text, line) = self.values(name).last()?;
        self.read(name, text, line, &read)
    }

    fn one<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> T {
        self.maybe(name, &read)
            .unwrap_or_else(|| read(self.default(name)).expect("the defaults are valid: a test reads them"))
    }

    /// Several may also stand in one entry, with spaces between them.
    fn many<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> Vec<T> {
        let mut texts: Vec<(&str, usize)> = Vec::new();
        for (text, line) in self.values(name) {
            texts.extend(text.split_whitespace().map(|text| (text, line)));
        }
        if texts.is_empty() {
            texts.extend(self.default(name).split_whitespace().map(|text| (text, 0)));
        }
        texts
            .into_iter()
            .filter_map(|(text, line)| self.read(name, text, line, &read))
            .collect()
    }

    fn finish(self) {
        let Some(section) = self.section else { return };
        for item in &section.items {
            if !self.specs.iter().any(|spec| spec.name == item.name) {
                let text = format!(
                    "unknown option {} ({} has none of this name)",
                    uci::shown_name(&item.name),
                    section.kind
                );
                self.problems.push(Problem::warning(item.line, text));
            }
        }
    }
}

/// The host of a listener, for people: one on all addresses by a name that stands for this machine.
#[must_use]
pub fn shown_address(address: SocketAddr) -> HostPort {
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
