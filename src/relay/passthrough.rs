//! Strangers: connections whose bytes go to the fronted site and back, untouched from the first one.
//!
//! To whoever knocks we are that site: its certificate, its alerts, its way and time of closing. The name is resolved
//! once for all strangers of the next minutes. What its certificates weigh is measured from time to time, so that our own
//! answers to users look as long.

use crate::relay::half::{self, Half, HalfEnd, Treatment};
use crate::relay::opening::fill;
use crate::relay::pulse::Pulse;
use crate::relay::settle::{Farewell, settle};
use crate::relay::{Shared, Taken};
use crate::stats::Stats;
use mtrelay_core::close::CloseReason;
use mtrelay_core::dial::attempts::RetrySchedule;
use mtrelay_core::dial::{Connected, Dialer};
use mtrelay_core::reactor::{Async, Timer};
use mtrelay_core::sys::{clock, socket};
use smol::future::{self, FutureExt as _};
use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};
use wire::faketls::flight::{self, Flight};

/// How long a name's addresses are believed.
const NAME_LIFETIME: Duration = Duration::from_secs(300);
/// How long a name that did not resolve is not asked for again.
const NO_NAME_LIFETIME: Duration = Duration::from_secs(10);
/// How often those look who wait for the first answer of all.
const NAME_LOOK: Duration = Duration::from_millis(100);

/// When the flight is measured first: not while a start has better things to do.
const FIRST_MEASURE: Duration = Duration::from_secs(30);
/// Handshakes at one measuring: signatures differ by a few bytes from one to the next.
const HANDSHAKES: usize = 3;
/// A site that is silent for this long has sent its flight.
const FLIGHT_PAUSE: Duration = Duration::from_secs(1);
const FLIGHT_PATIENCE: Duration = Duration::from_secs(10);
/// What a signature's length varies by, where no measuring has shown more.
const MIN_SPREAD: usize = 4;

/// What the configuration says of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Host and port.
    pub address: String,
    /// The name to ask for in a hello of our own.
    pub server_name: Option<String>,
    /// Our own listeners, to which no stranger may be sent.
    pub own: Vec<SocketAddr>,
    /// How often the flight is measured; `None`: never.
    pub measure: Option<Duration>,
}

/// A stranger's connection to the site.
pub struct Visit {
    site: Async<TcpStream>,
    pulse: Rc<Pulse>,
}

impl Visit {
    /// Waits until the site speaks or closes, before it was told anything; `false` when the visit had to make room.
    pub async fn is_over(&self) -> bool {
        let site = async {
            let _ = self.site.readable().await;
            true
        };
        let ended = async {
            self.pulse.ended().await;
            false
        };
        ended.or(site).await
    }
}

/// The site that strangers see.
pub struct Front {
    /// Where and what it is.
    pub site: Site,
    dialer: Rc<Dialer>,
    resolved: RefCell<Vec<SocketAddr>>,
    resolved_until: Cell<Option<Instant>>,
    is_resolving: Cell<bool>,
    /// It could not be shown the last time: the log knows.
    is_failing: Cell<bool>,
    /// The shortest and the longest flight measured last.
    flight: Cell<Option<(usize, usize)>>,
}

impl Front {
    /// Nothing is resolved yet.
    #[must_use]
    pub fn new(site: Site, dialer: Rc<Dialer>) -> Front {
        Front {
            site,
            dialer,
            resolved: RefCell::default(),
            resolved_until: Cell::new(None),
            is_resolving: Cell::new(false),
            is_failing: Cell::new(false),
            flight: Cell::new(None),
        }
    }

    /// Shows the site to a stranger who has sent `bytes` so far; `visit` was begun before, if there was reason to.
    pub async fn show(
        self: Rc<Self>,
        taken: Taken,
        bytes: Vec<u8>,
        visit: Option<Rc<Visit>>,
        shared: Rc<Shared>,
    ) {
        let Taken {
            connection: client,
            client: address,
        } = taken;
        let visit = match visit {
            Some(visit) => Some(visit),
            None => self.visit(address, &shared).await.map(Rc::new),
        };
        let Some(visit) = visit else {
            return settle(client, Farewell::Finish).await;
        };
        let fronted = shared.stats.fronted();
        let ended = async {
            visit.pulse.ended().await;
            Farewell::Finish
        };
        let both = splice(&client, &visit.site, &bytes, &visit.pulse, &shared);
        let farewell = both.or(ended).await;
        drop((visit, fronted));
        settle(client, farewell).await;
    }

    /// Connects to the site for a stranger at `client`.
    pub async fn visit(&self, client: IpAddr, shared: &Shared) -> Option<Visit> {
        let pulse = shared.fronted.begin(None, client);
        shared
            .fronted
            .end_oldest_beyond(shared.max_strangers, CloseReason::Limit);
        let ended = async {
            pulse.ended().await;
            None
        };
        let site = self.connect(&shared.stats).or(ended).await?;
        Some(Visit { site, pulse })
    }

    /// The length of an answer's encrypted record, if the site's is known.
    pub fn flight_len(&self) -> Option<usize> {
        let (shortest, longest) = self.flight.get()?;
        let spread = (longest.saturating_sub(shortest) + 1).max(MIN_SPREAD);
        Some(shortest + draw(spread))
    }

