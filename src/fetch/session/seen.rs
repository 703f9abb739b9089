//! The replay window: the ids of the messages that were handled last.

use std::collections::VecDeque;

/// Message ids in the window.
pub(super) const SEEN: usize = 512;

/// The ids of the messages that were handled last.
#[derive(Default)]
pub(super) struct SeenMessages(VecDeque<i64>);

impl SeenMessages {
    /// Whether the message was handled.
    pub(super) fn contains(&self, msg_id: i64) -> bool {
        self.0.contains(&msg_id)
    }

    /// Adds a message. Returns `false` for one that was, or may have been, handled before.
    pub(super) fn insert(&mut self, msg_id: i64) -> bool {
        if self.0.contains(&msg_id) {
            return false;
        }
        if self.0.len() == SEEN {
            // Older than the whole window: it may have been handled and left the window since.
            if self.0.iter().all(|seen| *seen > msg_id) {
                return false;
            }
            self.0.pop_front();
        }
        self.0.push_back(msg_id);
        true
    }
}
