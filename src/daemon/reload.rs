//! Reload: a new configuration replaces the running one completely, or not at all.

use super::config_file::{self, ConfigSource, log_level};
use super::instance::Daemon;
use super::relay_state::ActiveConfig;
use super::{build, listen};
use crate::config::Config;
use mtrelay_core::sys::process;
use mtrelay_core::syslog;
use std::rc::Rc;

/// Why a reload changed nothing.
pub(super) enum ReloadError {
    /// The running configuration was generated: no file exists to read.
    NoFile,
    /// The file is invalid or a port cannot be bound. Holds the errors as the ubus notification gives them.
    Rejected(String),
}

impl Daemon {
    /// Reads the configuration file again and puts it in force.
    ///
    /// # Errors
    /// When no file exists, or with the configuration's errors. They are logged already.
    pub(super) fn reload(self: &Rc<Self>) -> Result<(), ReloadError> {
        let ConfigSource::File(path) = &self.source else {
            log::info!("reload: there is no configuration file");
            return Err(ReloadError::NoFile);
        };
        self.reserve.take();
        let read = config_file::read(path);
        self.hold_reserve();
        match read
            .and_then(|(config, warnings)| self.apply(config).map(|()| warnings).map_err(|error| vec![error]))
        {
            Ok(warnings) => {
                for warning in warnings {
                    log::warn!("{warning}");
                }
                self.relay.shared.stats.config_reloaded();
                log::info!("reload: {} is in force", path.display());
                Ok(())
            }
            Err(errors) => {
                self.relay.shared.stats.config_rejected();
                for error in &errors {
                    log::error!("{error}");
                }
                log::error!("reload: refused, the old configuration stays in force");
                Err(ReloadError::Rejected(self.notifications.notify_rejected(&errors)))
            }
        }
    }

    /// Puts a valid configuration in force.
    ///
    /// # Errors
    /// When a new port cannot be bound. Nothing has changed then.
    fn apply(self: &Rc<Self>, config: Config) -> Result<(), String> {
        let old = self.relay.active();
        let shared = &self.relay.shared;
        for name in config.needing_restart(&old.config) {
            log::warn!("reload: '{name}' takes effect at the next restart");
        }
        let mut bound = Vec::new();
        for address in self.listeners.borrow().missing(&config.listen) {
            let listener =
                listen::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
            bound.push((address, listener));
        }
        for (address, listener) in bound {
            self.listeners.borrow_mut().add(address, listener, &self.relay)?;
        }
        self.listeners.borrow_mut().retain(&config.listen);
        self.listeners.borrow().tune(&build::tuning(&config));
        syslog::set_level(log_level(&config, self.options.verbose));
        {
            let mut replay = shared.replay.borrow_mut();
            if replay.capacity() != config.replay_window as usize {
                let resized = replay.resized(config.replay_window as usize);
                *replay = resized;
            }
        }
        let wanted = build::descriptors(&config);
        if wanted > self.nofile && process::raise_nofile(wanted) < wanted {
            log::warn!(
                "reload: max_sessions={} needs {wanted} descriptors, more than the limit allows",
                config.max_sessions
            );
        }
        let context = build::context(&config, shared, Some(&old.context));
        // A reload also follows a change of the WAN, after which the old route's failures mean nothing.
        shared.dialer.set_options(build::dial_options(&config));
        shared.dialer.retain(&config.dcs);
        shared.dialer.forget();
        shared.clock.set(build::clock(&config));
        shared.clock_trusted.set(build::is_clock_trusted(&config));
        self.limits_changed.set(true);
        self.relay.replace_active(ActiveConfig { config, context });
        Ok(())
    }
}
