//! The dialer: one for all sessions. It connects, remembers how each address did, and keeps prewarmed connections.

use super::attempts::RetrySchedule;
use super::health::{AddressFailure, AddressHealth, Health, HealthChange, HealthState};
use super::options::{DialOptions, allowed};
use super::outcome::{Connected, DialError, OnFailure};
use super::prewarm::Prewarm;
use crate::dc::{DcId, Table};
use crate::reactor::Timer;
use crate::sys::{clock, random};
use smol::LocalExecutor;
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Instant;

/// Connects to data centres, and remembers how each address did.
pub struct Dialer {
    pub(super) executor: Rc<LocalExecutor<'static>>,
    options: RefCell<Rc<DialOptions>>,
    pub(super) health: RefCell<Health>,
    pub(super) warm: RefCell<Prewarm>,
    /// A task waits for prewarmed connections to expire.
    has_expiry_task: Cell<bool>,
    /// The log says already that the local options prevent connections.
    pub(super) warned: Cell<bool>,
}

impl Dialer {
    /// A dialer without a history. Its background tasks run on `executor`.
    #[must_use]
    pub fn new(executor: Rc<LocalExecutor<'static>>, options: DialOptions) -> Rc<Dialer> {
        Rc::new(Dialer {
            executor,
            options: RefCell::new(Rc::new(options)),
            health: RefCell::default(),
            warm: RefCell::default(),
            has_expiry_task: Cell::new(false),
            warned: Cell::new(false),
        })
    }

