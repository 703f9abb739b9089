//! The ubus methods of the object `mtrelay` that act or hold secrets: `sessions`, `link`, `check` and `reload`.

use super::build::dial_options;
use super::instance::Daemon;
use super::reload::ReloadError;
use crate::link;
use crate::metrics::{Emit, Snapshot};
use crate::probe;
use crate::relay::panic_guard;
use crate::ubus::{self, Check, Document, Failure, Service, Status};
use mtrelay_core::config::value::public_host;
use mtrelay_core::dc::DcId;
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::clock;
use std::rc::Rc;
use std::time::Duration;
use wire::Mode;

/// Time limit of one `check` call.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit of connecting within a check. With the 4 s that a probe gives to the answer it stays below [`CHECK_TIMEOUT`].
const MAX_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before the object is registered again after a panic in a call.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// Keeps the object registered on ubus. A panic in a call ends neither the sessions nor the object.
pub(super) async fn serve(daemon: Rc<Daemon>) {
    let socket = daemon.relay.active().config.ubus_socket.clone();
    loop {
        let serving = ubus::serve(socket.as_deref(), &daemon, &daemon.notifications.queue);
        panic_guard::Guarded::new(daemon.relay.shared.stats.clone(), Box::pin(serving)).await;
        Timer::after(AFTER_PANIC).await;
    }
}

impl Service for Rc<Daemon> {
    fn snapshot(&self) -> Snapshot {
        Daemon::snapshot(self)
    }

    fn emit_sessions(&self, offset: usize, limit: usize, out: &mut dyn Emit) {
        self.relay
            .shared
            .stats
            .emit_sessions(offset, limit, clock::now(), out);
    }

    fn emit_links(&self, user: &str, host: Option<&str>, out: &mut dyn Emit) -> Result<(), Failure> {
        let active = self.relay.active();
        let config = &active.config;
        let mut users = config.users.iter();
        let user = users.find(|known| known.enabled && known.name == user);
        let user = user.ok_or(Status::NOT_FOUND)?;
        // A form sends an empty host field as an empty text.
        let host = host.filter(|host| !host.is_empty());
        let is_invalid = host.is_some_and(|host| public_host(host).is_err());
        let (host, port) = link::endpoint(config, host).map_err(|error| Failure {
            status: if is_invalid {
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
        let active = self.relay.active();
        if active.config.dcs.lookup(id).is_none() {
            return Err(Status::NOT_FOUND.into());
        }
        Ok(Box::pin(async move {
            let config = &active.config;
            let addresses = config.dcs.lookup(id).unwrap_or_default();
            let mut options = dial_options(config);
            let connect_timeout = options
                .connect_timeout
                .map_or(MAX_CONNECT_TIMEOUT, |own| own.min(MAX_CONNECT_TIMEOUT));
            options.connect_timeout = Some(connect_timeout);
            let timed_out = async {
                Timer::after(CHECK_TIMEOUT).await;
                None
            };
            let probed = async { Some(probe::dc(id, addresses, &options).await) };
            let mut document = Document::new();
            match smol::future::or(probed, timed_out).await {
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
            ReloadError::Rejected(errors) => Failure {
                status: Status::UNKNOWN_ERROR,
                error: Some(errors),
            },
        })
    }
}
