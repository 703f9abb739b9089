//! The right to send one request over a connection, and what comes of it.

use super::Center;
use crate::answer::Answer;
use crate::connection::{CallError, Connection};
use crate::schedule::pace::Permit;
use crate::way::within;
use mtrelay_core::reactor::Timer;
use mtrelay_core::sys::clock;
use std::rc::Rc;

/// The right to send one request over a connection. Dropped, it is given back.
pub(crate) struct Leave {
    center: Rc<Center>,
    connection: Rc<Connection>,
    permit: Permit,
    used: bool,
}

impl Leave {
    pub(super) fn new(center: Rc<Center>, connection: Rc<Connection>, permit: Permit) -> Leave {
        Leave {
            center,
            connection,
            permit,
            used: false,
        }
    }

    /// The connection's number.
    pub(crate) fn line(&self) -> usize {
        self.permit.line
    }

    /// Sends the request and waits for its answer, as long as one may reasonably take.
    pub(crate) async fn call(&self, body: &[u8]) -> Result<Answer, CallError> {
        let sent = clock::now();
        let mut call = std::pin::pin!(self.connection.call(body));
        loop {
            let patience = self.center.pace.borrow().patience(self.permit.line);
            let outcome = within(patience, call.as_mut()).await;
            if let Some(outcome) = outcome {
                return outcome;
            }
            let now = clock::now();
            let silent = now.saturating_duration_since(self.connection.heard());
            if let Some(until) = self.center.gate.closed(now) {
                // It was not even sent.
                Timer::at(until).await;
            } else if silent >= patience {
                self.center.close(&self.connection);
                return Err(CallError::Lost("no answer came".into()));
            } else if now.saturating_duration_since(sent) > patience * 4 {
                return Err(CallError::Lost("the answer did not come".into()));
            }
        }
    }

    /// The answer had so many bytes of a file.
    pub(crate) fn handle_part(mut self, bytes: usize) {
        self.used = true;
        self.center.answered();
        let now = clock::now();
        self.center
            .pace
            .borrow_mut()
            .handle_answer(&self.permit, bytes, now);
        self.center.changed.ring();
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if !self.used {
            self.center.pace.borrow_mut().handle_failed(&self.permit);
            self.center.changed.ring();
        }
    }
}
