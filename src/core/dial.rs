//! Connections to data centres: the best address first, the others close behind it.
//!
//! Read RFC 8305 (happy eyeballs), then [`attempts`], which decides what is tried when, and [`health`], which remembers
//! how it went. This file gives them sockets, the clock and random numbers; [`Dialer::connect`] is the whole of it.
//!
//! Promises: a connection is closed as soon as nobody wants it; one that lost a race counts neither as made nor as
//! failed; and failures of our own (no descriptor, no right to use an interface) are not held against an address.

pub mod attempts;
pub mod health;
mod prewarm;

use crate::close::ConnectFailure;
use crate::dc::{DcId, Table};
use crate::reactor::{Async, Timer};
use crate::sys::{clock, random, socket};
use attempts::{Action, EndReason, NextDial, Race, RetrySchedule};
use health::{AddressFailure, AddressHealth, Health, HealthChange, HealthState};
use prewarm::Prewarm;
use smol::LocalExecutor;
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

/// Which family goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreferIpv6 {
    /// Both are raced; IPv6 is the first of equals.
    #[default]
    Auto,
    /// All IPv6 that is not in trouble goes before IPv4.
    Always,
    /// IPv4 only.
    Never,
}

/// What the owner may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DialOptions {
    /// How long one address may take; without it, for as long as the kernel tries.
    pub connect_timeout: Option<Duration>,
    /// Which family goes first.
    pub prefer_ipv6: PreferIpv6,
    /// The interface by which connections leave.
    pub bind_interface: Option<String>,
    /// The mark that their packets have, for policy routing.
    pub fwmark: Option<u32>,
    /// How many unused connections each recently used DC has at most.
    pub prewarm: u32,
}

/// A connection, and how it came about.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub connection: Async<TcpStream>,
    /// Where it leads.
    pub address: SocketAddr,
    /// It is IPv4 because IPv6 failed, now or before.
    pub ipv6_fallback: bool,
    /// It was made before it was needed. It may be stale, which then says nothing about its address.
    pub warm: bool,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialError {
    /// There is no address that may be used.
    NoAddress,
    /// Every address refused.
    Refused,
    /// All schedule are used up.
    Exhausted,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "no address of a family that may be used",
            Self::Refused => "every address refused",
            Self::Exhausted => "no address answered in any round",
        })
    }
}

impl std::error::Error for DialError {}

/// Connects, and remembers how it went. One for all sessions.
pub struct Dialer {
    executor: Rc<LocalExecutor<'static>>,
    options: RefCell<Rc<DialOptions>>,
    health: RefCell<Health>,
    warm: RefCell<Prewarm>,
    /// A task waits for warm connections to expire.
    watched: Cell<bool>,
    /// The log knows that our own options keep us from connecting.
    warned: Cell<bool>,
}

impl Dialer {
    /// A dialer that knows nothing yet. Its work in the background runs on `executor`.
    #[must_use]
    pub fn new(executor: Rc<LocalExecutor<'static>>, options: DialOptions) -> Rc<Dialer> {
        Rc::new(Dialer {
            executor,
            options: RefCell::new(Rc::new(options)),
            health: RefCell::default(),
            warm: RefCell::default(),
            watched: Cell::new(false),
            warned: Cell::new(false),
        })
    }

