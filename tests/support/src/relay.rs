//! The daemon itself, started as its owner would: `mtrelay run -c FILE`.
//!
//! Promises: it is killed when the test lets go of it, and a test that fails prints its log. Every wait has a deadline.
//! `MTRELAY_BIN` names another binary (one built for a router, say) and `MTRELAY_RUNNER` what runs it, with arguments.

mod close_line;
mod config;

pub use close_line::CloseLine;
pub use config::RelayConfig;

use std::cell::Cell;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::{Deadline, Watched, patience};
use crate::rng::base_seed;

pub use rustix::process::Signal;

/// How often a value is asked for again when nothing tells that it changed.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// For how many looks in a row a counter has to stay the same to be called still: a busy machine pauses the program for
/// longer than one.
const STILL_LOOKS: u32 = 25;

/// The program with its runner, for whatever arguments the test gives. `bin` is `env!("CARGO_BIN_EXE_mtrelay")`.
pub fn command(bin: &str) -> Command {
    let bin = std::env::var_os("MTRELAY_BIN").unwrap_or_else(|| OsString::from(bin));
    let runner = std::env::var("MTRELAY_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    match words.next() {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.args(words).arg(bin);
            command
        }
        None => Command::new(bin),
    }
}

/// A fresh folder that goes away with the value.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// A new one, empty.
    pub fn new() -> TempDir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "mtrelay-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        // One that a killed run with our process id left behind.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("the temporary folder can be written");
        TempDir(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and says where.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("the temporary folder can be written");
        path
    }
}

impl Default for TempDir {
    fn default() -> Self {
        TempDir::new()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A file that is still being written only leaves litter.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the daemon said so far.
#[derive(Debug, Default)]
struct Log {
    lines: Vec<String>,
    stdout: Vec<String>,
    /// How many of the two streams have ended.
    ended: usize,
}

/// A running daemon.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    log: Arc<Watched<Log>>,
    listening: Vec<SocketAddr>,
    stats: Option<SocketAddr>,
    config: PathBuf,
    _dir: TempDir,
}

impl Relay {
    /// Starts it and waits until it listens. `bin` is `env!("CARGO_BIN_EXE_mtrelay")`.
    ///
    /// # Panics
    /// If it does not within the deadline.
    #[track_caller]
    pub fn start(bin: &str, config: &RelayConfig) -> Relay {
        let mut relay = Relay::spawn(bin, &config.to_uci(), &[]);
        relay.wait_listening(config.listeners(), config.has_stats());
        relay
    }

    /// Starts it on any file, with arguments more, and waits for nothing.
    #[track_caller]
    pub fn spawn(bin: &str, uci: &str, arguments: &[&str]) -> Relay {
        Relay::spawn_command(command(bin), uci, arguments)
    }

