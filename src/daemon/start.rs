//! From the command line to the running daemon.

use super::build;
use super::config_file::{self, ConfigSource, Loaded, StartError, log_level};
use super::instance::{Daemon, RunOptions};
use super::listen::{self, Listeners};
use super::notifications::Notifications;
use super::relay_state::{ActiveConfig, RelayState};
use super::state::StateFile;
use super::ubus_service;
use crate::config::Config;
use crate::http;
use crate::link;
use crate::relay::panic_guard;
use mtrelay_core::reactor::Async;
use mtrelay_core::scheduler;
use mtrelay_core::sys::signal::Signals;
use mtrelay_core::sys::stdio::Stdio;
use mtrelay_core::sys::{clock, process, seccomp};
use mtrelay_core::syslog::{self, Target};
use rustix::process::Signal;
use smol::LocalExecutor;
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;

/// The sockets that are bound before the privileges are given up.
struct Bound {
    /// Each with its address as the configuration names it.
    listeners: Vec<(SocketAddr, TcpListener)>,
    statistics: Option<TcpListener>,
}

/// Runs until SIGTERM. A configuration with `enabled 0` ends at once, as a success.
///
/// # Errors
/// When it cannot start.
pub(crate) fn run(options: RunOptions) -> Result<(), StartError> {
    let Loaded {
        source,
        config,
        warnings,
    } = config_file::load(options.config.as_deref())?;
    start_log(&options, &config, &warnings)?;
    if !config.enabled {
        log::info!("disabled (option enabled '0'): nothing to do");
        return Ok(());
    }
    let nofile = raise_nofile(&config);
    let bound = bind(&source, &config)?;
    let state = options.state.as_deref().and_then(StateFile::open);
    drop_privileges(options.user.as_deref(), &config)?;

    let signals = Signals::take(&[Signal::HUP, Signal::TERM, Signal::INT]).map_err(system("signals"))?;
    let executor = Rc::new(LocalExecutor::new());
    let shared = build::shared(&config, nofile, executor.clone());
    let context = build::context(&config, &shared, None);
    if let Some(state) = &state {
        state.restore(&shared);
    }
    let daemon = Rc::new(Daemon {
        source,
        options,
        started: clock::now(),
        started_at: clock::unix_now(),
        relay: RelayState::new(shared, ActiveConfig { config, context }),
        state,
        limits_changed: Cell::new(false),
        reserve: Cell::default(),
        listeners: RefCell::new(Listeners::default()),
        nofile,
        notifications: Notifications::default(),
    });
    let running = async {
        let signals = Async::new_nonblocking(signals).map_err(system("signals"))?;
        daemon.begin(bound)?;
        // Both run before all tasks, so that signals and ubus calls are answered however many sessions run.
        daemon
            .serve(signals)
            .or(ubus_service::serve(daemon.clone()))
            .await;
        Ok(())
    };
    scheduler::block_on(&executor, running).unwrap_or_else(|error| Err(system("reactor")(error)))
}

/// Makes a [`StartError`] of a system call's error; `what` names what failed.
fn system(what: &str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::System(format!("{what}: {error}"))
}

fn start_log(options: &RunOptions, config: &Config, warnings: &[String]) -> Result<(), StartError> {
    let target = if options.syslog {
        Target::Syslog("mtrelay")
    } else {
        Target::Stderr
    };
    syslog::init(target, log_level(config, options.verbose))
        .map_err(|error| StartError::System(format!("logging: {error}")))?;
    panic_guard::log_panics();
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok(())
}

/// Raises the limit of open descriptors to what the configuration needs, and returns the limit in force.
fn raise_nofile(config: &Config) -> u64 {
    let wanted = build::descriptors(config);
    let nofile = process::raise_nofile(wanted);
    if nofile < wanted {
        log::warn!(
            "{nofile} descriptors allowed, {wanted} needed for max_sessions={}: raise the limit",
            config.max_sessions
        );
    }
    nofile
}

/// Binds every listener. A generated configuration lists IPv4 and IPv6; of those, one is enough.
fn bind(source: &ConfigSource, config: &Config) -> Result<Bound, StartError> {
    let mut listeners = Vec::new();
    for address in &config.listen {
        match listen::bind(*address) {
            Ok(listener) => listeners.push((*address, listener)),
            Err(error) if matches!(source, ConfigSource::Generated(_)) && !listeners.is_empty() => {
                log::warn!("not listening on {address}: {error}");
            }
            Err(error) => return Err(StartError::System(format!("cannot listen on {address}: {error}"))),
        }
    }
    let statistics = match config.stats_listen {
        None => None,
        Some(address) => Some(listen::bind(address).map_err(|error| {
            StartError::System(format!("cannot listen on {address} for statistics: {error}"))
        })?),
    };
    Ok(Bound {
        listeners,
        statistics,
    })
}

/// Gives up every privilege that the running daemon does not need. Called while the process has one thread.
fn drop_privileges(user: Option<&str>, config: &Config) -> Result<(), StartError> {
    if let Some(user) = user {
        process::become_user(user, build::rights(config))
            .map_err(|error| StartError::System(format!("cannot become user '{user}': {error}")))?;
    } else if process::is_root() {
        log::warn!("running as root (--user NAME changes to an unprivileged user)");
    }
    if let Err(error) = process::forbid_new_privileges() {
        log::warn!("no_new_privs: {error}");
    }
    if config.seccomp
        && let Err(error) = seccomp::confine()
    {
        log::warn!("seccomp: no filter installed: {error}");
    }
    Ok(())
}

impl Daemon {
    /// Begins to accept and starts the background tasks.
    fn begin(self: &Rc<Self>, bound: Bound) -> Result<(), StartError> {
        let shared = &self.relay.shared;
        self.hold_reserve();
        for (address, listener) in bound.listeners {
            self.listeners
                .borrow_mut()
                .add(address, listener, &self.relay)
                .map_err(StartError::System)?;
        }
        let active = self.relay.active();
        self.listeners.borrow().tune(&build::tuning(&active.config));
        if let Some(listener) = bound.statistics {
            let address = listener.local_addr().map_err(system("statistics"))?;
            let listener = Async::new_nonblocking(listener).map_err(system("statistics"))?;
            log::info!("statistics on http://{address}/");
            let daemon = self.clone();
            shared.spawn(http::serve(listener, Rc::new(move || daemon.snapshot())));
        }
        if let ConfigSource::Generated(config) = &self.source {
            self.show_links(config);
        }
        let daemon = self.clone();
        shared
            .executor
            .spawn(async move { daemon.sweep().await }.boxed_local())
            .detach();
        process::forget_code();
        log::info!("mtrelay {} is up", env!("CARGO_PKG_VERSION"));
        Ok(())
    }

    /// Prints links and QR codes of a generated configuration, whose secret is written down in no file.
    fn show_links(&self, config: &Config) {
        let Some(port) = self.listeners.borrow().first_port() else {
            return;
        };
        let host = build::own_address();
        let mut text = String::new();
        for user in &config.users {
            for link in link::links(user, &host, port, config.modes, config.front_domain.as_deref()) {
                text += &format!("{}\n{}\n{}\n", link.tg, link.https, link::qr(&link.tg));
            }
        }
        let _ = Stdio::out().write_all(text.as_bytes());
    }
}