    /// The next connection of a session: at once where there is an address that it has not tried, after a wait where all
    /// have had their turn. `schedule` belongs to the session and begins as its default. Each failed attempt is told to
    /// `on_failure`. `dc` names whose warm connections may serve; without it none may.
    ///
    /// # Errors
    /// There is no use in going on.
    pub async fn connect(
        self: &Rc<Self>,
        dc: Option<DcId>,
        addresses: &[SocketAddr],
        schedule: &mut RetrySchedule,
        on_failure: &mut dyn FnMut(SocketAddr, ConnectFailure),
    ) -> Result<Connected, DialError> {
        let usable = self.usable(addresses);
        if usable.is_empty() {
            return Err(DialError::NoAddress);
        }
        let warm = dc
            .filter(|_| schedule.is_first())
            .and_then(|dc| self.take(dc, &usable));
        let connected = match warm {
            Some(connected) => {
                schedule.handle_warm();
                connected
            }
            // Boxed, so that sessions are small once they have their connection.
            None => Box::pin(self.dial(&usable, schedule, on_failure)).await?,
        };
        let now = clock::now();
        if let Some(dc) = dc
            && self.prewarm() > 0
        {
            self.warm.borrow_mut().used(dc, addresses, now);
            self.fill(dc);
        }
        self.probe(&usable, now);
        Ok(connected)
    }

    /// Whether there is an address to which the session of `schedule` has not been connected yet.
    #[must_use]
    pub fn has_other(&self, addresses: &[SocketAddr], schedule: &RetrySchedule) -> bool {
        schedule.has_other(&self.usable(addresses))
    }

    /// A connection was accepted, and then the address was silent or closed without an answer. A warm connection was
    /// perhaps only stale: then just the others like it are closed.
    pub fn suspect(&self, address: SocketAddr, warm: bool) {
        log::debug!(
            "dial: {address} does not answer{}",
            if warm { " (warm)" } else { "" }
        );
        if warm {
            self.warm.borrow_mut().drop_address(address);
        } else {
            self.note_address_failure(address, AddressFailure::Unanswered);
        }
    }

    /// A session has lost its connection: nothing was acknowledged any more.
    pub fn timed_out(&self, address: SocketAddr) {
        self.health.borrow_mut().handle_dc_timeout(address);
    }

    /// A connection has brought an answer.
    pub fn answered(&self, address: SocketAddr) {
        self.health.borrow_mut().handle_answered(address, clock::now());
    }

    /// The way to the addresses has changed (a new WAN): no trouble of the past counts, no connection is kept for later.
    pub fn forget(&self) {
        self.warned.set(false);
        self.health.borrow_mut().forget();
        self.warm.borrow_mut().clear();
    }

    /// Forgets what the table no longer has.
    pub fn retain(&self, table: &Table) {
        let known = |address| table.iter().any(|(_, addresses)| addresses.contains(&address));
        self.health.borrow_mut().retain(known);
        self.warm.borrow_mut().retain(table);
    }

    /// Other options, for all connections from now on.
    pub fn set_options(&self, options: DialOptions) {
        if *self.options() != options {
            self.options.replace(Rc::new(options));
            self.warned.set(false);
            self.warm.borrow_mut().clear();
        }
    }

    /// Closes all warm connections, because descriptors are short. Returns whether there were any.
    pub fn drop_warm(&self) -> bool {
        self.warm.borrow_mut().drop_all(clock::now())
    }

    /// How many warm connections there are.
    #[must_use]
    pub fn warm_connections(&self) -> usize {
        self.warm.borrow().len()
    }

    /// What addresses have come to since this was last asked for, in their order.
    pub fn take_changes(&self) -> impl Iterator<Item = HealthChange> + use<> {
        self.health.borrow_mut().take_changes()
    }

    /// How an address fares.
    #[must_use]
    pub fn report(&self, address: SocketAddr, now: Instant) -> AddressHealth {
        self.health.borrow().report(address, now)
    }

