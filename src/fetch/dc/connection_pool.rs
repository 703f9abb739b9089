//! The connections of one data centre: a slot each, their common pace, flood waits and failures.

use super::failures::Failures;
use crate::call_error::CallError;
use crate::connection::{Connection, FloodWaitGate};
use crate::keyring::Keyring;
use crate::route::OpenError;
use crate::schedule::pace::Pace;
use mtrelay_core::notify::Notify;
use mtrelay_core::sys::{clock, random};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The connections of one data centre.
pub(super) struct ConnectionPool {
    pub(super) dc: i32,
    pub(super) keyring: Rc<Keyring>,
    pub(super) pace: RefCell<Pace>,
    pub(super) failures: RefCell<Failures>,
    pub(super) flood_wait: Rc<FloodWaitGate>,
    /// A connection opened or closed, or the pace has room again.
    pub(super) changed: Notify,
    slots: RefCell<Vec<Option<Rc<Connection>>>>,
    /// The route of the next connection. Each failure moves on to the next route.
    route_turn: Cell<usize>,
}

impl ConnectionPool {
    pub(super) fn new(dc: i32, keyring: Rc<Keyring>, slots: usize) -> ConnectionPool {
        ConnectionPool {
            dc,
            keyring,
            pace: RefCell::new(Pace::new(slots)),
            failures: RefCell::default(),
            flood_wait: Rc::default(),
            changed: Notify::default(),
            slots: RefCell::new(vec![None; slots]),
            route_turn: Cell::new(0),
        }
    }

    /// The upper bound of open connections.
    pub(super) fn capacity(&self) -> usize {
        self.slots.borrow().len()
    }

    pub(super) fn route_turn(&self) -> usize {
        self.route_turn.get()
    }

    /// The connection in this slot, if it is open.
    pub(super) fn get(&self, slot: usize) -> Option<Rc<Connection>> {
        let connection = self.slots.borrow().get(slot).cloned().flatten();
        connection.filter(|connection| connection.is_open())
    }

    /// The first connection that is open.
    pub(super) fn first_open(&self) -> Option<Rc<Connection>> {
        let slots = self.slots.borrow();
        slots
            .iter()
            .flatten()
            .find(|connection| connection.is_open())
            .cloned()
    }

    /// The first slot without an open connection.
    pub(super) fn free_slot(&self) -> Option<usize> {
        let slots = self.slots.borrow();
        slots
            .iter()
            .position(|slot| slot.as_ref().is_none_or(|connection| !connection.is_open()))
    }

    /// Puts a new connection into a free slot.
    pub(super) fn insert(&self, slot: usize, connection: Rc<Connection>) {
        self.slots.borrow_mut()[slot] = Some(connection);
        self.pace.borrow_mut().handle_opened(slot);
        self.changed.notify();
    }

    /// Ends a connection that does not answer.
    pub(super) fn give_up(&self, connection: &Rc<Connection>) {
        let is_it =
            |slot: &Option<Rc<Connection>>| slot.as_ref().is_some_and(|it| Rc::ptr_eq(it, connection));
        let slot = self.slots.borrow().iter().position(is_it);
        if let Some(slot) = slot {
            self.clear(slot);
            self.handle_error(&OpenError::Lost("no answer".into()));
            self.changed.notify();
        }
        connection.give_up("no answer");
    }

    /// The connection in this slot, opened at `opened`, has ended by itself.
    pub(super) fn handle_end(&self, slot: usize, opened: Instant, error: &CallError) {
        // A connection that was given up before may already have a successor in its slot.
        let has_ended = |slot: &Option<Rc<Connection>>| slot.as_ref().is_some_and(|it| !it.is_open());
        if !self.slots.borrow().get(slot).is_some_and(has_ended) {
            return;
        }
        self.clear(slot);
        match error {
            CallError::Lost(what) => {
                if self.failures.borrow_mut().handle_loss(opened, clock::now()) {
                    self.handle_error(&OpenError::Lost(what.clone()));
                }
            }
            CallError::Transport(code) => self.handle_error(&OpenError::Transport(*code)),
            CallError::Rpc(_) | CallError::Wrong(_) | CallError::Idle => {}
        }
        self.changed.notify();
    }

    /// Closes all connections.
    pub(super) fn close_all(&self) {
        for slot in 0..self.capacity() {
            let closed = self.slots.borrow_mut()[slot].take();
            if closed.is_some() {
                self.pace.borrow_mut().handle_closed(slot);
            }
        }
        self.changed.notify();
    }

    /// A connection was lost or did not open.
    pub(super) fn handle_error(&self, error: &OpenError) {
        self.route_turn.set(self.route_turn.get().wrapping_add(1));
        let home = self.keyring.home() == self.dc;
        let mut failures = self.failures.borrow_mut();
        if failures.handle_error(error, home, clock::now()) {
            self.keyring.forget_key(self.dc);
        }
        log::debug!("dc {}: {error} (failure {})", self.dc, failures.count());
    }

    /// The server demands a wait. A random jitter of up to a tenth (0.5 s at least) is added, so that the programs of one
    /// account do not come back in the same instant.
    pub(super) fn handle_flood_wait(&self, wait: Duration) {
        let now = clock::now();
        let mut bytes = [0; 2];
        random::fill(&mut bytes);
        let max_jitter = (wait / 10).max(Duration::from_millis(500));
        let jitter = max_jitter * u32::from(u16::from_le_bytes(bytes)) / u32::from(u16::MAX)
            + Duration::from_millis(20);
        let mut pace = self.pace.borrow_mut();
        pace.handle_wait(wait, jitter, now);
        if let Some(until) = pace.waits_until(now) {
            self.flood_wait.close(until);
        }
        log::info!("dc {}: flood wait of {} s", self.dc, wait.as_secs());
    }

    fn clear(&self, slot: usize) {
        self.slots.borrow_mut()[slot] = None;
        self.pace.borrow_mut().handle_closed(slot);
    }
}