    /// The next connection of a session: at once while it has an untried address, after a wait once it has tried all of them.
    ///
    /// `schedule` belongs to the session and starts as its default. `on_failure` is called for each failed attempt. `dc` names
    /// the DC whose prewarmed connections may serve; `None` excludes them.
    ///
    /// # Errors
    /// When the schedule ends without a connection.
    pub async fn connect(
        self: &Rc<Self>,
        dc: Option<DcId>,
        addresses: &[SocketAddr],
        schedule: &mut RetrySchedule,
        on_failure: &mut OnFailure<'_>,
    ) -> Result<Connected, DialError> {
        let usable = self.usable(addresses);
        if usable.is_empty() {
            return Err(DialError::NoAddress);
        }
        let warm = dc
            .filter(|_| schedule.is_first())
            .and_then(|dc| self.take_warm(dc, &usable));
        let connected = match warm {
            Some(connected) => {
                schedule.handle_warm();
                connected
            }
            // Boxed, so that a session's future is small once it has its connection.
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

    /// Whether the session of `schedule` has an address left to which it has not been connected.
    #[must_use]
    pub fn has_other(&self, addresses: &[SocketAddr], schedule: &RetrySchedule) -> bool {
        schedule.has_other(&self.usable(addresses))
    }

    /// Notes that a DC accepted a connection and then was silent or closed without an answer. A prewarmed connection may have
    /// been stale: then only the prewarmed connections to the same address are closed.
    pub fn suspect(&self, address: SocketAddr, warm: bool) {
        log::debug!(
            "dial: {address} does not answer{}",
            if warm { " (prewarmed)" } else { "" }
        );
        if warm {
            self.warm.borrow_mut().drop_address(address);
        } else {
            self.note_address_failure(address, AddressFailure::Unanswered);
        }
    }

    /// Counts a session that ended with `dc_timeout`: the address acknowledged nothing any more.
    pub fn timed_out(&self, address: SocketAddr) {
        self.health.borrow_mut().handle_dc_timeout(address);
    }

    /// Notes that a connection to the address brought an answer.
    pub fn answered(&self, address: SocketAddr) {
        self.health.borrow_mut().handle_answered(address, clock::now());
    }

    /// Forgets all failures and closes the prewarmed connections, because the route has changed (a new WAN).
    pub fn forget(&self) {
        self.warned.set(false);
        self.health.borrow_mut().forget();
        self.warm.borrow_mut().clear();
    }

    /// Forgets every address that the table does not have.
    pub fn retain(&self, table: &Table) {
        let known = |address| table.iter().any(|(_, addresses)| addresses.contains(&address));
        self.health.borrow_mut().retain(known);
        self.warm.borrow_mut().retain(table);
    }

    /// Sets the options of all connections from now on.
    pub fn set_options(&self, options: DialOptions) {
        if *self.options() != options {
            self.options.replace(Rc::new(options));
            self.warned.set(false);
            self.warm.borrow_mut().clear();
        }
    }

    /// Closes all prewarmed connections, to free their descriptors. Returns whether one existed.
    pub fn drop_warm(&self) -> bool {
        self.warm.borrow_mut().drop_all(clock::now())
    }

    /// The number of prewarmed connections.
    #[cfg(test)]
    pub(super) fn warm_connections(&self) -> usize {
        self.warm.borrow().len()
    }

    /// Changes of addresses' health since the last call, oldest first.
    pub fn take_changes(&self) -> impl Iterator<Item = HealthChange> + use<> {
        self.health.borrow_mut().take_changes()
    }

    /// The health of one address.
    #[must_use]
    pub fn report(&self, address: SocketAddr, now: Instant) -> AddressHealth {
        self.health.borrow().report(address, now)
    }

    pub(super) fn options(&self) -> Rc<DialOptions> {
        self.options.borrow().clone()
    }

    /// A prewarmed connection to an address that is not failing.
    fn take_warm(&self, dc: DcId, addresses: &[SocketAddr]) -> Option<Connected> {
        let now = clock::now();
        let health = self.health.borrow();
        let is_good =
            |address| addresses.contains(&address) && health.state(address, now) < HealthState::Probation;
        let (connection, address) = self.warm.borrow_mut().take(dc, is_good, now)?;
        log::debug!("dial: {address} chosen: prewarmed for DC {dc}");
        Some(Connected {
            connection,
            address,
            ipv6_fallback: self.is_ipv6_fallback(address, addresses),
            warm: true,
        })
    }

    /// Connects in the background to one address whose cool-down is over, so that no session has to wait for it.
    fn probe(self: &Rc<Self>, addresses: &[SocketAddr], now: Instant) {
        let probed = self.health.borrow_mut().poll_probe(addresses, now, random::u32());
        if let Some(address) = probed {
            let dialer = self.clone();
            let probe = async move {
                log::debug!("dial: {address}: cool-down over, connecting to test it");
                dialer.race(&[address], &[], &mut |_, _| {}).await;
            };
            self.executor.spawn(probe.boxed_local()).detach();
        }
    }

    /// Makes prewarmed connections for `dc` in the background, until the limit is reached or one fails.
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
        let times = (clock::now(), random::u32());
        self.warm
            .borrow_mut()
            .put(&wanted, connection, address, self.prewarm(), times);
        if !self.has_expiry_task.replace(true) {
            self.executor
                .spawn(Dialer::expire(Rc::downgrade(self)).boxed_local())
                .detach();
        }
        true
    }

    /// Closes expired prewarmed connections and makes new ones, while any exist.
    async fn expire(dialer: Weak<Dialer>) {
        let next_expiry = || dialer.upgrade()?.warm.borrow().next_expiry();
        while let Some(at) = next_expiry() {
            Timer::at(at).await;
            let Some(dialer) = dialer.upgrade() else { return };
            let to_fill = dialer.warm.borrow_mut().expire(clock::now());
            for dc in to_fill {
                dialer.fill(dc);
            }
        }
        if let Some(dialer) = dialer.upgrade() {
            dialer.has_expiry_task.set(false);
        }
    }

    fn prewarm(&self) -> usize {
        self.options.borrow().prewarm.try_into().unwrap_or(usize::MAX)
    }

    fn usable(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let prefer = self.options.borrow().prefer_ipv6;
        let allowed = |address: &&SocketAddr| allowed(**address, prefer);
        addresses.iter().filter(allowed).copied().collect()
    }
}
