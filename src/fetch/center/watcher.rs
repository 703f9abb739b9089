//! What a connection tells its data centre.

use super::{Center, flood_wait};
use crate::connection::{CallError, Connection, Watch};
use crate::salts::Salts;
use crate::session::RpcError;
use crate::way::OpenError;
use mtrelay_core::sys::clock;
use std::rc::{Rc, Weak};
use std::time::Instant;

/// The ear of a center on one of its connections.
pub(super) struct Watcher {
    pub(super) center: Weak<Center>,
    pub(super) line: usize,
    pub(super) opened: Instant,
}

impl Watch for Watcher {
    fn wait(&self, error: &RpcError) {
        if let (Some(center), Some(wait)) = (self.center.upgrade(), flood_wait(error)) {
            center.handle_wait(wait);
        }
    }

    fn salts(&self, salts: &Salts) {
        if let Some(center) = self.center.upgrade()
            && let Some(owner) = center.owner.upgrade()
        {
            owner.change_key(center.dc, |key| key.salts = salts.clone());
        }
    }

    fn ended(&self, error: &CallError) {
        let Some(center) = self.center.upgrade() else {
            return;
        };
        // Given up before, it has perhaps a successor already.
        let is_last = |line: &Option<Rc<Connection>>| line.as_ref().is_some_and(|last| !last.is_open());
        if !center.lines.borrow().get(self.line).is_some_and(is_last) {
            return;
        }
        center.lines.borrow_mut()[self.line] = None;
        center.pace.borrow_mut().handle_closed(self.line);
        match error {
            CallError::Lost(what) => {
                // All that were open go together when the network does: that is one failure.
                let lost_at = center.trouble.borrow().lost_at;
                if lost_at.is_none_or(|at| at < self.opened) {
                    center.trouble.borrow_mut().lost_at = Some(clock::now());
                    center.note(&OpenError::Lost(what.clone()));
                }
            }
            CallError::Transport(code) => center.note(&OpenError::Transport(*code)),
            CallError::Rpc(_) | CallError::Wrong(_) | CallError::Idle => {}
        }
        center.changed.ring();
    }
}
