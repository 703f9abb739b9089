//! The daemon: listeners, admission, reload, drain. Owns the one executor on which everything runs.
//!
//! Nothing at start waits for names, for the fronted site or for the clock: the listeners are up first. A reload is
//! built whole beside the running configuration and takes its place only if all of it is good.

mod build;
mod bus;
mod limits;
mod listen;
mod state;
mod turns;

use crate::config::{Config, DEFAULT_PATH, Problem};
use crate::http;
use crate::link;
use crate::relay::{Context, Shared, isolate};
use crate::stats::snapshot::{Address, AddressState, Buffers, Outside, Pipes, Snapshot};
pub(crate) use build::dial_options;
use bus::Bus;
use listen::Listeners;
use mtrelay_core::close::CloseReason;
use mtrelay_core::dial::health::HealthState;
use mtrelay_core::reactor::{self, Async, Timer};
use mtrelay_core::sys::signal::Signals;
use mtrelay_core::sys::stdio::Stdio;
use mtrelay_core::sys::{clock, process, seccomp};
use mtrelay_core::syslog::{self, Target};
use rustix::process::Signal;
use smol::LocalExecutor;
use smol::future::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often silence, the clock and the memory are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// How often a drain looks whether the last session has gone.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// So many seconds after the last session and the last look at its counters the relay gives back what it does not need for waiting.
const QUIET: u32 = 5;

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The file; `None` for the default one.
    pub config: Option<PathBuf>,
    /// How often `-v` was given.
    pub verbose: u8,
    /// Log to syslog instead of stderr.
    pub syslog: bool,
    /// Whom to become once the ports are bound.
    pub user: Option<String>,
    /// Where what must outlive a restart is kept.
    pub state: Option<PathBuf>,
}

/// Why the daemon did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong; each mistake is a line.
    Config(Vec<String>),
    /// The system refused something.
    System(String),
}

/// Why a reload changed nothing.
enum ReloadError {
    NoFile,
    /// With the mistakes, as the bus tells them.
    Refused(String),
}

/// Where the configuration comes from.
enum Source {
    File(PathBuf),
    /// There is no file: everything is a default, with one user whose secret was drawn at start.
    Fresh(Box<Config>),
}

/// The running daemon.
struct Daemon {
    source: Source,
    run: Run,
    started: Instant,
    started_at: u32,
    shared: Rc<Shared>,
    current: RefCell<Rc<Current>>,
    state: Option<state::State>,
    /// Live sessions may break a limit that a reload has brought.
    limits_changed: Cell<bool>,
    /// A descriptor kept for a reload, which has to open files even when sessions have taken all others.
    reserve: Cell<Option<File>>,
    listeners: RefCell<Listeners>,
    nofile: u64,
    bus: Bus,
    /// Somebody has connected, or looked at the counters, since the last sweep.
    was_busy: Cell<bool>,
}

/// A configuration and what was made of it.
struct Current {
    config: Config,
    context: Rc<Context>,
}

