//! The permission to send one request for a file part over a connection.

use super::connection_pool::ConnectionPool;
use crate::answer::Answer;
use crate::call_error::CallError;
use crate::connection::Connection;
use crate::schedule::pace::Permit;
use crate::timeout::within;
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::clock;
use std::rc::Rc;

/// The permission to send one request over a connection. Dropping it returns it to the pace.
pub(crate) struct RequestPermit {
    pool: Rc<ConnectionPool>,
    connection: Rc<Connection>,
    permit: Permit,
    used: bool,
}

impl RequestPermit {
    pub(super) fn new(pool: Rc<ConnectionPool>, connection: Rc<Connection>, permit: Permit) -> RequestPermit {
        RequestPermit {
            pool,
            connection,
            permit,
            used: false,
        }
    }

    /// The slot of the connection.
    pub(crate) fn slot(&self) -> usize {
        self.permit.slot
    }

    /// Sends the request and waits for its answer, up to four times the pace's timeout. A connection that is silent for one
    /// timeout is closed.
    pub(crate) async fn call(&self, body: &[u8]) -> Result<Answer, CallError> {
        let sent = clock::now();
        let mut call = std::pin::pin!(self.connection.call(body));
        loop {
            let timeout = self.pool.pace.borrow().answer_timeout(self.permit.slot);
            if let Some(outcome) = within(timeout, call.as_mut()).await {
                return outcome;
            }
            let now = clock::now();
            let silence = now.saturating_duration_since(self.connection.last_read());
            if let Some(until) = self.pool.flood_wait.closed_until(now) {
                // The request has not left yet.
                Timer::at(until).await;
            } else if silence >= timeout {
                self.pool.give_up(&self.connection);
                return Err(CallError::no_answer());
            } else if now.saturating_duration_since(sent) > timeout * 4 {
                return Err(CallError::no_answer());
            }
        }
    }

    /// The request was answered with this many bytes of the file.
    pub(crate) fn handle_part(mut self, bytes: usize) {
        self.used = true;
        self.pool.failures.borrow_mut().handle_answer();
        let now = clock::now();
        self.pool
            .pace
            .borrow_mut()
            .handle_answer(&self.permit, bytes, now);
        self.pool.changed.notify();
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        if !self.used {
            self.pool.pace.borrow_mut().handle_failed(&self.permit);
            self.pool.changed.notify();
        }
    }
}
