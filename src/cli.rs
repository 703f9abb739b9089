//! The command line: what each command takes, and the commands that end by themselves.
//!
//! Read first: README, "Commands". Exit codes are a promise to scripts: 0 good, 1 something failed, 2 the command line
//! or the configuration is wrong (for `link` a wrong configuration is 1). Answers go to stdout, complaints to stderr, so that
//! `mtrelay link | head -1` and `mtrelay secret > file` do what they say; a reader that has gone away is no error.

use crate::config::{self, Config};
use crate::stats::json::Json;
use crate::{daemon, http, link, probe};
use argh::FromArgs;
use mtrelay_core::config::problem::{Problem, Severity};
use mtrelay_core::quote::Quoted;
use mtrelay_core::sys::stdio::Stdio;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wire::secret::{Form, Secret, Written};

/// Something failed.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong.
const WRONG: u8 = 2;

/// A small relay for Telegram's MTProto proxies
#[derive(FromArgs, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help", "help"))]
struct Args {
    /// print the version
    #[argh(switch, short = 'V')]
    version: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Link(LinkArgs),
    Secret(SecretArgs),
    Status(StatusArgs),
}

/// Run the relay in the foreground
#[derive(FromArgs, Clone, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "run", help_triggers("-h", "--help", "help"))]
pub struct RunArgs {
    /// configuration in UCI format (/etc/config/mtrelay)
    #[argh(option, short = 'c')]
    pub config: Option<PathBuf>,
    /// log more; may be repeated
    #[argh(switch, short = 'v')]
    pub verbose: u8,
    /// log to the system's log instead of stderr
    #[argh(switch)]
    pub syslog: bool,
    /// become this user once the ports are bound
    #[argh(option, arg_name = "name")]
    pub user: Option<String>,
    /// file in RAM (tmpfs) that keeps quotas and seen handshakes over a restart
    #[argh(option, arg_name = "file")]
    pub state: Option<PathBuf>,
}

/// Check the configuration and name every mistake
#[derive(FromArgs, Clone, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "check", help_triggers("-h", "--help", "help"))]
pub struct CheckArgs {
    /// configuration in UCI format (/etc/config/mtrelay)
    #[argh(option, short = 'c')]
    pub config: Option<PathBuf>,
    /// also try every data centre, the clock and the front
    #[argh(switch)]
    pub net: bool,
    /// answer in JSON
    #[argh(switch)]
    pub json: bool,
}

/// Print the links that users open in Telegram
#[derive(FromArgs, Clone, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "link", help_triggers("-h", "--help", "help"))]
pub struct LinkArgs {
    /// configuration in UCI format (/etc/config/mtrelay)
    #[argh(option, short = 'c')]
    pub config: Option<PathBuf>,
    /// only this user's links
    #[argh(option, arg_name = "name")]
    pub user: Option<String>,
    /// name or address of this relay, instead of link_host
    #[argh(option, arg_name = "host")]
    pub host: Option<String>,
    /// draw each link as a QR code too
    #[argh(switch)]
    pub qr: bool,
}

/// Make a new secret
#[derive(FromArgs, Clone, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "secret", help_triggers("-h", "--help", "help"))]
pub struct SecretArgs {
    /// in the ee form, with this domain
    #[argh(option, arg_name = "domain")]
    pub tls: Option<String>,
}

/// Show the running relay's counters
#[derive(FromArgs, Clone, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help", "help"))]
pub struct StatusArgs {
    /// configuration in UCI format (/etc/config/mtrelay)
    #[argh(option, short = 'c')]
    pub config: Option<PathBuf>,
    /// answer in JSON
    #[argh(switch)]
    pub json: bool,
}

/// The program: reads its command line, does what it says, and answers with the exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut terminal = Terminal {
        out: Box::new(Stdio::out()),
        err: Box::new(Stdio::err()),
    };
    let code = dispatch(arguments, &mut terminal);
    ExitCode::from(code)
}

/// Where a command's words go.
struct Terminal {
    out: Box<dyn io::Write>,
    err: Box<dyn io::Write>,
}

impl Terminal {
    /// Prints an answer, and tells the exit code: `good`, unless the answer could not be written. That its reader
    /// went away (`| head -1`) does not matter.
    fn answer(&mut self, text: &str, good: u8) -> u8 {
        match self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
        {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.complain(&format!("mtrelay: cannot write the answer: {error}"));
                FAILED
            }
            _ => good,
        }
    }

    /// Prints a line on stderr. If that fails, there is nowhere left to say so.
    fn complain(&mut self, line: &str) {
        let _ = self.err.write_all(format!("{line}\n").as_bytes());
    }

    fn fail(&mut self, what: impl std::fmt::Display) -> u8 {
        self.complain(&format!("mtrelay: {what}"));
        FAILED
    }
}