    /// Measures the flight again and again, as long as this front is the one.
    pub async fn keep_measured(front: Weak<Front>, stats: Rc<Stats>) {
        let Some(interval) = front.upgrade().and_then(|front| front.site.measure) else {
            return;
        };
        let mut pause = interval.min(FIRST_MEASURE);
        loop {
            // Up to twice as long, so that nobody learns the hour.
            Timer::after(pause + pause * draw(256) as u32 / 256).await;
            let Some(front) = front.upgrade() else { return };
            if let Some(measured) = front.measure(&stats).await {
                log::debug!("front: a flight of {} to {} bytes", measured.0, measured.1);
                front.flight.set(Some(measured));
            }
            pause = interval;
        }
    }

    async fn measure(&self, stats: &Stats) -> Option<(usize, usize)> {
        let mut measured: Option<(usize, usize)> = None;
        for _ in 0..HANDSHAKES {
            let site = self.connect(stats).await?;
            let hello = flight::client_hello(self.site.server_name.as_deref(), &mut fill);
            let patience = async {
                Timer::after(FLIGHT_PATIENCE).await;
                Ok(None)
            };
            let len = handshake(&site, &hello).or(patience).await.ok()??;
            let (shortest, longest) = measured.unwrap_or((len, len));
            measured = Some((shortest.min(len), longest.max(len)));
        }
        measured
    }

    async fn connect(&self, stats: &Stats) -> Option<Async<TcpStream>> {
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
                stats.fronted_failed();
                if !self.is_failing.replace(true) {
                    log::warn!("front: {} cannot be shown: {error}", self.site.address);
                }
                None
            }
        }
    }

    async fn addresses(&self, now: Instant) -> Vec<SocketAddr> {
        while self.is_resolving.get() && self.resolved.borrow().is_empty() {
            Timer::after(NAME_LOOK).await;
        }
        // While the answer is not here, the others use what was known before.
        let is_fresh = self.resolved_until.get().is_some_and(|until| now < until);
        if !is_fresh && !self.is_resolving.get() {
            let _resolving = Resolving::begin(&self.is_resolving);
            let found = self.resolve().await;
            let lifetime = if found.is_empty() {
                NO_NAME_LIFETIME
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
                    "front: {} is {address}, this relay itself: nobody is sent there",
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

/// Somebody is asking for the name; whatever becomes of them.
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

/// Both directions, until both have ended; gives how the client is to see the end.
async fn splice(
    client: &Async<TcpStream>,
    site: &Async<TcpStream>,
    bytes: &[u8],
    pulse: &Pulse,
    shared: &Shared,
) -> Farewell {
    let moved = |len| shared.stats.fronted_moved(len);
    let half = |from, to| Half {
        from,
        to,
        treatment: Treatment::default(),
        pool: &shared.pool,
        pipes: &shared.pipes,
        pulse,
        moved: &moved,
    };
    let farewell = Cell::new(Farewell::Finish);
    let site_has_closed = Cell::new(false);
    let up = async {
        match half(client, site).run_after(bytes).await {
            HalfEnd::Finished => {
                half::finish(site);
                pulse.half_closed();
                Ok(())
            }
            // A site that has closed answers further bytes with a reset, and so do we.
            HalfEnd::WriteFailed(_) if site_has_closed.get() => {
                farewell.set(Farewell::Reset);
                Err(())
            }
            HalfEnd::WriteFailed(_) => Ok(()),
            HalfEnd::ReadFailed(_) | HalfEnd::BadRecord => Err(()),
        }
    };
    let down = async {
        match half(site, client).run().await {
            HalfEnd::Finished => {
                half::finish(client);
                site_has_closed.set(true);
                pulse.half_closed();
                Ok(())
            }
            HalfEnd::ReadFailed(_) => {
                farewell.set(Farewell::Reset);
                Err(())
            }
            HalfEnd::WriteFailed(_) | HalfEnd::BadRecord => Err(()),
        }
    };
    let _: Result<_, ()> = future::try_zip(up, down).await;
    farewell.get()
}

/// Says hello and counts what comes until the site falls silent.
///
/// # Errors
/// When the connection fails; a site that closes instead of waiting for us has sent no flight.
async fn handshake(site: &Async<TcpStream>, mut hello: &[u8]) -> io::Result<Option<usize>> {
    while !hello.is_empty() {
        let len = site.write_with(|mut socket| socket.write(hello)).await?;
        hello = &hello[len..];
    }
    let mut flight = Flight::default();
    loop {
        let received = site.read_with(|mut socket| {
            let mut piece = [0; 2048];
            let len = socket.read(&mut piece)?;
            flight.handle_input(&piece[..len]);
            Ok(len)
        });
        let silence = async {
            Timer::after(FLIGHT_PAUSE).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        match received.or(silence).await {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(flight.encrypted_len()),
            Err(error) => return Err(error),
        }
    }
}

/// A number below `end`, which is at most 65,536.
fn draw(end: usize) -> usize {
    let mut drawn = [0; 2];
    fill(&mut drawn);
    usize::from(u16::from_le_bytes(drawn)) % end.max(1)
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
