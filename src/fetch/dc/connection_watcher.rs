//! Carries the events of one connection to its data centre's pool.

use super::connection_pool::ConnectionPool;
use crate::call_error::{CallError, flood_wait};
use crate::connection::ConnectionEvents;
use crate::salts::Salts;
use crate::session::RpcError;
use std::rc::Weak;
use std::time::Instant;

/// Receives the events of the connection in one slot.
pub(super) struct ConnectionWatcher {
    pub(super) pool: Weak<ConnectionPool>,
    pub(super) slot: usize,
    pub(super) opened: Instant,
}

impl ConnectionEvents for ConnectionWatcher {
    fn handle_rpc_error(&self, error: &RpcError) {
        if let (Some(pool), Some(wait)) = (self.pool.upgrade(), flood_wait(error)) {
            pool.handle_flood_wait(wait);
        }
    }

    fn handle_salts(&self, salts: &Salts) {
        if let Some(pool) = self.pool.upgrade() {
            pool.keyring.change_key(pool.dc, |key| key.salts = salts.clone());
        }
    }

    fn handle_end(&self, error: &CallError) {
        if let Some(pool) = self.pool.upgrade() {
            pool.handle_end(self.slot, self.opened, error);
        }
    }
}
