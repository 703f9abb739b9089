//! A relay under the bench: ours, or one of the limits, each with a data centre of its own.

use crate::load::{Opening, SECRET};
use crate::plain::Way;
use mtrelay_test_support::{Mode, Relay, RelayConfig};
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) pid: u32,
    /// Where it connects to.
    pub(crate) dc: TcpListener,
    pub(crate) opening: Opening,
    _process: Process,
}

/// Where a relay stands.
pub(crate) struct Place {
    pub(crate) listen: IpAddr,
    /// What it connects to.
    pub(crate) dc: TcpListener,
}

impl Place {
    fn local() -> Place {
        Place {
            listen: Ipv4Addr::LOCALHOST.into(),
            dc: TcpListener::bind("127.0.0.1:0").expect("a port is free"),
        }
    }
}

enum Process {
    Ours(#[expect(dead_code, reason = "held until the end")] Relay),
    Plain(Child),
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Process::Plain(child) = self {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Subject {
    pub(crate) fn mtrelay(bin: &str, mode: Mode, fast_mode: bool, options: &[(&str, &str)]) -> Subject {
        Subject::mtrelay_at(Place::local(), bin, mode, fast_mode, options)
    }

    pub(crate) fn mtrelay_at(
        place: Place,
        bin: &str,
        mode: Mode,
        fast_mode: bool,
        options: &[(&str, &str)],
    ) -> Subject {
        let Place { listen, dc } = place;
        let config = RelayConfig::simple(SECRET, dc.local_addr().expect("it is bound"))
            .listen(&[&format!("{listen}:0")])
            .fast_mode(fast_mode)
            .option("log_level", "info")
            .option("max_sessions", 6000);
        let config = options
            .iter()
            .fold(config, |config, (name, value)| config.option(name, value));
        let relay = Relay::start(bin, &config);
        let mode_name = match &mode {
            Mode::Plain(_) => "plain",
            Mode::Dd => "dd",
            Mode::Ee { .. } => "ee",
        };
        let mut name = format!("{mode_name}{}", if fast_mode { " fast" } else { "" });
        options
            .iter()
            .for_each(|(option, value)| name.push_str(&format!(" {option}={value}")));
        Subject {
            name,
            addr: relay.addr(),
            pid: relay.pid(),
            dc,
            opening: Opening::Telegram(mode),
            _process: Process::Ours(relay),
        }
    }

    pub(crate) fn plain(way: Way) -> Subject {
        Subject::plain_at(Place::local(), way)
    }

    pub(crate) fn plain_at(place: Place, way: Way) -> Subject {
        let Place { listen, dc } = place;
        let to = dc.local_addr().expect("it is bound").to_string();
        let mut command = Command::new(std::env::current_exe().expect("we run"));
        command.arg("plain");
        let name = match way {
            Way::Copy => {
                command.arg("copy");
                "copy".to_string()
            }
            Way::Splice(size) => {
                command.arg("splice").arg(size.to_string());
                format!("splice {}K", size / 1024)
            }
        };
        let mut child = command
            .args([&listen.to_string(), &to])
            .stdout(Stdio::piped())
            .spawn()
            .expect("we can run again");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("it says its address");
        Subject {
            name,
            addr: line.trim().parse().expect("an address"),
            pid: child.id(),
            dc,
            opening: Opening::Bare,
            _process: Process::Plain(child),
        }
    }

    pub(crate) fn dc_port(&self) -> u16 {
        self.dc.local_addr().expect("it is bound").port()
    }
}
