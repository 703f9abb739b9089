//! The commands. Read first: docs/mtfetch.md, "Commands".
//!
//! Errors, prompts and progress go to stderr; results go to stdout, and with `get -o -` the medium itself.

mod args;
mod exit;
mod get;
mod login;
mod prompt;
mod serve;
#[cfg(test)]
mod tests;

use crate::config::{Config, DEFAULT_PATH, Proxy};
use args::{Args, Command};
use exit::{FAILED, SIGNALLED, USAGE, complain, print};
use log::LevelFilter;
use mtrelay_core::config::problem::Severity;
use mtrelay_core::reactor::{self, Async, Interest};
use mtrelay_core::sys::signal::Signals;
use mtrelay_core::syslog::{self, Target};
use rustix::process::Signal;
use smol::future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs the command of the command line.
pub fn main() -> ExitCode {
    let code = dispatch(std::env::args_os().skip(1).collect());
    ExitCode::from(code)
}

fn dispatch(arguments: Vec<std::ffi::OsString>) -> u8 {
    let args = match args::parse(arguments) {
        Ok(args) => args,
        Err(args::NoCommand::Help(text)) => return print(&text),
        Err(args::NoCommand::Wrong(text)) => {
            complain(&text);
            return USAGE;
        }
    };
    match args {
        Args { version: true, .. } => print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
        Args { command: None, .. } => {
            complain("no command (login, logout, get, serve or check; --help explains them)");
            USAGE
        }
        Args {
            command: Some(command),
            ..
        } => run(command).unwrap_or_else(|code| code),
    }
}

fn run(command: Command) -> Result<u8, u8> {
    match command {
        Command::Check(args) => Ok(check(args.config)),
        Command::Login(args) => {
            let common = Common::new(&args.config, &args.account, &args.proxy, None);
            let config = common.load(LevelFilter::Warn, args.verbose, Target::Stderr)?;
            until_signalled(login::log_in(&config, &args))
        }
        Command::Logout(args) => {
            let common = Common::new(&args.config, &args.account, &args.proxy, None);
            let config = common.load(LevelFilter::Warn, args.verbose, Target::Stderr)?;
            until_signalled(login::log_out(&config))
        }
        Command::Get(args) => {
            let common = Common::new(&args.config, &args.account, &args.proxy, args.connections);
            let config = common.load(LevelFilter::Warn, args.verbose, Target::Stderr)?;
            let links = get::links(&args)?;
            until_signalled(login::with(&config, async |telegram| {
                get::run(&*telegram, &links, &args).await
            }))
        }
        Command::Serve(args) => {
            let target = if args.syslog {
                Target::Syslog("mtfetch")
            } else {
                Target::Stderr
            };
            let common = Common::new(&args.config, &args.account, &args.proxy, args.connections);
            let mut config = common.load(LevelFilter::Info, args.verbose, target)?;
            serve::adapt(&mut config, &args)?;
            let listeners = serve::bind(&config, args.user.as_deref())?;
            until_signalled(login::with(&config, async |telegram| {
                let account = telegram.account().map_or(0, |account| account.user);
                serve::run(telegram, &config, serve::cache(&config, account), listeners).await
            }))
        }
    }
}

/// The options that most commands have.
struct Common<'a> {
    config: Option<&'a Path>,
    account: &'a Option<PathBuf>,
    proxies: &'a [Proxy],
    connections: Option<u32>,
}

impl<'a> Common<'a> {
    fn new(
        config: &'a Option<PathBuf>,
        account: &'a Option<PathBuf>,
        proxies: &'a [Proxy],
        connections: Option<u32>,
    ) -> Common<'a> {
        Common {
            config: config.as_deref(),
            account,
            proxies,
            connections,
        }
    }

    /// Starts the log and reads the configuration. The command line and the environment override options of the file.
    fn load(self, level: LevelFilter, verbose: u8, target: Target) -> Result<Config, u8> {
        let level = match (level, verbose) {
            (level, 0) => level,
            (LevelFilter::Warn, 1) => LevelFilter::Info,
            (_, 1) | (LevelFilter::Warn, 2) => LevelFilter::Debug,
            _ => LevelFilter::Trace,
        };
        // Fails only in tests, which have a logger of their own.
        let _ = syslog::init(target, level);
        let mut config = load(self.config, false).ok_or(USAGE)?;
        if let Some(account) = self.account {
            config.account.clone_from(account);
        }
        if !self.proxies.is_empty() {
            config.proxies = self.proxies.to_vec();
        }
        if let Some(connections) = self.connections {
            if !(1..=8).contains(&connections) {
                complain("--connections takes 1 to 8");
                return Err(USAGE);
            }
            config.connections = connections;
        }
        if let (Ok(id), Ok(hash)) = (std::env::var("MTFETCH_API_ID"), std::env::var("MTFETCH_API_HASH")) {
            let Some(id) = id.parse().ok().filter(|&id: &i32| id > 0) else {
                complain("$MTFETCH_API_ID is not a number");
                return Err(USAGE);
            };
            config.api = Some((id, hash));
        }
        Ok(config)
    }
}

/// Reads the configuration and prints its errors, and its warnings if `warnings` is set. If no file is named and the default file
/// does not exist, the defaults apply.
fn load(file: Option<&Path>, warnings: bool) -> Option<Config> {
    let path = file.unwrap_or(Path::new(DEFAULT_PATH));
    if file.is_none() && !path.exists() {
        return Some(Config::default());
    }
    let (config, problems) = match Config::load(path) {
        Ok((config, problems)) => (Some(config), problems),
        Err(problems) => (None, problems),
    };
    for problem in problems
        .iter()
        .filter(|problem| warnings || problem.severity == Severity::Error)
    {
        complain(problem.in_file(path));
    }
    config
}

fn check(file: Option<PathBuf>) -> u8 {
    match load(file.as_deref(), true) {
        Some(_) => print(&format!(
            "{}: good\n",
            file.as_deref().unwrap_or(Path::new(DEFAULT_PATH)).display()
        )),
        None => USAGE,
    }
}

/// Runs the work of a command until it ends or a stop signal arrives.
fn until_signalled(work: impl Future<Output = Result<u8, u8>>) -> Result<u8, u8> {
    let fail = |error: io::Error| {
        complain(error);
        FAILED
    };
    let signals = Signals::take(&[Signal::INT, Signal::TERM, Signal::HUP]).map_err(fail)?;
    let watched = async {
        let signals = Async::new_nonblocking(signals).map_err(fail)?;
        let signal = signals
            .try_io(Interest::Read, Signals::read)
            .await
            .map_err(fail)?;
        let number = signal.map_or(0, Signal::as_raw);
        Err(SIGNALLED.saturating_add(u8::try_from(number).unwrap_or_default()))
    };
    reactor::block_on(future::or(work, watched)).unwrap_or_else(|error| Err(fail(error)))
}
