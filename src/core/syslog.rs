//! The log facade's backend: stderr, or syslogd's socket in the format of RFC 3164.
//!
//! Promises: a line is one line, whatever a peer put into it; a syslogd that is stuck, gone or restarted never stalls or ends the
//! relay, it only costs lines, whose number is told as soon as it listens again; a flood of warnings cannot drown the line that
//! each session leaves.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::calendar::Date;
use crate::sys::stdio::Stdio;
use log::{Level, LevelFilter, Metadata, Record, SetLoggerError};
use syslog::{Facility, LogFormat, Severity};

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To stderr: `level message`.
    Stderr,
    /// To syslogd, under this name; to stderr as long as there has not been one.
    Syslog(&'static str),
}

const SYSLOG_PATH: &str = "/dev/log";

/// RFC 3164 ends a line at 1,024 bytes; OpenWrt's logd reads that much with the closing zero.
const SYSLOG_LINE_MAX: usize = 1023;

/// What most lines fit into.
const USUAL_LINE: usize = 192;

/// Warnings a second: the tenfold of what an owner can read, a hundredth of what a flood would bring.
const WARNINGS_PER_SECOND: u32 = 50;

/// Debug and trace lines a second: who asks for them wants many, but logd keeps only 64 KiB.
const DEBUGS_PER_SECOND: u32 = 500;

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Takes over the log facade. Works once in a process.
pub fn init(target: Target, level: LevelFilter) -> Result<(), SetLoggerError> {
    let socket = match target {
        Target::Stderr => None,
        Target::Syslog(ident) => Some(Socket::new(Path::new(SYSLOG_PATH), ident)),
    };
    log::set_logger(LOGGER.get_or_init(|| Logger::new(Sink::new(socket, Box::new(Stdio::err())))))?;
    set_level(level);
    Ok(())
}

/// Lines of this level and above are logged from now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// `now` cannot be an argument here: the facade hands over the record alone.
#[expect(clippy::disallowed_methods, reason = "the facade has no place for the time")]
fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for the same reason not an argument.
#[expect(clippy::disallowed_methods, reason = "the facade has no place for the time")]
fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

struct Logger {
    sink: Mutex<Sink>,
}

impl Logger {
    fn new(sink: Sink) -> Logger {
        Logger {
            sink: Mutex::new(sink),
        }
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // Before the lock is taken: an argument that logs while it is printed must not wait for itself.
            let mut message = String::with_capacity(USUAL_LINE);
            // Writing to memory does not fail; what an argument says before it fails is still told.
            let _ = message.write_fmt(*record.args());
            self.sink().line(now(), record.level(), &message);
        }
    }

    /// Tells of the lines suppressed so far; for the end of the process, after which no line would.
    fn flush(&self) {
        self.sink().tell_suppressed(None);
    }
}

struct Sink {
    socket: Option<Socket>,
    stderr: Box<dyn Write + Send>,
    limits: [Limit; 2],
}

impl Sink {
    fn new(socket: Option<Socket>, stderr: Box<dyn Write + Send>) -> Sink {
        let limits = [
            Limit::new(Level::Warn, WARNINGS_PER_SECOND),
            Limit::new(Level::Debug, DEBUGS_PER_SECOND),
        ];
        Sink {
            socket,
            stderr,
            limits,
        }
    }

    fn line(&mut self, now: Instant, level: Level, message: &str) {
        self.tell_suppressed(Some(now));
        let limited = match level {
            Level::Warn => Some(&mut self.limits[0]),
            Level::Debug | Level::Trace => Some(&mut self.limits[1]),
            Level::Error | Level::Info => None,
        };
        if limited.is_none_or(|limit| limit.admit(now)) {
            self.write(level, message);
        }
    }

    /// Those whose second is over `now`; all without it.
    fn tell_suppressed(&mut self, now: Option<Instant>) {
        for index in 0..self.limits.len() {
            let limit = &mut self.limits[index];
            if let Some(lines) = limit.take_suppressed(now) {
                let (level, most) = (limit.level, limit.per_second);
                self.write(
                    level,
                    &format!("{lines} lines suppressed: more than {most} a second"),
                );
            }
        }
    }

    fn write(&mut self, level: Level, message: &str) {
        let message = one_line(message);
        if let Some(socket) = &mut self.socket
            && socket.log(level, &message)
        {
            return;
        }
        let mut line = String::with_capacity(USUAL_LINE);
        line.push_str(level.as_str());
        line.make_ascii_lowercase();
        line.extend([" ", &message, "\n"]);
        // In one piece, so that lines of several processes do not mix; a closed stderr is no reason to stop relaying.
        let _ = self.stderr.write_all(line.as_bytes());
    }
}

