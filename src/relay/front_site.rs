//! The front site: the HTTPS site that unauthenticated clients are connected to, so that a probe sees that site and nothing of ours.
//!
//! Its name is resolved once for all connections of the next minutes. A name that leads back to our own listeners is not used.

use crate::stats::Stats;
use mtrelay_core::dial::RetrySchedule;
use mtrelay_core::dial::{Connected, Dialer};
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::{clock, random, socket};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Time for which resolved addresses are used before the name is resolved again.
const NAME_LIFETIME: Duration = Duration::from_secs(300);
/// Time after which a name that did not resolve is tried again.
const FAILED_NAME_LIFETIME: Duration = Duration::from_secs(10);
/// Interval at which connections look for the result of the first resolution, which another one has begun.
const RESOLVE_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Spread in bytes of the flight's length, where measurements have shown less: the length of an ECDSA signature varies by as much.
const MIN_FLIGHT_SPREAD: usize = 4;

/// What the configuration says of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Host and port.
    pub address: String,
    /// The server name in our own ClientHello when the flight is measured.
    pub server_name: Option<String>,
    /// Our own listeners; the site must not be one of them.
    pub own: Vec<SocketAddr>,
    /// Interval of the measurements; `None`: the flight is not measured.
    pub measure: Option<Duration>,
}

/// The front site, with its resolved addresses and its measured flight.
pub struct FrontSite {
    /// What the configuration says.
    pub site: Site,
    dialer: Rc<Dialer>,
    stats: Rc<Stats>,
    resolved: RefCell<Vec<SocketAddr>>,
    resolved_until: Cell<Option<Instant>>,
    is_resolving: Cell<bool>,
    /// The last connection failed, and the log says so already.
    is_failing: Cell<bool>,
    /// The shortest and the longest flight of the last measurement, in bytes.
    flight: Cell<Option<(usize, usize)>>,
}

impl FrontSite {
    /// A site that is neither resolved nor measured yet.
    #[must_use]
    pub fn new(site: Site, dialer: Rc<Dialer>, stats: Rc<Stats>) -> FrontSite {
        FrontSite {
            site,
            dialer,
            stats,
            resolved: RefCell::default(),
            resolved_until: Cell::new(None),
            is_resolving: Cell::new(false),
            is_failing: Cell::new(false),
            flight: Cell::new(None),
        }
    }

    /// A length for the encrypted record in our answers, drawn from the measured range; `None` until the site is measured.
    pub fn flight_len(&self) -> Option<usize> {
        let (shortest, longest) = self.flight.get()?;
        let spread = (longest.saturating_sub(shortest) + 1).max(MIN_FLIGHT_SPREAD);
        Some(shortest + random::below(spread))
    }

    /// Sets the measured range of the flight's length.
    pub fn set_flight(&self, shortest: usize, longest: usize) {
        self.flight.set(Some((shortest, longest)));
    }

    /// Connects to the site. A failure is counted, and the first one of a row is logged.
    pub async fn connect(&self) -> Option<Async<TcpStream>> {
        let addresses = self.addresses(clock::now()).await;
        let mut schedule = RetrySchedule::default();
        let connected = self
            .dialer
            .connect(None, &addresses, &mut schedule, &mut |_, _| {})
            .await;
        match connected {
            Ok(Connected { connection, .. }) => {
                self.is_failing.set(false);
                Some(connection)
            }
            Err(error) => {
                self.stats.fronted_failed();
                if !self.is_failing.replace(true) {
                    log::warn!("front: {} cannot be reached: {error}", self.site.address);
                }
                None
            }
        }
    }

    async fn addresses(&self, now: Instant) -> Vec<SocketAddr> {
        while self.is_resolving.get() && self.resolved.borrow().is_empty() {
            Timer::after(RESOLVE_POLL_INTERVAL).await;
        }
        // During a later resolution other connections use the addresses of the one before.
        let is_fresh = self.resolved_until.get().is_some_and(|until| now < until);
        if !is_fresh && !self.is_resolving.get() {
            let _resolving = Resolving::begin(&self.is_resolving);
            let found = self.resolve().await;
            let lifetime = if found.is_empty() {
                FAILED_NAME_LIFETIME
            } else {
                NAME_LIFETIME
            };
            self.resolved_until.set(now.checked_add(lifetime));
            if !found.is_empty() {
                *self.resolved.borrow_mut() = found;
            }
        }
        self.resolved.borrow().clone()
    }

    async fn resolve(&self) -> Vec<SocketAddr> {
        let address = &self.site.address;
        let answer: io::Result<Vec<SocketAddr>> = smol::net::resolve(address.as_str()).await;
        let mut addresses = answer.unwrap_or_else(|error| {
            log::warn!("front: {address} does not resolve ({error})");
            Vec::new()
        });
        addresses.retain(|address| {
            let is_own = self.site.own.iter().any(|own| leads_to(*own, *address));
            if is_own {
                log::warn!(
                    "front: {} is {address}, a listener of this relay: not used",
                    self.site.address
                );
            }
            !is_own
        });
        addresses
    }
}

/// Whether connecting to `address` reaches the listener `own`.
fn leads_to(own: SocketAddr, address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let same_family = own.is_ipv4() == ip.is_ipv4();
    own.port() == address.port()
        && same_family
        && (own.ip() == ip || own.ip().is_unspecified() && socket::is_local(ip))
}

/// A resolution in progress. The flag is cleared on drop, also when the task that resolves is cancelled.
struct Resolving<'a>(&'a Cell<bool>);

impl<'a> Resolving<'a> {
    fn begin(flag: &'a Cell<bool>) -> Resolving<'a> {
        flag.set(true);
        Resolving(flag)
    }
}

impl Drop for Resolving<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_lead_to_a_listener_on_all_of_them() {
        for (own, address, leads) in [
            ("0.0.0.0:443", "127.0.0.9:443", true),
            ("0.0.0.0:443", "127.0.0.9:444", false),
            ("0.0.0.0:443", "192.0.2.1:443", false),
            ("0.0.0.0:443", "[::ffff:127.0.0.1]:443", true),
            ("127.0.0.1:443", "127.0.0.1:443", true),
            ("127.0.0.1:443", "127.0.0.2:443", false),
            ("192.0.2.1:443", "192.0.2.1:443", true),
            ("[::]:443", "127.0.0.1:443", false),
            ("[::]:443", "[2001:db8::1]:443", false),
        ] {
            let is = leads_to(own.parse().unwrap(), address.parse().unwrap());
            assert_eq!(is, leads, "{own} {address}");
        }
    }
}
