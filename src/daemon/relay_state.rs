//! What the listeners and the rest of the daemon share: the sessions' state and the configuration in force.

use crate::config::Config;
use crate::relay::{Context, Shared};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The configuration in force and the session context that was built from it.
pub(super) struct ActiveConfig {
    pub(super) config: Config,
    pub(super) context: Rc<Context>,
}

/// The state that accepting a connection needs.
pub(super) struct RelayState {
    pub(super) shared: Rc<Shared>,
    active: RefCell<Rc<ActiveConfig>>,
    /// A connection was accepted or a snapshot was taken since the last sweep.
    pub(super) was_busy: Cell<bool>,
}

impl RelayState {
    pub(super) fn new(shared: Rc<Shared>, active: ActiveConfig) -> Rc<RelayState> {
        Rc::new(RelayState {
            shared,
            active: RefCell::new(Rc::new(active)),
            was_busy: Cell::default(),
        })
    }

    /// The configuration in force now. A reload replaces it, so a holder sees one consistent configuration.
    pub(super) fn active(&self) -> Rc<ActiveConfig> {
        self.active.borrow().clone()
    }

    pub(super) fn replace_active(&self, active: ActiveConfig) {
        self.active.replace(Rc::new(active));
    }
}