/// The message with everything escaped that would end its line, steer a terminal or reverse the text around it.
fn one_line(message: &str) -> Cow<'_, str> {
    if message.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return message.into();
    }
    let mut out = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// At most so many lines a second.
struct Limit {
    level: Level,
    per_second: u32,
    since: Option<Instant>,
    admitted: u32,
    suppressed: u64,
}

impl Limit {
    fn new(level: Level, per_second: u32) -> Limit {
        Limit {
            level,
            per_second,
            since: None,
            admitted: 0,
            suppressed: 0,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.since
            .is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1))
    }

    fn admit(&mut self, now: Instant) -> bool {
        if self.is_over(now) {
            self.since = Some(now);
            self.admitted = 0;
        }
        if self.admitted < self.per_second {
            self.admitted += 1;
            return true;
        }
        self.suppressed = self.suppressed.saturating_add(1);
        false
    }

    fn take_suppressed(&mut self, now: Option<Instant>) -> Option<u64> {
        if self.suppressed == 0 || now.is_some_and(|now| !self.is_over(now)) {
            return None;
        }
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Syslogd's socket. It is never connected: each line looks the path up, so that a syslogd that came back is found by the next line.
struct Socket {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    format: Rfc3164,
    /// Whether there has been a syslogd; before that, stderr is the better place.
    met: bool,
    lost: u64,
}

impl Socket {
    fn new(path: &Path, ident: &'static str) -> Socket {
        let format = Rfc3164 {
            ident,
            pid: std::process::id(),
        };
        Socket {
            path: path.to_owned(),
            socket: None,
            format,
            met: false,
            lost: 0,
        }
    }

    /// Sends the line, or counts it as lost. False when it is to go to stderr instead.
    fn log(&mut self, level: Level, message: &str) -> bool {
        if self.lost > 0 {
            let lost = format!("{} lines lost: syslogd did not take them", self.lost);
            match self.send(Level::Warn, &lost) {
                Ok(()) => self.lost = 0,
                Err(_) => {
                    self.lost = self.lost.saturating_add(1);
                    return true;
                }
            }
        }
        match self.send(level, message) {
            Ok(()) => self.met = true,
            // It is there, only busy.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.met = true;
                self.lost = self.lost.saturating_add(1);
            }
            Err(_) if self.met => self.lost = self.lost.saturating_add(1),
            Err(_) => return false,
        }
        true
    }

    fn send(&mut self, level: Level, message: &str) -> io::Result<()> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            // Here and not in `new`: a process short of descriptors tries again with its next line.
            empty => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                empty.insert(socket)
            }
        };
        let severity = match level {
            Level::Error => Severity::LOG_ERR,
            Level::Warn => Severity::LOG_WARNING,
            Level::Info => Severity::LOG_INFO,
            Level::Debug | Level::Trace => Severity::LOG_DEBUG,
        };
        let mut line = Vec::with_capacity(USUAL_LINE);
        self.format
            .format(&mut line, severity, (unix_now(), message))
            .map_err(|error| io::Error::other(error.to_string()))?;
        socket.send_to(cut(&line), &self.path).map(drop)
    }
}

/// `<30>Nov 21 07:02:09 mtrelay[123]: message`, the time in UTC. The syslog crate's own formatter writes the same, but brings
/// the `time` crate with it, whose format parser runs for each line and takes more room than the relay's sessions.
struct Rfc3164 {
    ident: &'static str,
    pid: u32,
}

impl LogFormat<(u64, &str)> for Rfc3164 {
    fn format<W: Write>(
        &self,
        to: &mut W,
        severity: Severity,
        (unix, message): (u64, &str),
    ) -> syslog::Result<()> {
        let priority = Facility::LOG_DAEMON as u8 | severity as u8;
        let date = Date::of_unix(unix);
        let (month, day) = (date.month_name(), date.day());
        let (hour, minute, second) = (unix / 3600 % 24, unix / 60 % 60, unix % 60);
        let Rfc3164 { ident, pid } = self;
        write!(
            to,
            "<{priority}>{month} {day:2} {hour:02}:{minute:02}:{second:02} {ident}[{pid}]: {message}"
        )
        .map_err(syslog::Error::Write)
    }
}

/// At most as long as syslogd reads, never ending within a character.
fn cut(line: &[u8]) -> &[u8] {
    if line.len() <= SYSLOG_LINE_MAX {
        return line;
    }
    let starts_character = |byte: &u8| (byte & 0xc0) != 0x80;
    let end = line[..=SYSLOG_LINE_MAX]
        .iter()
        .rposition(starts_character)
        .unwrap_or(SYSLOG_LINE_MAX);
    &line[..end]
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests start their own clock")]
mod tests;
