//! The command line: the options of each command.

use crate::config::Proxy;
use argh::FromArgs;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Download media from Telegram, in order
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
    /// account file with the keys
    #[argh(option, arg_name = "file")]
    pub(super) account: Option<PathBuf>,
    /// log in as a bot; the token comes from $MTFETCH_BOT_TOKEN or a prompt
    #[argh(switch)]
    pub(super) bot: bool,
    /// log in as a bot; file with the token
    #[argh(option, arg_name = "file")]
    pub(super) bot_token_file: Option<PathBuf>,
    /// MTProto proxy to use, as tg://proxy?…; may be repeated
    #[argh(option, arg_name = "link")]
    pub(super) proxy: Vec<Proxy>,
    /// log more; may be repeated
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
}

/// Log out and delete the keys
#[derive(FromArgs, Debug, Default, PartialEq)]
#[argh(subcommand, name = "logout", help_triggers("-h", "--help", "help"))]
pub(super) struct LogoutArgs {
    /// configuration in UCI format (/etc/config/mtfetch)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
    /// account file with the keys
    #[argh(option, arg_name = "file")]
    pub(super) account: Option<PathBuf>,
    /// MTProto proxy to use, as tg://proxy?…; may be repeated
    #[argh(option, arg_name = "link")]
    pub(super) proxy: Vec<Proxy>,
    /// log more; may be repeated
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
}

/// Download the media of messages into files
#[derive(FromArgs, Debug, Default, PartialEq)]
#[argh(subcommand, name = "get", help_triggers("-h", "--help", "help"))]
pub(super) struct GetArgs {
    /// links of messages (t.me/NAME/NUMBER)
    #[argh(positional, arg_name = "link")]
    pub(super) links: Vec<String>,
    /// file or folder to write to, - for stdout (default: the medium's file name)
    #[argh(option, short = 'o', arg_name = "file")]
    pub(super) output: Option<PathBuf>,
    /// print errors only
    #[argh(switch, short = 'q')]
    pub(super) quiet: bool,
    /// configuration in UCI format (/etc/config/mtfetch)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
    /// account file with the keys
    #[argh(option, arg_name = "file")]
    pub(super) account: Option<PathBuf>,
    /// connections to the file's data centre, 1 to 8 (2); more than 4 is unusual
    #[argh(option, arg_name = "number")]
    pub(super) connections: Option<u32>,
    /// MTProto proxy to use, as tg://proxy?…; may be repeated
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
    /// file with the token that URLs must carry
    #[argh(option, arg_name = "file")]
    pub(super) token_file: Option<PathBuf>,
    /// metadata cache: a file, or redis://HOST
    #[argh(option, arg_name = "place")]
    pub(super) cache: Option<String>,
    /// configuration in UCI format (/etc/config/mtfetch)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
    /// account file with the keys
    #[argh(option, arg_name = "file")]
    pub(super) account: Option<PathBuf>,
    /// connections to a file's data centre, 1 to 8 (2); more than 4 is unusual
    #[argh(option, arg_name = "number")]
    pub(super) connections: Option<u32>,
    /// MTProto proxy to use, as tg://proxy?…; may be repeated
    #[argh(option, arg_name = "link")]
    pub(super) proxy: Vec<Proxy>,
    /// user to change to after the ports are bound
    #[argh(option, arg_name = "name")]
    pub(super) user: Option<String>,
    /// log to syslog instead of stderr
    #[argh(switch)]
    pub(super) syslog: bool,
    /// log more; may be repeated
    #[argh(switch, short = 'v')]
    pub(super) verbose: u8,
}

/// Check the configuration and print every error
#[derive(FromArgs, Debug, Default, PartialEq)]
#[argh(subcommand, name = "check", help_triggers("-h", "--help", "help"))]
pub(super) struct CheckArgs {
    /// configuration in UCI format (/etc/config/mtfetch)
    #[argh(option, short = 'c')]
    pub(super) config: Option<PathBuf>,
}

/// A command line without a command to run.
#[derive(Debug)]
pub(super) enum NoCommand {
    /// The help text that was asked for.
    Help(String),
    /// What is wrong.
    Wrong(String),
}

pub(super) fn parse(arguments: Vec<OsString>) -> Result<Args, NoCommand> {
    let mut words = Vec::new();
    let mut ended = false;
    for argument in arguments {
        let text = argument
            .into_string()
            .map_err(|raw| NoCommand::Wrong(format!("not UTF-8: {}", raw.to_string_lossy())))?;
        ended |= text == "--";
        if ended {
            words.push(text);
        } else {
            words.extend(usual_forms(text));
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Args::from_args(&["mtfetch"], &words).map_err(|exit| match exit.status {
        Ok(()) => NoCommand::Help(exit.output),
        Err(()) => NoCommand::Wrong(format!("{} (mtfetch --help explains)", exit.output.trim_end())),
    })
}

/// Expands two common forms that the parser does not know: `-vv` and `--option=value`.
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
