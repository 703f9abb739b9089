//! Notifications for subscribers, queued until the bus takes them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

/// Notifications kept until they are sent; beyond this number the oldest are dropped.
const MAX_NOTICES: usize = 32;

/// A notification.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An address of a data centre stopped working.
    DcDown {
        /// The data centre's number.
        id: i16,
        /// The address.
        address: SocketAddr,
        /// The kind of the failure.
        error: &'static str,
    },
    /// An address of a data centre works again.
    DcUp {
        /// The data centre's number.
        id: i16,
        /// The address.
        address: SocketAddr,
    },
    /// A reload was refused.
    ConfigRejected {
        /// One line for each mistake.
        error: String,
    },
}

/// The queue of notifications.
#[derive(Default)]
pub struct Notices {
    waiting: RefCell<VecDeque<Notice>>,
    waker: Cell<Option<Waker>>,
}

impl Notices {
    /// Queues a notification. It is sent when the bus takes it.
    pub fn push(&self, notice: Notice) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MAX_NOTICES {
            waiting.pop_front();
        }
        waiting.push_back(notice);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The next notification.
    pub(super) fn poll_next(&self, context: &Context<'_>) -> Poll<Notice> {
        if let Some(notice) = self.waiting.borrow_mut().pop_front() {
            return Poll::Ready(notice);
        }
        self.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Drops all queued notifications.
    pub(super) fn clear(&self) {
        self.waiting.take();
    }
}
