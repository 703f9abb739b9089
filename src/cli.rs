//! The command line: one module for each command that ends by itself.
//!
//! Exit codes are a promise to scripts: 0 success, 1 something failed, 2 the command line or the configuration is invalid
//! (for `link` an invalid configuration is 1). Answers go to stdout and errors to stderr, so that `mtrelay link | head -1` and
//! `mtrelay secret > file` work. A reader that closes the pipe early causes no error.

mod args;
mod check;
mod config_file;
mod exit_code;
mod link;
mod status;
mod terminal;

use crate::daemon;
use args::{Command, RunArgs, SecretArgs, Stop};
use exit_code::USAGE;
use mtrelay_core::sys::random;
use mtrelay_core::sys::stdio::Stdio;
use std::ffi::OsString;
use std::process::ExitCode;
use terminal::Terminal;
use wire::secret::{Form, Secret, Written};

/// Reads the command line, runs the command and returns its exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut terminal = Terminal {
        out: Box::new(Stdio::out()),
        err: Box::new(Stdio::err()),
    };
    let code = dispatch(arguments, &mut terminal);
    ExitCode::from(code)
}

fn dispatch(arguments: Vec<OsString>, terminal: &mut Terminal) -> u8 {
    let args = match args::parse(arguments) {
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
            USAGE
        }
        Some(Command::Run(args)) => run(args, terminal),
        Some(Command::Check(args)) => check::check(&args, terminal),
        Some(Command::Link(args)) => link::link(&args, terminal),
        Some(Command::Secret(args)) => secret(&args, terminal),
        Some(Command::Status(args)) => status::status(&args, terminal),
    }
}

/// `mtrelay run`: the daemon, in the foreground.
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
        Err(daemon::StartError::Config(errors)) => {
            for error in errors {
                terminal.complain(&format!("mtrelay: {error}"));
            }
            USAGE
        }
        Err(daemon::StartError::System(error)) => terminal.fail(error),
    }
}

/// `mtrelay secret`: prints a new secret.
fn secret(args: &SecretArgs, terminal: &mut Terminal) -> u8 {
    let form = match args.tls.as_deref().map(mtrelay_core::config::value::domain) {
        None => Form::Plain,
        Some(Ok(domain)) => Form::Ee(domain),
        Some(Err(wrong)) => {
            terminal.complain(&format!("mtrelay: the domain {wrong}"));
            return USAGE;
        }
    };
    let mut bytes = [0; 16];
    if let Err(error) = random::try_fill(&mut bytes) {
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
