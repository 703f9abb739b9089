//! The commands of `mtrelay` with their options, and the reading of the command line.

use super::exit_code::USAGE;
use argh::FromArgs;
use std::ffi::OsString;
use std::path::PathBuf;

/// A small relay for Telegram's MTProto proxies
#[derive(FromArgs, Debug, PartialEq)]
#[argh(help_triggers("-h", "--help", "help"))]
pub(super) struct Args {
    /// print the version
    #[argh(switch, short = 'V')]
    pub(super) version: bool,
    #[argh(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
pub(super) enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Link(LinkArgs),
    Secret(SecretArgs),
    Status(StatusArgs),
}

/// Run the relay in the foreground
#[derive(FromArgs, Clone, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "run", help_triggers("-h", "--help", "help"))]
pub(super) struct RunArgs {
    /// configuration in UCI format (/etc/config/mtrelay)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
    /// log more; may be repeated
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
    /// log to syslog instead of stderr
    #[argh(switch)]
    pub(super) syslog: bool,
    /// change to this user once the ports are bound
    #[argh(option, arg_name = "name")]
    pub(super) user: Option<String>,
    /// file in RAM (tmpfs) that keeps quotas and the replay window over a restart
    #[argh(option, arg_name = "file")]
    pub(super) state: Option<PathBuf>,
}

/// Check the configuration and print every error and warning
#[derive(FromArgs, Clone, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "check", help_triggers("-h", "--help", "help"))]
pub(super) struct CheckArgs {
    /// configuration in UCI format (/etc/config/mtrelay)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
    /// also test every data centre, the clock and the front
    #[argh(switch)]
    pub(super) net: bool,
    /// answer in JSON
    #[argh(switch)]
    pub(super) json: bool,
}

/// Print the links that users open in Telegram
#[derive(FromArgs, Clone, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "link", help_triggers("-h", "--help", "help"))]
pub(super) struct LinkArgs {
    /// configuration in UCI format (/etc/config/mtrelay)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
    /// only this user's links
    #[argh(option, arg_name = "name")]
    pub(super) user: Option<String>,
    /// name or address of this relay, instead of link_host
    #[argh(option, arg_name = "host")]
    pub(super) host: Option<String>,
    /// draw each link as a QR code too
    #[argh(switch)]
    pub(super) qr: bool,
}

/// Print a new random secret
#[derive(FromArgs, Clone, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "secret", help_triggers("-h", "--help", "help"))]
pub(super) struct SecretArgs {
    /// print the ee form with this domain
    #[argh(option, arg_name = "domain")]
    pub(super) tls: Option<String>,
}

/// Show the running relay's counters
#[derive(FromArgs, Clone, Debug, PartialEq, Eq)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help", "help"))]
pub(super) struct StatusArgs {
    /// configuration in UCI format (/etc/config/mtrelay)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
    /// answer in JSON
    #[argh(switch)]
    pub(super) json: bool,
}

/// A command line that names no command to run: holds a help text or an error, and the exit code.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) text: String,
    pub(super) code: u8,
}

/// Reads the command line.
///
/// # Errors
/// When it asks for help, and when it is wrong.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<Args, Stop> {
    let wrong = |text: String| Stop {
        text: format!("mtrelay: {text}"),
        code: USAGE,
    };
    let mut words = Vec::new();
    let mut ended = false;
    for argument in arguments {
        let text = argument
            .into_string()
            .map_err(|raw| wrong(format!("not UTF-8: {}", raw.to_string_lossy())))?;
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

/// Splits two common forms that argh does not read: `-vv`, and `--option=value`.
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