fn dispatch(arguments: Vec<OsString>, terminal: &mut Terminal) -> u8 {
    let args = match parse(arguments) {
        Ok(args) => args,
        Err(Stop { text, code: 0 }) => return terminal.answer(&text, 0),
        Err(Stop { text, code }) => {
            terminal.complain(text.trim_end());
            return code;
        }
    };
    match args.command {
        _ if args.version => terminal.answer(concat!(env!("CARGO_PKG_VERSION"), "\n"), 0),
        None => {
            terminal
                .complain("mtrelay: no command (run, check, link, secret or status; --help explains them)");
            WRONG
        }
        Some(Command::Run(args)) => run(args, terminal),
        Some(Command::Check(args)) => check(&args, terminal),
        Some(Command::Link(args)) => link(&args, terminal),
        Some(Command::Secret(args)) => secret(&args, terminal),
        Some(Command::Status(args)) => status(&args, terminal),
    }
}

/// A command line that leads to no command: its text, and the exit code.
#[derive(Debug)]
struct Stop {
    text: String,
    code: u8,
}

fn parse(arguments: Vec<OsString>) -> Result<Args, Stop> {
    let wrong = |text: String| Stop {
        text: format!("mtrelay: {text}"),
        code: WRONG,
    };
    let mut words = Vec::new();
    let mut ended = false;
    for argument in arguments {
        let text = argument
            .into_string()
            .map_err(|raw| wrong(format!("no UTF-8: {}", raw.to_string_lossy())))?;
        ended |= text == "--";
        if ended {
            words.push(text)
        } else {
            words.extend(usual_forms(text))
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Args::from_args(&["mtrelay"], &words).map_err(|stop| match stop.status {
        Ok(()) => Stop {
            text: stop.output,
            code: 0,
        },
        Err(()) => wrong(format!("{} (mtrelay --help explains)", stop.output.trim_end())),
    })
}

/// Two ways of writing that everyone's fingers know and our parser does not: `-vv`, and `--option=value`.
fn usual_forms(text: String) -> Vec<String> {
    if text.len() > 2
        && text
            .strip_prefix('-')
            .is_some_and(|rest| rest.bytes().all(|b| b == b'v'))
    {
        return vec![String::from("-v"); text.len() - 1];
    }
    match text.split_once('=') {
        Some((name, value)) if name.starts_with("--") => vec![name.to_owned(), value.to_owned()],
        _ => vec![text],
    }
}

fn path(config: Option<&Path>) -> &Path {
    config.unwrap_or(Path::new(config::DEFAULT_PATH))
}

/// Reads the configuration and prints what is wrong with it. `quiet` leaves the warnings to `check`.
fn load(file: &Path, quiet: bool, terminal: &mut Terminal) -> (Option<Config>, Vec<Problem>) {
    let (config, problems) = match Config::load(file) {
        Ok((config, warnings)) => (Some(config), warnings),
        Err(problems) => (None, problems),
    };
    for problem in &problems {
        if !quiet || problem.severity == Severity::Error {
            terminal.complain(&problem.in_file(file).to_string());
        }
    }
    (config, problems)
}

fn run(args: RunArgs, terminal: &mut Terminal) -> u8 {
    let RunArgs {
        config,
        verbose,
        syslog,
        user,
        state,
    } = args;
    match daemon::run(daemon::RunOptions {
        config,
        verbose,
        syslog,
        user,
        state,
    }) {
        Ok(()) => 0,
        Err(daemon::StartError::Config(mistakes)) => {
            for mistake in mistakes {
                terminal.complain(&mistake);
            }
            WRONG
        }
        Err(daemon::StartError::System(error)) => terminal.fail(error),
    }
}

fn status(args: &StatusArgs, terminal: &mut Terminal) -> u8 {
    let file = path(args.config.as_deref());
    let config = if args.config.is_none() && !file.exists() {
        // `run` takes the defaults then, so they say where it answers.
        Config::default()
    } else {
        let (Some(config), _) = load(file, true, terminal) else {
            return FAILED;
        };
        config
    };
    let Some(address) = config.stats_listen else {
        return terminal.fail(format_args!(
            "{}: statistics are off (stats_listen)",
            file.display()
        ));
    };
    if address.port() == 0 {
        return terminal.fail(format_args!(
            "{}: stats_listen has no fixed port (one that is not 0)",
            file.display()
        ));
    }
    let page = if args.json { "/status" } else { "/status.txt" };
    let address = reachable(address);
    match http::fetch(address, page) {
        Ok((200, mut text)) => {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            terminal.answer(&text, 0)
        }
        Ok((code, _)) => terminal.fail(format_args!(
            "whatever listens on {address} answers {code} (is it the relay?)"
        )),
        Err(error) => terminal.fail(format_args!(
            "no relay answers on {address}: {error} (is it running?)"
        )),
    }
}

/// Where a listener is reached from this machine: one on all addresses, by loopback.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// What trying the network found.
pub struct NetReport {
    /// Whether every main data centre works.
    pub good: bool,
    /// A line for people per thing tried.
    pub lines: Vec<String>,
    /// The same as a JSON value.
    pub json: String,
}

/// Tries what the configuration needs of the network.
fn check_net(config: &Config) -> NetReport {
    let front = config.front_address.as_ref().map(ToString::to_string);
    let report = probe::run(&config.dcs, &daemon::dial_options(config), front.as_deref());
    let mut json = Json::new();
    report.emit(&mut json);
    NetReport {
        good: report.is_good(),
        lines: report.lines(),
        json: json.finish().trim_end().to_owned(),
    }
}

fn check(args: &CheckArgs, terminal: &mut Terminal) -> u8 {
    let file = path(args.config.as_deref());
    let (config, problems) = load(file, false, terminal);
    let net = config.as_ref().filter(|_| args.net).map(check_net);
    let code = match (&config, &net) {
        (None, _) => WRONG,
        (Some(_), Some(report)) if !report.good => FAILED,
        _ => 0,
    };
    let mut text = String::new();
    if args.json {
        check_json(file, code, &problems, net.as_ref(), &mut text);
    } else {
        for line in net.iter().flat_map(|report| &report.lines) {
            text.extend([line, "\n"]);
        }
        if let Some(config) = &config {
            let users = config.users.iter().filter(|user| user.enabled).count();
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            let warnings = match problems.len() {
                0 => String::new(),
                n => format!(", {}", count(n, "warning")),
            };
            let (users, ports) = (
                count(users, "enabled user"),
                count(config.listen.len(), "listener"),
            );
            text.push_str(&format!(
                "{}: good ({users}, {ports}{warnings})\n",
                file.display()
            ));
        }
    }
    terminal.answer(&text, code)
}

fn check_json(file: &Path, code: u8, problems: &[Problem], net: Option<&NetReport>, text: &mut String) {
    text.push_str("{\"file\":");
    json_string(&file.to_string_lossy(), text);
    text.push_str(if code == 0 {
        ",\"good\":true"
    } else {
        ",\"good\":false"
    });
    text.push_str(",\"problems\":[");
    for (at, problem) in problems.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let severity = if problem.severity == Severity::Error {
            "error"
        } else {
            "warning"
        };
        text.push_str(&format!(
            "{comma}{{\"line\":{},\"severity\":\"{severity}\",\"text\":",
            problem.line
        ));
        json_string(&problem.text, text);
        text.push('}');
    }
    text.push(']');
    if let Some(net) = net {
        text.extend([",\"net\":", net.json.as_str()]);
    }
    text.push_str("}\n");
}

fn json_string(value: &str, text: &mut String) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            // Writing to a String cannot fail.
            _ if c.is_control() => drop(write!(text, "\\u{:04x}", u32::from(c))),
            _ => text.push(c),
        }
    }
    text.push('"');
}

