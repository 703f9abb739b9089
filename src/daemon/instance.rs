//! The running daemon as a value: what start builds and every other part reads.

use super::config_file::ConfigSource;
use super::listen::Listeners;
use super::notifications::Notifications;
use super::relay_state::RelayState;
use super::state::StateFile;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

/// The options of `mtrelay run`.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunOptions {
    /// Path of the configuration file; `None` for the default path.
    pub config: Option<PathBuf>,
    /// How often `-v` was given.
    pub verbose: u8,
    /// Log to syslog instead of stderr.
    pub syslog: bool,
    /// The user to change to once the ports are bound.
    pub user: Option<String>,
    /// Path of the file that keeps quotas and the replay window over a restart.
    pub state: Option<PathBuf>,
}

/// The running daemon.
pub(super) struct Daemon {
    pub(super) source: ConfigSource,
    pub(super) options: RunOptions,
    pub(super) started: Instant,
    /// Unix time of the start in seconds.
    pub(super) started_at: u32,
    pub(super) relay: Rc<RelayState>,
    pub(super) state: Option<StateFile>,
    /// A reload has brought limits that live sessions may exceed.
    pub(super) limits_changed: Cell<bool>,
    /// One descriptor kept free for a reload, which opens files even when sessions use all others.
    pub(super) reserve: Cell<Option<File>>,
    pub(super) listeners: RefCell<Listeners>,
    /// The limit of open descriptors in force.
    pub(super) nofile: u64,
    pub(super) notifications: Notifications,
}

impl Daemon {
    /// Opens the reserved descriptor again, if it is not open.
    pub(super) fn hold_reserve(&self) {
        let held = self.reserve.take().or_else(|| File::open("/dev/null").ok());
        self.reserve.set(held);
    }
}
