//! `mtrelay status`.

use super::args::StatusArgs;
use super::config_file::{load, path};
use super::exit_code::FAILED;
use super::terminal::Terminal;
use crate::config::Config;
use crate::http;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// `mtrelay status`: prints the counters of the running daemon, read over HTTP from `stats_listen`.
pub(super) fn status(args: &StatusArgs, terminal: &mut Terminal) -> u8 {
    let file = path(args.config.as_deref());
    let config = if args.config.is_none() && !file.exists() {
        // `run` uses the defaults without a file, so their `stats_listen` is where it answers.
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
            "the program on {address} answers {code} (is it the relay?)"
        )),
        Err(error) => terminal.fail(format_args!(
            "no relay answers on {address}: {error} (is it running?)"
        )),
    }
}

/// The address at which this machine reaches a listener: loopback for a listener on all addresses.
pub(super) fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}