fn link(args: &LinkArgs, terminal: &mut Terminal) -> u8 {
    let file = path(args.config.as_deref());
    let (Some(config), _) = load(file, true, terminal) else {
        return FAILED;
    };
    if let Some(name) = &args.user {
        match config.users.iter().find(|user| user.name == *name) {
            None => {
                return terminal.fail(format_args!(
                    "{}: no user {}",
                    file.display(),
                    Quoted {
                        mark: '\'',
                        text: name
                    }
                ));
            }
            Some(user) if !user.enabled => {
                return terminal.fail(format_args!(
                    "{}: user {} is not enabled",
                    file.display(),
                    Quoted {
                        mark: '\'',
                        text: name
                    }
                ));
            }
            Some(_) => {}
        }
    }
    let (host, port) = match link::endpoint(&config, args.host.as_deref()) {
        Ok(endpoint) => endpoint,
        Err(error) => return terminal.fail(error),
    };
    let mut text = String::new();
    let wanted = |name: &str| args.user.as_deref().is_none_or(|user| user == name);
    for user in config
        .users
        .iter()
        .filter(|user| user.enabled && wanted(&user.name))
    {
        for link in link::links(user, &host, port, config.modes, config.front_domain.as_deref()) {
            text.extend([&link.tg, "\n", &link.https, "\n"]);
            if args.qr {
                text.push_str(&link::qr(&link.tg));
            }
        }
    }
    if text.is_empty() {
        let why = if config.users.iter().any(|user| user.enabled) {
            "only ee is among the modes, and its links need front_domain (front_domain, or dd among modes)"
        } else {
            "no enabled user (a user section with a name and a secret)"
        };
        return terminal.fail(format_args!("{}: {why}", file.display()));
    }
    terminal.answer(&text, 0)
}

fn secret(args: &SecretArgs, terminal: &mut Terminal) -> u8 {
    let form = match args.tls.as_deref().map(mtrelay_core::config::value::domain) {
        None => Form::Plain,
        Some(Ok(domain)) => Form::Ee(domain),
        Some(Err(wrong)) => {
            terminal.complain(&format!("mtrelay: the domain {wrong}"));
            return WRONG;
        }
    };
    let mut bytes = [0; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        return terminal.fail(format_args!("no random bytes: {error}"));
    }
    let written = Written {
        key: Secret::from_bytes(bytes),
        form,
    };
    terminal.answer(&format!("{}\n", wire::secret::write(&written)), 0)
}

#[cfg(test)]
mod tests;