    /// As `spawn`, in the place of a shell that has run `before`: limits, environment, a cgroup of its own.
    #[track_caller]
    pub fn spawn_after(before: &str, bin: &str, uci: &str) -> Relay {
        let program = command(bin);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{before} && exec \"$@\""), "sh"]);
        shell.arg(program.get_program()).args(program.get_args());
        Relay::spawn_command(shell, uci, &[])
    }

    /// The processor time that it has taken so far, in hundredths of a second.
    #[track_caller]
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the relay runs");
        let fields = stat.rsplit_once(')').expect("the name stands in brackets").1;
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks.map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    #[track_caller]
    fn spawn_command(mut command: Command, uci: &str, arguments: &[&str]) -> Relay {
        let dir = TempDir::new();
        let config = dir.write("mtrelay.uci", uci);
        command.arg("run").arg("-c").arg(&config).args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{command:?} does not start: {error}"),
        };
        let log = Arc::new(Watched::new(Log::default()));
        let stderr = child.stderr.take().expect("stderr is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        follow(stderr, Arc::clone(&log), |log, line| log.lines.push(line));
        follow(stdout, Arc::clone(&log), |log, line| log.stdout.push(line));
        Relay {
            child,
            log,
            listening: Vec::new(),
            stats: None,
            config,
            _dir: dir,
        }
    }

    /// Waits until it said that it listens, on this many addresses.
    #[track_caller]
    pub fn wait_listening(&mut self, listeners: usize, stats: bool) {
        let found = self.log.wait(Deadline::patient(), |log| {
            let after = |what: &str| -> Vec<SocketAddr> {
                let rest = log.lines.iter().filter_map(|line| line.split_once(what));
                rest.filter_map(|(_, rest)| rest.trim().trim_end_matches('/').parse().ok())
                    .collect()
            };
            let listening = after("listening on ");
            let stats_on = after("statistics on http://");
            let ready = listening.len() >= listeners && (!stats || !stats_on.is_empty());
            (ready || log.ended == 2).then_some((ready, listening, stats_on))
        });
        match found {
            Some((true, listening, stats_on)) => {
                self.listening = listening;
                self.stats = stats_on.first().copied();
            }
            Some(_) => panic!("the relay ended instead of listening"),
            None => panic!("the relay does not listen"),
        }
    }

    /// The IPv4 listener.
    #[track_caller]
    pub fn addr(&self) -> SocketAddr {
        self.listening
            .iter()
            .copied()
            .find(SocketAddr::is_ipv4)
            .expect("it listens on IPv4")
    }

    /// The IPv6 listener.
    #[track_caller]
    pub fn addr_v6(&self) -> SocketAddr {
        self.listening
            .iter()
            .copied()
            .find(SocketAddr::is_ipv6)
            .expect("it listens on IPv6")
    }

    /// All listeners, in the order of the log.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Where the statistics are.
    #[track_caller]
    pub fn stats_addr(&self) -> SocketAddr {
        self.stats.expect("it gives statistics")
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The configuration file.
    pub fn config_path(&self) -> &Path {
        &self.config
    }

    /// Asks for a page of the statistics.
    #[track_caller]
    pub fn get(&self, path: &str) -> (u16, String) {
        let addr = self.stats_addr();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
        let answer = match self.http(request.as_bytes()) {
            Ok(answer) => String::from_utf8_lossy(&answer).into_owned(),
            Err(error) => panic!("GET {path} from {addr}: {error}"),
        };
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        match (status, answer.split_once("\r\n\r\n")) {
            (Some(status), Some((_, body))) => (status, body.to_string()),
            _ => panic!("GET {path} was answered by {answer:?}"),
        }
    }

    /// Sends any request to the statistics' port and reads everything that comes back.
    pub fn http(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut socket = TcpStream::connect_timeout(&self.stats_addr(), patience())?;
        socket.set_read_timeout(Some(patience()))?;
        socket.set_write_timeout(Some(patience()))?;
        socket.write_all(request)?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// The counter's value in `/stats`.
    ///
    /// # Panics
    /// If there is no such counter.
    #[track_caller]
    pub fn stat(&self, name: &str) -> u64 {
        let (status, body) = self.get("/stats");
        let line = body
            .lines()
            .find_map(|line| line.split_once('\t').filter(|(other, _)| *other == name));
        match line.and_then(|(_, value)| value.trim().parse().ok()) {
            Some(value) => value,
            None => panic!("/stats ({status}) has no number {name}:\n{body}"),
        }
    }

    /// Waits until the counter is as it should be, and gives its value.
    #[track_caller]
    pub fn wait_stat(&self, name: &str, good: impl Fn(u64) -> bool) -> u64 {
        let deadline = Deadline::patient();
        loop {
            let value = self.stat(name);
            if good(value) {
                return value;
            }
            if !self.pause(deadline) {
                panic!("{name} stays at {value}");
            }
        }
    }

    /// Until the counter has not moved for `STILL_LOOKS` looks in a row, and is not 0.
    pub fn wait_still(&self, name: &str) -> u64 {
        let (before, looks) = (Cell::new(0), Cell::new(0));
        self.wait_stat(name, |value| {
            looks.set(if before.replace(value) == value {
                looks.get() + 1
            } else {
                0
            });
            value > 0 && looks.get() >= STILL_LOOKS
        })
    }

    /// Until the next log line, or a moment. Nothing tells of a counter's change.
    fn pause(&self, deadline: Deadline) -> bool {
        let before = self.log.lock().lines.len();
        let moment = Deadline::after(ASK_AGAIN);
        self.log
            .wait(moment, |log| (log.lines.len() != before).then_some(()));
        deadline.remaining().is_some()
    }

    /// What it has logged.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().lines.clone()
    }

    /// What it has printed to its standard output.
    pub fn stdout_lines(&self) -> Vec<String> {
        self.log.lock().stdout.clone()
    }

    /// Waits for a log line that contains this, and gives the first.
    #[track_caller]
    pub fn wait_log(&self, part: &str) -> String {
        let contains = |line: &&String| line.contains(part);
        match self.log.wait(Deadline::patient(), |log| {
            log.lines.iter().find(contains).cloned()
        }) {
            Some(line) => line,
            None => panic!("no log line says {part:?}"),
        }
    }

    /// The close lines so far, in their order.
    #[track_caller]
    pub fn close_lines(&self) -> Vec<CloseLine> {
        self.log_lines()
            .iter()
            .filter_map(|line| CloseLine::parse(line))
            .collect()
    }

    /// Waits until this many sessions have ended, and gives all close lines.
    #[track_caller]
    pub fn wait_closes(&self, count: usize) -> Vec<CloseLine> {
        let found = self.log.wait(Deadline::patient(), |log| {
            let closes = log.lines.iter().filter(|line| line.contains("close: "));
            (closes.count() >= count).then_some(())
        });
        let closes = self.close_lines();
        assert!(found.is_some(), "{} of {count} sessions ended", closes.len());
        closes
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the relay is our child");
    }

    /// Writes another configuration over the file; it takes effect with `Signal::HUP`.
    pub fn rewrite_config(&self, config: &RelayConfig) {
        self.rewrite_file(&config.to_uci());
    }

    /// Writes anything over the configuration file.
    pub fn rewrite_file(&self, text: &str) {
        // Written beside and moved: the daemon never reads half a file.
        let beside = self.config.with_extension("new");
        std::fs::write(&beside, text).expect("the temporary folder can be written");
        std::fs::rename(&beside, &self.config).expect("the file can be replaced");
    }

    /// Resident memory, of the runner too where there is one.
    #[track_caller]
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the relay runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let words = line.and_then(|line| line.split_whitespace().next());
        words
            .and_then(|number| number.parse().ok())
            .expect("the kernel says VmRSS")
    }

    /// Open file descriptors, of the runner too where there is one.
    #[track_caller]
    pub fn fd_count(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("the relay runs")
            .count()
    }

    /// Waits until a value read from the process is as it should be: descriptors, memory.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&Relay) -> Option<T>) -> T {
        let deadline = Deadline::patient();
        loop {
            if let Some(value) = found(self) {
                return value;
            }
            if !self.pause(deadline) {
                panic!("waited in vain for {what}");
            }
        }
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let deadline = Deadline::patient();
        // The end of its streams tells; its own end follows within the moment.
        self.log.wait(deadline, |log| (log.ended == 2).then_some(()));
        loop {
            if let Some(status) = self.child.try_wait().expect("the relay is our child") {
                return status;
            }
            if !self.pause(deadline) {
                panic!("the relay goes on");
            }
        }
    }
}

/// Reads lines on a thread until the stream ends.
fn follow(
    stream: impl Read + Send + 'static,
    log: Arc<Watched<Log>>,
    keep: impl Fn(&mut Log, String) + Send + 'static,
) {
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        // An error would be the same as the end: there is nothing more to read.
        while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_string();
            log.change(|log| keep(log, text));
            line.clear();
        }
        log.change(|log| log.ended += 1);
    });
}

impl Drop for Relay {
    #[expect(clippy::print_stderr, reason = "what a failed test has to show")]
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.log.wait(Deadline::after(Duration::from_secs(1)), |log| {
                (log.ended == 2).then_some(())
            });
            let log = self.log.lock();
            eprintln!(
                "MTRELAY_TEST_SEED={}, and the relay's log ({} lines):",
                base_seed(),
                log.lines.len()
            );
            for line in &log.lines[log.lines.len().saturating_sub(200)..] {
                eprintln!("  {line}");
            }
            for line in &log.stdout {
                eprintln!("  (stdout) {line}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