/// Runs until SIGTERM.
///
/// # Errors
/// When it cannot start.
pub fn run(run: Run) -> Result<(), StartError> {
    let (source, config, warnings) = load(run.config.as_deref())?;
    let level = log_level(&config, run.verbose);
    let target = if run.syslog {
        Target::Syslog("mtrelay")
    } else {
        Target::Stderr
    };
    syslog::init(target, level).map_err(|error| StartError::System(format!("logging: {error}")))?;
    isolate::log_panics();
    for warning in warnings {
        log::warn!("{}", unnamed(&warning));
    }
    if !config.enabled {
        log::info!("disabled (option enabled '0'): nothing to do");
        return Ok(());
    }

    let wanted = build::descriptors(&config);
    let nofile = process::raise_nofile(wanted);
    if nofile < wanted {
        log::warn!(
            "{nofile} descriptors allowed, {wanted} needed for max_sessions={}: raise the limit",
            config.max_sessions
        );
    }
    let mut bound = Vec::new();
    for address in &config.listen {
        match listen::bind(*address) {
            Ok(listener) => bound.push((*address, listener)),
            Err(error) if matches!(source, Source::Fresh(_)) && !bound.is_empty() => {
                log::warn!("not listening on {address}: {error}");
            }
            Err(error) => return Err(StartError::System(format!("cannot listen on {address}: {error}"))),
        }
    }
    let statistics = config.stats_listen.map(listen::bind).transpose();
    let statistics = statistics.map_err(|error| {
        let address = config
            .stats_listen
            .map(|address| address.to_string())
            .unwrap_or_default();
        StartError::System(format!("cannot listen on {address} for statistics: {error}"))
    })?;
    let state = run.state.as_deref().and_then(state::State::open);
    give_up_privileges(run.user.as_deref(), &config)?;

    let signals = Signals::take(&[Signal::HUP, Signal::TERM, Signal::INT])
        .map_err(|error| StartError::System(format!("signals: {error}")))?;
    let executor = Rc::new(LocalExecutor::new());
    let shared = build::shared(&config, nofile, executor.clone());
    let context = build::context(&config, &shared, None);
    if let Some(state) = &state {
        state.restore(&shared);
    }
    let daemon = Rc::new(Daemon {
        source,
        run,
        started: clock::now(),
        started_at: clock::unix_now(),
        shared,
        current: RefCell::new(Rc::new(Current { config, context })),
        state,
        limits_changed: Cell::new(false),
        reserve: Cell::default(),
        listeners: RefCell::default(),
        nofile,
        bus: Bus::default(),
        was_busy: Cell::default(),
    });
    let running = async {
        let signals = Async::new_nonblocking(signals)
            .map_err(|error| StartError::System(format!("signals: {error}")))?;
        daemon.begin(bound, statistics)?;
        // Both come before all tasks: however many sessions run, signals and the bus are heard.
        daemon.serve(signals).or(bus::serve(daemon.clone())).await;
        Ok(())
    };
    reactor::block_on(turns::run(&executor, running))
        .unwrap_or_else(|error| Err(StartError::System(format!("the reactor: {error}"))))
}

/// Waits for the next signal: SIGHUP, or one of those that end the daemon.
async fn is_hup(signals: &Async<Signals>) -> bool {
    let signal = signals.read_with(Signals::read).await;
    // A descriptor that cannot be read is an end as well: nobody could ask for one any more.
    matches!(signal, Ok(Some(Signal::HUP)))
}

fn load(path: Option<&Path>) -> Result<(Source, Config, Vec<String>), StartError> {
    let path = match path {
        Some(path) => path,
        None if Path::new(DEFAULT_PATH).exists() => Path::new(DEFAULT_PATH),
        None => {
            let config = build::fresh_config();
            return Ok((Source::Fresh(Box::new(config.clone())), config, Vec::new()));
        }
    };
    let (config, warnings) = read_config(path).map_err(StartError::Config)?;
    Ok((Source::File(path.to_owned()), config, warnings))
}

/// # Errors
/// With a line for each mistake.
fn read_config(path: &Path) -> Result<(Config, Vec<String>), Vec<String>> {
    let lines = |problems: &[Problem]| -> Vec<String> {
        problems
            .iter()
            .map(|problem| problem.in_file(path).to_string())
            .collect()
    };
    match Config::load(path) {
        Ok((config, warnings)) => Ok((config, lines(&warnings))),
        Err(problems) => Err(lines(&problems)),
    }
}

/// A mistake for the log, where each line names the program anyway.
fn unnamed(mistake: &str) -> &str {
    mistake.strip_prefix("mtrelay: ").unwrap_or(mistake)
}

fn log_level(config: &Config, verbose: u8) -> log::LevelFilter {
    match verbose {
        0 => config.log_level,
        1 => config.log_level.max(log::LevelFilter::Debug),
        _ => log::LevelFilter::Trace,
    }
}

/// Everything that the running daemon does not need. Called while there is one thread.
fn give_up_privileges(user: Option<&str>, config: &Config) -> Result<(), StartError> {
    if let Some(user) = user {
        process::become_user(user, build::rights(config))
            .map_err(|error| StartError::System(format!("cannot become user '{user}': {error}")))?;
    } else if process::is_root() {
        log::warn!("running as root (--user NAME would give that up)");
    }
    if let Err(error) = process::forbid_new_privileges() {
        log::warn!("no_new_privs: {error}");
    }
    if config.seccomp
        && let Err(error) = seccomp::confine()
    {
        log::warn!("seccomp: no filter of our own: {error}");
    }
    Ok(())
}

impl Daemon {
    fn hold_reserve(&self) {
        let held = self.reserve.take().or_else(|| File::open("/dev/null").ok());
        self.reserve.set(held);
    }

