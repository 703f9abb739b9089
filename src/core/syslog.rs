//! The log facade's backend: stderr, or syslogd's socket in the format of RFC 3164.
//!
//! Promises: a record is one line, whatever text of a peer it holds. A syslogd that is stuck, gone or restarted costs lines and
//! never stalls the relay; the number of lost lines is logged once it reads again. A flood of warnings does not suppress the info
//! line of each session.

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

/// The destination of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard error, as `level message`.
    Stderr,
    /// syslogd, under this ident. Until syslogd first answers, lines go to stderr.
    Syslog(&'static str),
}

/// Path of syslogd's socket.
const SYSLOG_PATH: &str = "/dev/log";

/// Length limit of a line in bytes: RFC 3164 allows 1,024, and OpenWrt's logd reads 1,024 with the closing zero.
const SYSLOG_LINE_MAX: usize = 1023;

/// Initial capacity of a line's buffer in bytes, which most lines fit into.
const INITIAL_LINE_CAPACITY: usize = 192;

/// Limit of warnings per second: ten times what a person can read, a hundredth of a flood.
const WARNINGS_PER_SECOND: u32 = 50;

/// Limit of debug and trace lines per second. OpenWrt's logd keeps only 64 KiB of lines.
const DEBUGS_PER_SECOND: u32 = 500;

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Installs the logger.
///
/// # Errors
/// When a logger is installed already.
pub fn init(target: Target, level: LevelFilter) -> Result<(), SetLoggerError> {
    let socket = match target {
        Target::Stderr => None,
        Target::Syslog(ident) => Some(Socket::new(Path::new(SYSLOG_PATH), ident)),
    };
    log::set_logger(LOGGER.get_or_init(|| Logger::new(LogWriter::new(socket, Box::new(Stdio::err())))))?;
    set_level(level);
    Ok(())
}

/// Sets the level from which lines are logged.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// The monotonic clock. The time cannot be an argument here: the log facade passes only the record.
#[expect(clippy::disallowed_methods, reason = "the log facade passes only the record")]
fn now() -> Instant {
    Instant::now()
}

/// Unix time in seconds. The time cannot be an argument here: the log facade passes only the record.
#[expect(clippy::disallowed_methods, reason = "the log facade passes only the record")]
fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

struct Logger {
    writer: Mutex<LogWriter>,
}

impl Logger {
    fn new(writer: LogWriter) -> Logger {
        Logger {
            writer: Mutex::new(writer),
        }
    }

    fn writer(&self) -> MutexGuard<'_, LogWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // Formatted before the lock is taken: an argument whose formatting logs would deadlock.
            let mut message = String::with_capacity(INITIAL_LINE_CAPACITY);
            // Writing to a String does not fail. If an argument's formatting fails, the text before it is logged.
            let _ = message.write_fmt(*record.args());
            self.writer().line(now(), record.level(), &message);
        }
    }

    /// Logs the number of suppressed lines. Called at the end of the process, when no later line would report it.
    fn flush(&self) {
        self.writer().report_suppressed(None);
    }
}

struct LogWriter {
    socket: Option<Socket>,
    stderr: Box<dyn Write + Send>,
    limits: [RateLimit; 2],
}

impl LogWriter {
    fn new(socket: Option<Socket>, stderr: Box<dyn Write + Send>) -> LogWriter {
        let limits = [
            RateLimit::new(Level::Warn, WARNINGS_PER_SECOND),
            RateLimit::new(Level::Debug, DEBUGS_PER_SECOND),
        ];
        LogWriter {
            socket,
            stderr,
            limits,
        }
    }

    fn line(&mut self, now: Instant, level: Level, message: &str) {
        self.report_suppressed(Some(now));
        let limited = match level {
            Level::Warn => Some(&mut self.limits[0]),
            Level::Debug | Level::Trace => Some(&mut self.limits[1]),
            Level::Error | Level::Info => None,
        };
        if limited.is_none_or(|limit| limit.admit(now)) {
            self.write(level, message);
        }
    }

    /// Logs the number of suppressed lines of every limit whose second is over at `now`; of every limit if `now` is `None`.
    fn report_suppressed(&mut self, now: Option<Instant>) {
        for index in 0..self.limits.len() {
            let limit = &mut self.limits[index];
            if let Some(lines) = limit.take_suppressed(now) {
                let (level, max) = (limit.level, limit.per_second);
                self.write(
                    level,
                    &format!("{lines} lines suppressed: more than {max} per second"),
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
        let mut line = String::with_capacity(INITIAL_LINE_CAPACITY);
        line.push_str(level.as_str());
        line.make_ascii_lowercase();
        line.extend([" ", &message, "\n"]);
        // One write, so that lines of several processes do not mix. An error of stderr is ignored.
        let _ = self.stderr.write_all(line.as_bytes());
    }
}

/// The message with escapes in place of line ends, terminal control characters and bidirectional controls.
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

/// A limit of lines per second for one level.
struct RateLimit {
    level: Level,
    per_second: u32,
    since: Option<Instant>,
    admitted: u32,
    suppressed: u64,
}

impl RateLimit {
    fn new(level: Level, per_second: u32) -> RateLimit {
        RateLimit {
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

/// syslogd's socket. It is not connected: each line resolves the path, so that a restarted syslogd gets the next line.
struct Socket {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    format: Rfc3164,
    /// syslogd has answered once. Before that, lines go to stderr.
    has_answered: bool,
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
            has_answered: false,
            lost: 0,
        }
    }

    /// Sends the line or counts it as lost. Returns false if it is to go to stderr instead.
    fn log(&mut self, level: Level, message: &str) -> bool {
        if self.lost > 0 {
            let lost = format!("{} lines lost: syslogd did not read them", self.lost);
            match self.send(Level::Warn, &lost) {
                Ok(()) => self.lost = 0,
                Err(_) => {
                    self.lost = self.lost.saturating_add(1);
                    return true;
                }
            }
        }
        match self.send(level, message) {
            Ok(()) => self.has_answered = true,
            // syslogd exists and is busy.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.has_answered = true;
                self.lost = self.lost.saturating_add(1);
            }
            Err(_) if self.has_answered => self.lost = self.lost.saturating_add(1),
            Err(_) => return false,
        }
        true
    }

    fn send(&mut self, level: Level, message: &str) -> io::Result<()> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            // Opened at the first line, so that a process without a free descriptor tries again with its next line.
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
        let mut line = Vec::with_capacity(INITIAL_LINE_CAPACITY);
        self.format
            .format(&mut line, severity, (unix_now(), message))
            .map_err(|error| io::Error::other(error.to_string()))?;
        socket.send_to(cut(&line), &self.path).map(drop)
    }
}

/// Formatter of `<30>Nov 21 07:02:09 mtrelay[123]: message`, with the time in UTC.
///
/// The syslog crate's own formatter writes the same, but it links the `time` crate, whose format parser runs for each line and is
/// larger than the relay's session code.
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

/// The line's first [`SYSLOG_LINE_MAX`] bytes, cut at a character boundary.
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
#[allow(clippy::disallowed_methods, reason = "the tests start their own clock")]
mod tests;
