//! `mtrelay link`.

use super::args::LinkArgs;
use super::config_file::{load, path};
use super::exit_code::FAILED;
use super::terminal::Terminal;
use crate::config::Config;
use crate::link;
use mtrelay_core::quote::Quoted;

/// `mtrelay link`: prints the links of every enabled user, or of one.
pub(super) fn link(args: &LinkArgs, terminal: &mut Terminal) -> u8 {
    let file = path(args.config.as_deref());
    let (Some(config), _) = load(file, true, terminal) else {
        return FAILED;
    };
    if let Some(name) = &args.user
        && let Err(what) = find_user(&config, name)
    {
        let name = Quoted {
            mark: '\'',
            text: name,
        };
        return terminal.fail(match what {
            UserError::Unknown => format!("{}: no user {name}", file.display()),
            UserError::Disabled => format!("{}: user {name} is not enabled", file.display()),
        });
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

/// Why a user named on the command line has no links.
enum UserError {
    Unknown,
    Disabled,
}

fn find_user(config: &Config, name: &str) -> Result<(), UserError> {
    match config.users.iter().find(|user| user.name == name) {
        None => Err(UserError::Unknown),
        Some(user) if !user.enabled => Err(UserError::Disabled),
        Some(_) => Ok(()),
    }
}