    fn begin(
        self: &Rc<Self>,
        bound: Vec<(SocketAddr, TcpListener)>,
        statistics: Option<TcpListener>,
    ) -> Result<(), StartError> {
        let executor = &self.shared.executor;
        self.hold_reserve();
        for (address, listener) in bound {
            self.listeners
                .borrow_mut()
                .add(address, listener, self)
                .map_err(StartError::System)?;
        }
        self.listeners
            .borrow()
            .tune(&build::tuning(&self.current.borrow().config));
        if let Some(listener) = statistics {
            let address = listener
                .local_addr()
                .map_err(|error| StartError::System(error.to_string()))?;
            let listener =
                Async::new_nonblocking(listener).map_err(|error| StartError::System(error.to_string()))?;
            log::info!("statistics on http://{address}/");
            let daemon = self.clone();
            self.shared
                .spawn(http::serve(listener, Rc::new(move || daemon.snapshot())));
        }
        if let Source::Fresh(config) = &self.source {
            self.show_links(config);
        }
        let daemon = self.clone();
        executor
            .spawn(async move { daemon.sweep().await }.boxed_local())
            .detach();
        process::forget_code();
        log::info!("mtrelay {} is up", env!("CARGO_PKG_VERSION"));
        Ok(())
    }

    /// For whoever just runs the program to see it work.
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

    /// Until the last session has gone after SIGTERM.
    async fn serve(self: &Rc<Self>, signals: Async<Signals>) {
        while is_hup(&signals).await {
            // The log has said what there is to say.
            let _ = self.reload();
        }
        let again = async {
            while is_hup(&signals).await {}
            log::info!("told twice: not waiting any longer");
        };
        self.drain().or(again).await;
        self.shared.pulses.end(CloseReason::Shutdown, |_| true);
        self.gone_within(SWEEP).await;
        if let Some(state) = &self.state {
            state.save(&self.shared);
        }
        log::info!("mtrelay ends");
    }

    async fn drain(&self) {
        self.listeners.take().close().await;
        self.shared.openings.cut_all();
        let timeout = self.current.borrow().config.drain_timeout;
        let sessions = self.shared.stats.sessions_active();
        let Some(timeout) = timeout.filter(|_| sessions > 0) else {
            return;
        };
        log::info!("draining {sessions} sessions, at most {} s", timeout.as_secs());
        self.gone_within(timeout).await;
    }

    /// Waits until no session is left, or the time is up.
    async fn gone_within(&self, timeout: Duration) {
        let gone = async {
            while self.shared.stats.sessions_active() > 0 {
                Timer::after(DRAIN_LOOK).await;
            }
        };
        let time_is_up = async {
            Timer::after(timeout).await;
        };
        gone.or(time_is_up).await;
    }

    /// # Errors
    /// When there is nothing to reload, or with the mistakes; they have been logged.
    fn reload(self: &Rc<Self>) -> Result<(), ReloadError> {
        let Source::File(path) = &self.source else {
            log::info!("reload: there is no configuration file");
            return Err(ReloadError::NoFile);
        };
        self.reserve.take();
        let read = read_config(path);
        self.hold_reserve();
        match read
            .and_then(|(config, warnings)| self.apply(config).map(|()| warnings).map_err(|error| vec![error]))
        {
            Ok(warnings) => {
                for warning in warnings {
                    log::warn!("{}", unnamed(&warning));
                }
                self.shared.stats.config_reloaded();
                log::info!("reload: {} is in force", path.display());
                Ok(())
            }
            Err(errors) => {
                self.shared.stats.config_rejected();
                let errors: Vec<&str> = errors.iter().map(|error| unnamed(error)).collect();
                for error in &errors {
                    log::error!("{error}");
                }
                log::error!("reload: refused, the old configuration goes on");
                Err(ReloadError::Refused(self.bus.tell_rejected(&errors)))
            }
        }
    }