    /// Races in schedule until one is won or none is left.
    async fn dial(
        &self,
        addresses: &[SocketAddr],
        schedule: &mut RetrySchedule,
        on_failure: &mut dyn FnMut(SocketAddr, ConnectFailure),
    ) -> Result<Connected, DialError> {
        loop {
            match schedule.poll_next(addresses, draw()) {
                NextDial::Dial { after } if after.is_zero() => {}
                NextDial::Dial { after } => {
                    log::debug!(
                        "dial: all have had their turn; again in {} ms",
                        after.as_millis() as u64
                    );
                    Timer::after(after).await;
                }
                NextDial::Refused => return Err(DialError::Refused),
                NextDial::Exhausted => return Err(DialError::Exhausted),
            }
            let tried = schedule.tried();
            let mut failed = |address, kind| {
                schedule.handle_failed(address, kind);
                on_failure(address, kind);
            };
            if let Some((connection, address)) = self.race(addresses, &tried, &mut failed).await {
                schedule.handle_connected(address);
                return Ok(Connected {
                    connection,
                    address,
                    ipv6_fallback: self.falls_back(address, addresses),
                    warm: false,
                });
            }
        }
    }

    /// One race, with real sockets.
    async fn race(
        &self,
        addresses: &[SocketAddr],
        tried: &[SocketAddr],
        failed: &mut dyn FnMut(SocketAddr, ConnectFailure),
    ) -> Option<(Async<TcpStream>, SocketAddr)> {
        let begun = clock::now();
        let options = self.options();
        let mut race = Race::new(
            addresses,
            &self.health.borrow(),
            options.prefer_ipv6,
            tried,
            begun,
        )
        .with_timeout(options.connect_timeout);
        let mut open: Vec<(SocketAddr, Async<TcpStream>)> = Vec::new();
        let mut timer = Timer::never();
        loop {
            let now = clock::now();
            let at = now.saturating_duration_since(begun).as_millis() as u64;
            match race.poll_action(now) {
                Action::Start(address) => {
                    let report = self.report(address, now);
                    log::debug!("dial: {address} begun at {at} ms ({})", Remembered(report));
                    match self.begin(address, &options) {
                        Ok(connection) => open.push((address, connection)),
                        Err(begin_error) => {
                            let (error, theirs) = match &begin_error {
                                BeginError::Ours(error) => (error, false),
                                BeginError::Theirs(error) => (error, true),
                            };
                            let kind = self.note_failure(address, error, theirs, at);
                            race.handle_failed(address);
                            failed(address, kind);
                        }
                    }
                }
                Action::End(address, end) => {
                    open.retain(|attempt| attempt.0 != address);
                    match end {
                        EndReason::TimedOut => {
                            let kind = self.note_failure(address, &ErrorKind::TimedOut.into(), true, at);
                            failed(address, kind);
                        }
                        EndReason::Overtaken => {
                            log::debug!("dial: {address} overtaken at {at} ms");
                            self.note_address_failure(address, AddressFailure::Overtaken);
                        }
                        EndReason::Unneeded => log::trace!("dial: {address} not needed at {at} ms"),
                    }
                }
                Action::Done(None) => {
                    log::debug!("dial: none of {} connected in {at} ms", addresses.len());
                    return None;
                }
                Action::Done(Some(winner)) => {
                    let won = open.into_iter().find(|attempt| attempt.0 == winner)?;
                    socket::tune(won.1.get_ref());
                    log::debug!("dial: {winner} chosen at {at} ms: the first to connect");
                    return Some((won.1, winner));
                }
                Action::Wait(until) => {
                    match until {
                        Some(until) => timer.set_at(until),
                        None => timer = Timer::never(),
                    }
                    let Some((ready, outcome)) = event(&open, &mut timer).await else {
                        continue;
                    };
                    let now = clock::now();
                    let at = now.saturating_duration_since(begun).as_millis() as u64;
                    let address = open[ready].0;
                    match outcome {
                        Ok(()) => {
                            let rtt = race.handle_connected(address, now).unwrap_or_default();
                            log::debug!(
                                "dial: {address} connected at {at} ms ({} ms)",
                                rtt.as_millis() as u64
                            );
                            self.health.borrow_mut().handle_connected(address, rtt, now);
                        }
                        Err(error) => {
                            open.remove(ready);
                            let kind = self.note_failure(address, &error, true, at);
                            race.handle_failed(address);
                            failed(address, kind);
                        }
                    }
                }
            }
        }
    }

