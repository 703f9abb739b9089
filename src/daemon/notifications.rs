//! The ubus notifications that the daemon sends: `dc.down`, `dc.up` and `config.rejected`.

use crate::ubus::{Notice, Notices};
use mtrelay_core::dc::Table;
use mtrelay_core::dial::HealthChange;
use mtrelay_core::map::Map;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// Length limit in bytes of the errors in one `config.rejected`. Later errors are only counted.
const MAX_ERRORS_LEN: usize = 2048;

/// Notifications to send, and what subscribers know already.
#[derive(Default)]
pub(super) struct Notifications {
    pub(super) queue: Notices,
    /// The addresses that subscribers were told are down.
    down: RefCell<Map<SocketAddr, ()>>,
}

impl Notifications {
    /// Queues a notification for every DC address that went down or came back. A slow address is not down.
    pub(super) fn notify_changes(&self, changes: impl Iterator<Item = HealthChange>, dcs: &Table) {
        let mut down = self.down.borrow_mut();
        down.retain(|address| dcs.iter().any(|(_, list)| list.contains(address)));
        for HealthChange { address, failure } in changes {
            let concerned = dcs.iter().filter(|(_, list)| list.contains(&address));
            let mut concerned = concerned.map(|(id, _)| id.raw()).peekable();
            if concerned.peek().is_none() {
                continue;
            }
            let is_news = match failure {
                Some(_) => down.insert(address, ()).is_none(),
                None => down.remove(&address).is_some(),
            };
            for id in concerned.filter(|_| is_news) {
                self.queue.push(match failure.map(|failure| failure.name()) {
                    Some(error) => Notice::DcDown { id, address, error },
                    None => Notice::DcUp { id, address },
                });
            }
        }
    }

    /// Queues `config.rejected` for a refused reload, and returns its text.
    pub(super) fn notify_rejected(&self, errors: &[String]) -> String {
        let error = joined(errors);
        self.queue.push(Notice::ConfigRejected { error: error.clone() });
        error
    }
}

/// The errors, one a line, up to [`MAX_ERRORS_LEN`].
fn joined(errors: &[String]) -> String {
    let mut text = String::new();
    for (written, error) in errors.iter().enumerate() {
        if written > 0 && text.len() + error.len() > MAX_ERRORS_LEN {
            // Writing to a String cannot fail.
            let _ = write!(text, "\nand {} more", errors.len() - written);
            break;
        }
        if written > 0 {
            text.push('\n');
        }
        text.push_str(error);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_joined_up_to_a_bound() {
        assert_eq!(joined(&["a", "b"].map(String::from)), "a\nb");
        let all = joined(&vec!["x".repeat(1000); 10]);
        assert!(
            all.len() < MAX_ERRORS_LEN + 20 && all.ends_with("\nand 8 more"),
            "{all}"
        );
    }
}