    /// # Errors
    /// When a new port cannot be bound; nothing has changed then.
    fn apply(self: &Rc<Self>, config: Config) -> Result<(), String> {
        let old = self.current.borrow().clone();
        if !config.enabled {
            log::warn!("reload: option enabled '0' takes effect with a stop only");
        }
        for (name, changed) in [
            ("stats_listen", old.config.stats_listen != config.stats_listen),
            ("buffers", old.config.buffers != config.buffers),
            ("seccomp", old.config.seccomp != config.seccomp),
            ("buffer_size", old.config.buffer_size != config.buffer_size),
            ("pipes", old.config.pipes != config.pipes),
            ("pipe_size", old.config.pipe_size != config.pipe_size),
            ("ubus_socket", old.config.ubus_socket != config.ubus_socket),
        ] {
            if changed {
                log::warn!("reload: '{name}' changes with a restart only");
            }
        }
        let mut bound = Vec::new();
        for address in self.listeners.borrow().missing(&config.listen) {
            let listener =
                listen::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
            bound.push((address, listener));
        }
        for (address, listener) in bound {
            self.listeners.borrow_mut().add(address, listener, self)?;
        }
        self.listeners.borrow_mut().retain(&config.listen);
        self.listeners.borrow().tune(&build::tuning(&config));
        syslog::set_level(log_level(&config, self.run.verbose));
        {
            let mut replay = self.shared.replay.borrow_mut();
            if replay.capacity() != config.replay_window as usize {
                let resized = replay.resized(config.replay_window as usize);
                *replay = resized;
            }
        }
        let wanted = build::descriptors(&config);
        if wanted > self.nofile && process::raise_nofile(wanted) < wanted {
            log::warn!(
                "reload: max_sessions={} needs {wanted} descriptors, which are not allowed",
                config.max_sessions
            );
        }
        let context = build::context(&config, &self.shared, Some(&old.context));
        // A reload also comes when the way to the internet has changed: what was learnt of the old one is void.
        self.shared.dialer.set_options(dial_options(&config));
        self.shared.dialer.retain(&config.dcs);
        self.shared.dialer.forget();
        self.shared.clock.set(build::clock(&config));
        self.shared.clock_trusted.set(build::is_clock_trusted(&config));
        self.limits_changed.set(true);
        *self.current.borrow_mut() = Rc::new(Current { config, context });
        Ok(())
    }

    async fn sweep(&self) {
        let mut quiet_s = 0;
        loop {
            Timer::after(SWEEP).await;
            let current = self.current.borrow().clone();
            let idle_s = current
                .config
                .idle_timeout
                .map_or(0, |idle| u32::try_from(idle.as_secs()).unwrap_or(u32::MAX));
            self.shared.pulses.sweep(idle_s);
            self.shared.fronted.sweep(idle_s);
            self.shared.clock.set(build::clock(&current.config));
            self.shared
                .clock_trusted
                .set(build::is_clock_trusted(&current.config));
            limits::apply(&current, &self.shared, &self.limits_changed);
            self.bus
                .notify_changes(self.shared.dialer.take_changes(), &current.config.dcs);
            if self.shared.stats.sessions_active() > 0 {
                quiet_s = 0;
                continue;
            }
            self.shared.pipes.trim();
            quiet_s = if self.was_busy.take() { 0 } else { quiet_s + 1 };
            // Once: what is forgotten already need not be forgotten every few seconds.
            quiet_s = quiet_s.min(QUIET + 1);
            if quiet_s == QUIET {
                self.shared.pool.trim();
                process::trim_heap();
                process::forget_code();
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        self.was_busy.set(true);
        let current = self.current.borrow().clone();
        let levels = self.shared.pool.levels();
        let pipes = self.shared.pipes.levels();
        let now = clock::now();
        let report = |address: &SocketAddr| {
            let report = self.shared.dialer.report(*address, now);
            Address {
                address: *address,
                state: match report.state {
                    HealthState::Healthy => AddressState::Ok,
                    HealthState::Untried => AddressState::Untried,
                    HealthState::Probation | HealthState::Cooling => AddressState::Cooling,
                },
                rtt: report.rtt,
                failures: u64::from(report.failures),
                last_error: report.last_error,
                retry_in: report.retry_in,
                dc_timeouts: report.dc_timeouts,
            }
        };
        let dcs = &current.config.dcs;
        // A media DC without addresses of its own has its main one's.
        let ids = dcs.iter().flat_map(|(id, _)| [id, id.media()]);
        self.shared.stats.snapshot(Outside {
            uptime: now.saturating_duration_since(self.started),
            start_time_s: Some(u64::from(self.started_at)),
            synced: clock::is_synchronised(),
            trusted: self.shared.clock_trusted.get(),
            buffers: Buffers {
                size: levels.size as u64,
                count: levels.count as u64,
                in_use: levels.in_use as u64,
                high_water: levels.high_water as u64,
                waits: levels.waits,
                held: self.shared.holder.blocks() as u64,
            },
            pipes: Pipes {
                count: pipes.count as u64,
                in_use: pipes.in_use as u64,
                high_water: pipes.high_water as u64,
                misses: pipes.misses,
            },
            rss_kib: process::rss_kib(),
            addresses: ids
                .filter_map(|id| Some((id, dcs.lookup(id)?.iter().map(report).collect())))
                .collect(),
            expires: build::expiries(&current.config),
        })
    }
}