    /// Begins to connect. If there is no descriptor left, the warm connections give up theirs.
    fn begin(&self, address: SocketAddr, options: &DialOptions) -> Result<Async<TcpStream>, BeginError> {
        let open = || socket::open(address, options.bind_interface.as_deref(), options.fwmark);
        let opened = match open() {
            Err(error) if socket::is_out_of_descriptors(&error) && self.drop_warm() => open(),
            opened => opened,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if !self.warned.replace(true) {
                    log::warn!("no connection can be made: {error}");
                }
                return Err(BeginError::Ours(error));
            }
        };
        let connecting = socket::connect(opened, address).map_err(BeginError::Theirs)?;
        Async::new_nonblocking(connecting).map_err(BeginError::Ours)
    }

    fn note_failure(&self, address: SocketAddr, error: &io::Error, theirs: bool, at: u64) -> ConnectFailure {
        let kind = classify(error);
        log::debug!("dial: {address} failed at {at} ms: {kind} ({error})");
        if theirs {
            self.note_address_failure(address, AddressFailure::Connect(kind));
        }
        kind
    }

    fn note_address_failure(&self, address: SocketAddr, failure: AddressFailure) {
        let now = clock::now();
        let mut health = self.health.borrow_mut();
        health.handle_failure(address, failure, now, draw());
        log::debug!("dial: {address}: {}", Remembered(health.report(address, now)));
    }

    fn falls_back(&self, address: SocketAddr, addresses: &[SocketAddr]) -> bool {
        let (health, now) = (self.health.borrow(), clock::now());
        let is_failing = |address: &SocketAddr| health.state(*address, now) >= HealthState::Probation;
        let mut ipv6 = addresses.iter().filter(|address| address.is_ipv6());
        address.is_ipv4() && ipv6.any(is_failing)
    }

    /// A warm connection to an address that is not in trouble.
    fn take(&self, dc: DcId, addresses: &[SocketAddr]) -> Option<Connected> {
        let now = clock::now();
        let health = self.health.borrow();
        let good =
            |address| addresses.contains(&address) && health.state(address, now) < HealthState::Probation;
        let (connection, address) = self.warm.borrow_mut().take(dc, good, now)?;
        log::debug!("dial: {address} chosen: a warm connection of DC {dc}");
        Some(Connected {
            connection,
            address,
            ipv6_fallback: self.falls_back(address, addresses),
            warm: true,
        })
    }

    /// Lets an address that has cooled down prove itself; nobody waits for it.
    fn probe(self: &Rc<Self>, addresses: &[SocketAddr], now: Instant) {
        let probed = self.health.borrow_mut().poll_probe(addresses, now, draw());
        if let Some(address) = probed {
            let dialer = self.clone();
            let probe = async move {
                log::debug!("dial: {address} has cooled down: does it connect?");
                dialer.race(&[address], &[], &mut |_, _| {}).await;
            };
            self.executor.spawn(probe.boxed_local()).detach();
        }
    }

    /// Makes warm connections for `dc` until there are enough or none can be made.
    fn fill(self: &Rc<Self>, dc: DcId) {
        let begins = self
            .warm
            .borrow_mut()
            .begin_fill(dc, self.prewarm(), clock::now());
        if begins {
            let dialer = self.clone();
            let filling = async move {
                while dialer.fill_one(dc).await {}
                dialer.warm.borrow_mut().end_fill(dc);
            };
            self.executor.spawn(filling.boxed_local()).detach();
        }
    }

    async fn fill_one(self: &Rc<Self>, dc: DcId) -> bool {
        let now = clock::now();
        let Some(wanted) = self.warm.borrow().wanted(dc, self.prewarm(), now) else {
            return false;
        };
        let usable = self.usable(&wanted.addresses);
        let cooling = |address: &SocketAddr| self.report(*address, now).state == HealthState::Cooling;
        if usable.iter().all(cooling) {
            return false;
        }
        let Some((connection, address)) = self.race(&usable, &[], &mut |_, _| {}).await else {
            return false;
        };
        let times = (clock::now(), draw());
        self.warm
            .borrow_mut()
            .put(dc, &wanted, connection, address, self.prewarm(), times);
        if !self.watched.replace(true) {
            self.executor
                .spawn(Dialer::watch(Rc::downgrade(self)).boxed_local())
                .detach();
        }
        true
    }

    /// Closes warm connections that have grown old and has them renewed, for as long as there are any.
    async fn watch(dialer: Weak<Dialer>) {
        let next_expiry = || dialer.upgrade()?.warm.borrow().next_expiry();
        while let Some(at) = next_expiry() {
            Timer::at(at).await;
            let Some(dialer) = dialer.upgrade() else { return };
            let again = dialer.warm.borrow_mut().expire(clock::now());
            for dc in again {
                dialer.fill(dc);
            }
        }
        if let Some(dialer) = dialer.upgrade() {
            dialer.watched.set(false);
        }
    }

    fn options(&self) -> Rc<DialOptions> {
        self.options.borrow().clone()
    }

    fn prewarm(&self) -> usize {
        self.options.borrow().prewarm.try_into().unwrap_or(usize::MAX)
    }

    fn usable(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let prefer = self.options.borrow().prefer_ipv6;
        let allowed = |address: &&SocketAddr| attempts::allowed(**address, prefer);
        addresses.iter().filter(allowed).copied().collect()
    }
}

