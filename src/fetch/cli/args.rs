//! The command line: what each command takes.

use crate::config::Proxy;
use argh::FromArgs;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Media from Telegram, in order as it arrives
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
    Login(LoginArgs),
    Logout(LogoutArgs),
    Get(GetArgs),
    Serve(ServeArgs),
    Check(CheckArgs),
}

/// Log in with your own account, or as a bot
#[derive(FromArgs, Debug, Default, PartialEq)]
#[argh(subcommand, name = "login", help_triggers("-h", "--help", "help"))]
pub(super) struct LoginArgs {
    /// configuration in UCI format (/etc/config/mtfetch)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
    /// file that keeps the account's keys
    #[argh(option, arg_name = "file")]
    pub(super) account: Option<PathBuf>,
    /// log in as a bot; its token from $MTFETCH_BOT_TOKEN, or asked for
    #[argh(switch)]
    pub(super) bot: bool,
    /// log in as a bot; its token from this file
    #[argh(option, arg_name = "file")]
    pub(super) bot_token_file: Option<PathBuf>,
    /// proxy to go through, as tg://proxy?…; may be repeated
    #[argh(option, arg_name = "link")]
    pub(super) proxy: Vec<Proxy>,
    /// log more; may be repeated
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
}

/// Log out, and forget the keys
#[derive(FromArgs, Debug, Default, PartialEq)]
#[argh(subcommand, name = "logout", help_triggers("-h", "--help", "help"))]
pub(super) struct LogoutArgs {
    /// configuration in UCI format (/etc/config/mtfetch)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
    /// file that keeps the account's keys
    #[argh(option, arg_name = "file")]
    pub(super) account: Option<PathBuf>,
    /// proxy to go through, as tg://proxy?…; may be repeated
    #[argh(option, arg_name = "link")]
    pub(super) proxy: Vec<Proxy>,
    /// log more; may be repeated
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
}

/// Fetch the media of messages into files
#[derive(FromArgs, Debug, Default, PartialEq)]
#[argh(subcommand, name = "get", help_triggers("-h", "--help", "help"))]
pub(super) struct GetArgs {
    /// links of messages (t.me/NAME/NUMBER)
    #[argh(positional, arg_name = "link")]
    pub(super) links: Vec<String>,
    /// file or folder to write to, - for stdout; without it, the medium's own name
    #[argh(option, short = 'o', arg_name = "file")]
    pub(super) output: Option<PathBuf>,
    /// say nothing but mistakes
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// configuration in UCI format (/etc/config/mtfetch)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
    /// file that keeps the account's keys
    #[argh(option, arg_name = "file")]
    pub(super) account: Option<PathBuf>,
    /// connections to the file's data centre: 2, at most 4, or up to 8 if you insist
    #[argh(option, arg_name = "number")]
    pub(super) connections: Option<u32>,
    /// proxy to go through, as tg://proxy?…; may be repeated
    #[argh(option, arg_name = "link")]
    pub(super) proxy: Vec<Proxy>,
    /// log more; may be repeated
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
}

/// Serve media over HTTP to players
#[derive(FromArgs, Debug, Default, PartialEq)]
#[argh(subcommand, name = "serve", help_triggers("-h", "--help", "help"))]
pub(super) struct ServeArgs {
    /// address to listen on (127.0.0.1:8099); may be repeated
    #[argh(option, arg_name = "address")]
    pub(super) listen: Vec<SocketAddr>,
    /// file with the token that URLs need
    #[argh(option, arg_name = "file")]
    pub(super) token_file: Option<PathBuf>,
    /// where metadata is kept: a file, or redis://HOST
    #[argh(option, arg_name = "place")]
    pub(super) cache: Option<String>,
    /// configuration in UCI format (/etc/config/mtfetch)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
    /// file that keeps the account's keys
    #[argh(option, arg_name = "file")]
    pub(super) account: Option<PathBuf>,
    /// connections to a file's data centre: 2, at most 4, or up to 8 if you insist
    #[argh(option, arg_name = "number")]
    pub(super) connections: Option<u32>,
    /// proxy to go through, as tg://proxy?…; may be repeated
    #[argh(option, arg_name = "link")]
    pub(super) proxy: Vec<Proxy>,
    /// become this user once the ports are bound
    #[argh(option, arg_name = "name")]
    pub(super) user: Option<String>,
    /// log to the system's log instead of stderr
    #[argh(switch)]
    pub(super) syslog: bool,
    /// log more; may be repeated
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
}

/// Check the configuration and name every mistake
#[derive(FromArgs, Debug, Default, PartialEq)]
#[argh(subcommand, name = "check", help_triggers("-h", "--help", "help"))]
pub(super) struct CheckArgs {
    /// configuration in UCI format (/etc/config/mtfetch)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
}

/// A command line that leads to no command: its text, and whether it is an answer.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) text: String,
    pub(super) good: bool,
}

pub(super) fn parse(arguments: Vec<OsString>) -> Result<Args, Stop> {
    let wrong = |text: String| Stop { text, good: false };
    let mut words = Vec::new();
    let mut ended = false;
    for argument in arguments {
        let text = argument
            .into_string()
            .map_err(|raw| wrong(format!("no UTF-8: {}", raw.to_string_lossy())))?;
        ended |= text == "--";
        if ended {
            words.push(text);
        } else {
            words.extend(usual_forms(text));
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Args::from_args(&["mtfetch"], &words).map_err(|stop| match stop.status {
        Ok(()) => Stop {
            text: stop.output,
            good: true,
        },
        Err(()) => wrong(format!("{} (mtfetch --help explains)", stop.output.trim_end())),
    })
}

/// Two ways of writing that everyone's fingers know and the parser does not: `-vv`, and `--option=value`.
fn usual_forms(text: String) -> Vec<String> {
    let flags = text.strip_prefix('-').unwrap_or_default();
    if flags.len() > 1 && flags.bytes().all(|b| b == b'v') {
        return vec![String::from("-v"); flags.len()];
    }
    match text.split_once('=') {
        Some((name, value)) if name.starts_with("--") => vec![name.to_owned(), value.to_owned()],
        _ => vec![text],
    }
}
