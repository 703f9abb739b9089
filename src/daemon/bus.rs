//! The daemon as the object on ubus sees it: what the methods that do more than look are made of, and what subscribers are told.

use crate::daemon::{Daemon, ReloadError, dial_options};
use crate::link;
use crate::probe;
use crate::relay::isolate;
use crate::stats::Emit;
use crate::stats::snapshot::Snapshot;
use crate::ubus::{self, Check, Document, Failure, Notice, Notices, Service, Status};
use mtrelay_core::config::value::public_host;
use mtrelay_core::dc::{DcId, Table};
use mtrelay_core::dial::health::HealthChange;
use mtrelay_core::map::Map;
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::clock;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use wire::Mode;

/// How long a check may take, and connecting in it: with the time that a probe gives to the answer it is less.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the bus is left alone after a panic.
const AFTER_PANIC: Duration = Duration::from_secs(5);
/// Of the mistakes in a file, as many are told as fit into this many bytes.
const MISTAKES_LEN: usize = 2048;

/// What is to be told, and what was.
#[derive(Default)]
pub(super) struct Bus {
    notices: Notices,
    /// The addresses that subscribers hold for down.
    down: RefCell<Map<SocketAddr, ()>>,
}

/// Keeps the object on the bus. Should any call find a fault of ours, sessions live on, and so does the object.
pub(super) async fn serve(daemon: Rc<Daemon>) {
    let socket = daemon.current.borrow().config.ubus_socket.clone();
    loop {
        let serving = ubus::serve(socket.as_deref(), &daemon, &daemon.bus.notices);
        isolate::isolated(&daemon.shared.stats, serving).await;
        Timer::after(AFTER_PANIC).await;
    }
}

impl Bus {
    /// Tells of every data centre's address that went down or came back. Being slow is not being down.
    pub(super) fn notify_changes(&self, changes: impl Iterator<Item = HealthChange>, dcs: &Table) {
        let mut down = self.down.borrow_mut();
        down.retain(|address| dcs.iter().any(|(_, list)| list.contains(address)));
        for HealthChange { address, failure } in changes {
            let concerned = dcs.iter().filter(|(_, list)| list.contains(&address));
            let mut concerned = concerned.map(|(id, _)| id.raw()).peekable();
            if concerned.peek().is_none() {
                continue;
            }
            let news = match failure {
                Some(_) => down.insert(address, ()).is_none(),
                None => down.remove(&address).is_some(),
            };
            for id in concerned.filter(|_| news) {
                self.notices.push(match failure.map(|failure| failure.name()) {
                    Some(error) => Notice::DcDown { id, address, error },
                    None => Notice::DcUp { id, address },
                });
            }
        }
    }

    /// Tells of a reload that was refused, and gives what it tells.
    pub(super) fn tell_rejected(&self, mistakes: &[&str]) -> String {
        let error = joined(mistakes);
        self.notices.push(Notice::ConfigRejected { error: error.clone() });
        error
    }
}

fn joined(mistakes: &[&str]) -> String {
    let mut text = String::new();
    for (told, mistake) in mistakes.iter().enumerate() {
        if told > 0 && text.len() + mistake.len() > MISTAKES_LEN {
            // Writing to a String cannot fail.
            let _ = write!(text, "\nand {} more", mistakes.len() - told);
            break;
        }
        if told > 0 {
            text.push('\n');
        }
        text.push_str(mistake);
    }
    text
}

impl Service for Rc<Daemon> {
    fn snapshot(&self) -> Snapshot {
        Daemon::snapshot(self)
    }

    fn emit_sessions(&self, offset: usize, limit: usize, out: &mut dyn Emit) {
        self.shared.stats.emit_sessions(offset, limit, clock::now(), out);
    }

    fn emit_links(&self, user: &str, host: Option<&str>, out: &mut dyn Emit) -> Result<(), Failure> {
        let current = self.current.borrow().clone();
        let config = &current.config;
        let mut users = config.users.iter();
        let user = users.find(|known| known.enabled && known.name == user);
        let user = user.ok_or(Status::NOT_FOUND)?;
        // An empty field of a form is no host.
        let host = host.filter(|host| !host.is_empty());
        let wrong = host.is_some_and(|host| public_host(host).is_err());
        let (host, port) = link::endpoint(config, host).map_err(|error| Failure {
            status: if wrong {
                Status::INVALID_ARGUMENT
            } else {
                Status::NO_DATA
            },
            error: Some(error),
        })?;
        let links = link::links(user, &host, port, config.modes, config.front_domain.as_deref());
        if links.is_empty() {
            return Err(Failure {
                status: Status::NO_DATA,
                error: Some("only ee is among the modes, and its links need front_domain".into()),
            });
        }
        out.array("links");
        for link in links {
            let mode = match link.mode {
                Mode::Plain => "plain",
                Mode::Dd => "dd",
                Mode::Ee => "ee",
            };
            out.table("");
            out.str("mode", mode);
            out.str("tg", &link.tg);
            out.str("https", &link.https);
            out.end();
        }
        out.end();
        Ok(())
    }

    fn check(&self, id: i64) -> Result<Check, Failure> {
        let id = i16::try_from(id).ok().and_then(DcId::new);
        let id = id.ok_or(Status::INVALID_ARGUMENT)?;
        let current = self.current.borrow().clone();
        if current.config.dcs.lookup(id).is_none() {
            return Err(Status::NOT_FOUND.into());
        }
        Ok(Box::pin(async move {
            let config = &current.config;
            let addresses = config.dcs.lookup(id).unwrap_or_default();
            let mut options = dial_options(config);
            let connect_timeout = options
                .connect_timeout
                .map_or(CONNECT_TIMEOUT, |own| own.min(CONNECT_TIMEOUT));
            options.connect_timeout = Some(connect_timeout);
            let late = async {
                Timer::after(CHECK_TIMEOUT).await;
                None
            };
            let tried = async { Some(probe::dc(id, addresses, &options).await) };
            let mut document = Document::new();
            match smol::future::or(tried, late).await {
                Some(report) => report.emit(&mut document),
                None => {
                    document.array("addresses");
                    document.end();
                    let verdict = format!("DC {id}: no verdict within {} s", CHECK_TIMEOUT.as_secs());
                    document.str("verdict", &verdict);
                }
            }
            document
        }))
    }

    fn reload(&self) -> Result<(), Failure> {
        Daemon::reload(self).map_err(|error| match error {
            ReloadError::NoFile => Failure {
                status: Status::NOT_SUPPORTED,
                error: Some("there is no configuration file".into()),
            },
            ReloadError::Refused(mistakes) => Failure {
                status: Status::UNKNOWN_ERROR,
                error: Some(mistakes),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_up_to_a_bound() {
        assert_eq!(joined(&["a", "b"]), "a\nb");
        let long = "x".repeat(1000);
        let all = joined(&[long.as_str(); 10]);
        assert!(
            all.len() < MISTAKES_LEN + 20 && all.ends_with("\nand 8 more"),
            "{all}"
        );
    }
}