/// Whose fault it is that an attempt could not even begin.
enum BeginError {
    Ours(io::Error),
    Theirs(io::Error),
}

/// Connects this socket, without any of what a [`Dialer`] knows.
///
/// # Errors
/// As connect(2) and epoll_ctl(2).
pub async fn connect(opened: OwnedFd, address: SocketAddr) -> io::Result<Async<TcpStream>> {
    let connecting = Async::new_nonblocking(socket::connect(opened, address)?)?;
    connecting
        .write_with(|connecting| socket::outcome(connecting, address))
        .await?;
    Ok(connecting)
}

/// Waits until one of the attempts has ended (which one, and how) or the timer has fired.
async fn event(
    open: &[(SocketAddr, Async<TcpStream>)],
    timer: &mut Timer,
) -> Option<(usize, io::Result<()>)> {
    poll_fn(|context| {
        for (at, (address, connection)) in open.iter().enumerate() {
            while connection.may_write(context).is_ready() {
                match socket::outcome(connection.get_ref(), *address) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => connection.not_writable(),
                    outcome => return Poll::Ready(Some((at, outcome))),
                }
            }
        }
        Pin::new(&mut *timer).poll(context).map(|_| None)
    })
    .await
}

/// What is remembered of an address, for the log.
struct Remembered(AddressHealth);

impl fmt::Display for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        f.write_str(match report.state {
            HealthState::Healthy => "healthy",
            HealthState::Untried => "untried",
            HealthState::Probation => "has cooled down",
            HealthState::Cooling => "cooling",
        })?;
        if let Some(rtt) = report.rtt {
            write!(f, ", {} ms", rtt.as_millis() as u64)?;
        }
        if let Some(retry_in) = report.retry_in {
            write!(f, " for {} ms", retry_in.as_millis() as u64)?;
        }
        Ok(())
    }
}

fn draw() -> u32 {
    let mut bytes = [0; 4];
    random::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// The kind of an error of connect(2).
pub fn classify(error: &io::Error) -> ConnectFailure {
    match error.kind() {
        ErrorKind::ConnectionRefused => ConnectFailure::Refused,
        ErrorKind::TimedOut => ConnectFailure::Timeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            ConnectFailure::Unreachable
        }
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => ConnectFailure::Reset,
        _ => ConnectFailure::Other,
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "tests are the outside world: they connect"
)]
mod tests;
