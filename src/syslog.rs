//! The log facade's backend: stderr, or syslogd's socket in the format of RFC 3164.
//!
//! Promises: a line is one line, whatever a peer put into it; a syslogd that is stuck, gone or restarted never stalls or ends the
//! relay, it only costs lines, whose number is told as soon as it listens again; a flood of warnings cannot drown the line that
//! each session leaves.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

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
            let message = record.args().to_string();
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
        let line = format!("{} {message}\n", level.as_str().to_ascii_lowercase());
        // In one piece, so that lines of several processes do not mix; a closed stderr is no reason to stop relaying.
        let _ = self.stderr.write_all(line.as_bytes());
    }
}

/// The message with everything escaped that would end its line, steer a terminal or reverse the text around it.
fn one_line(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
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
        let mut line = Vec::new();
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
        let (month, day) = month_and_day(unix / 86_400);
        let (hour, minute, second) = (unix / 3600 % 24, unix / 60 % 60, unix % 60);
        let Rfc3164 { ident, pid } = self;
        write!(
            to,
            "<{priority}>{month} {day:2} {hour:02}:{minute:02}:{second:02} {ident}[{pid}]: {message}"
        )
        .map_err(syslog::Error::Write)
    }
}

/// Of the day that is so many days after 1970-01-01, by the count in which a year begins with March.
fn month_and_day(days: u64) -> (&'static str, u64) {
    const MONTHS: [&str; 12] = [
        "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb",
    ];
    // Days since 0000-03-01, within their 400 years, then within their year.
    let of_era = (days + 719_468) % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    (MONTHS[month as usize], of_year - (153 * month + 2) / 5 + 1)
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
mod tests {
    use super::*;
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Memory {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// A directory for a socket, gone with the test.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Directory {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let name = format!(
                "mtrelay-syslog-{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed)
            );
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Directory(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("log")
        }

        fn syslogd(&self) -> UnixDatagram {
            let _ = fs::remove_file(self.socket());
            let syslogd = UnixDatagram::bind(self.socket()).unwrap();
            syslogd.set_nonblocking(true).unwrap();
            syslogd
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn received(syslogd: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 4096];
        let len = syslogd.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
    }

    /// What stands after `ident[pid]: `.
    fn message(syslogd: &UnixDatagram) -> Option<String> {
        let line = received(syslogd)?;
        Some(line.split_once("]: ").unwrap().1.to_owned())
    }

    fn to_stderr() -> (Sink, Memory) {
        let memory = Memory::default();
        (Sink::new(None, Box::new(memory.clone())), memory)
    }

    fn to_syslog(directory: &Directory) -> (Sink, Memory) {
        let memory = Memory::default();
        (
            Sink::new(
                Some(Socket::new(&directory.socket(), "relay-test")),
                Box::new(memory.clone()),
            ),
            memory,
        )
    }

    #[test]
    fn a_line_on_stderr_begins_with_its_level() {
        let (mut sink, memory) = to_stderr();
        let now = Instant::now();
        sink.line(now, Level::Info, "listening on 127.0.0.1:8443");
        sink.line(now, Level::Error, "no");
        assert_eq!(memory.text(), "info listening on 127.0.0.1:8443\nerror no\n");
    }

    #[test]
    fn a_peer_cannot_forge_a_line() {
        let (mut sink, memory) = to_stderr();
        sink.line(
            Instant::now(),
            Level::Info,
            "sni=a\r\ninfo close: user=b\u{1b}[2J\0\u{85}\u{202e}é\\",
        );
        assert_eq!(
            memory.text(),
            "info sni=a\\r\\ninfo close: user=b\\u{1b}[2J\\u{0}\\u{85}\\u{202e}é\\\n"
        );
    }

    #[test]
    fn a_closed_stderr_is_ignored() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        Sink::new(None, Box::new(Closed)).line(Instant::now(), Level::Info, "a");
    }

    #[test]
    fn syslogd_gets_lines_of_rfc_3164() {
        let directory = Directory::new();
        let syslogd = directory.syslogd();
        let (mut sink, memory) = to_syslog(&directory);
        for (level, priority) in [
            (Level::Error, 27),
            (Level::Warn, 28),
            (Level::Info, 30),
            (Level::Debug, 31),
            (Level::Trace, 31),
        ] {
            sink.line(Instant::now(), level, "a\nb");
            let line = received(&syslogd).unwrap();
            let rest = line.strip_prefix(&format!("<{priority}>")).expect("the priority");
            let (time, rest) = rest.split_at(15);
            let shape: String = time
                .chars()
                .map(|c| if c.is_ascii_digit() { '0' } else { c })
                .collect();
            assert!(
                shape.is_ascii() && [" 00 00:00:00", "  0 00:00:00"].contains(&&shape[3..]),
                "{time}"
            );
            assert_eq!(rest, format!(" relay-test[{}]: a\\nb", std::process::id()));
        }
        assert_eq!(memory.text(), "");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let days = [
            (0, ("Jan", 1)),
            (59, ("Mar", 1)),
            (11_016, ("Feb", 29)),
            (11_017, ("Mar", 1)),
            (20_778, ("Nov", 21)),
            (20_818, ("Dec", 31)),
            (47_540, ("Feb", 28)),
            (47_541, ("Mar", 1)),
        ];
        for (day, expected) in days {
            assert_eq!(month_and_day(day), expected, "{day}");
        }
    }

    #[test]
    fn stderr_serves_until_syslogd_appears() {
        let directory = Directory::new();
        let (mut sink, memory) = to_syslog(&directory);
        sink.line(Instant::now(), Level::Info, "early");
        assert_eq!(memory.text(), "info early\n");
        let syslogd = directory.syslogd();
        sink.line(Instant::now(), Level::Info, "later");
        assert_eq!(message(&syslogd).as_deref(), Some("later"));
        assert_eq!(message(&syslogd), None);
        assert_eq!(memory.text(), "info early\n");
    }

    #[test]
    fn a_restarted_syslogd_hears_how_many_lines_it_missed() {
        let directory = Directory::new();
        let (mut sink, memory) = to_syslog(&directory);
        let now = Instant::now();
        let first = directory.syslogd();
        sink.line(now, Level::Info, "one");
        assert_eq!(message(&first).as_deref(), Some("one"));
        drop(first);
        sink.line(now, Level::Info, "nobody listens on the socket");
        fs::remove_file(directory.socket()).unwrap();
        sink.line(now, Level::Info, "no socket");
        let second = directory.syslogd();
        sink.line(now, Level::Info, "two");
        assert_eq!(
            message(&second).as_deref(),
            Some("2 lines lost: syslogd did not take them")
        );
        assert_eq!(message(&second).as_deref(), Some("two"));
        sink.line(now, Level::Info, "three");
        assert_eq!(message(&second).as_deref(), Some("three"));
        assert_eq!(memory.text(), "");
    }

    #[test]
    fn a_stuck_syslogd_costs_lines_and_nothing_else() {
        const LINES: u64 = 20_000;
        let directory = Directory::new();
        let syslogd = directory.syslogd();
        let (mut sink, memory) = to_syslog(&directory);
        // Every call returns although nobody reads.
        for n in 0..LINES {
            sink.line(Instant::now(), Level::Info, &format!("line {n}"));
        }
        let lost = sink.socket.as_ref().unwrap().lost;
        assert!(lost > 0, "the socket took {LINES} lines");
        let mut kept = 0;
        while let Some(line) = message(&syslogd) {
            assert_eq!(line, format!("line {kept}"));
            kept += 1;
        }
        assert_eq!(kept + lost, LINES);
        sink.line(Instant::now(), Level::Info, "again");
        assert_eq!(
            message(&syslogd),
            Some(format!("{lost} lines lost: syslogd did not take them"))
        );
        assert_eq!(message(&syslogd).as_deref(), Some("again"));
        assert_eq!(memory.text(), "");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let directory = Directory::new();
        let syslogd = directory.syslogd();
        let (mut sink, _) = to_syslog(&directory);
        for prefix in ["", "a"] {
            sink.line(
                Instant::now(),
                Level::Info,
                &format!("{prefix}{}", "é".repeat(2000)),
            );
            let line = received(&syslogd).unwrap();
            assert!(
                (SYSLOG_LINE_MAX - 1..=SYSLOG_LINE_MAX).contains(&line.len()),
                "{}",
                line.len()
            );
            assert!(line.ends_with('é'));
        }
    }

    #[test]
    fn a_flood_of_warnings_is_cut_and_summed_up() {
        let (mut sink, memory) = to_stderr();
        let start = Instant::now();
        for _ in 0..WARNINGS_PER_SECOND + 7 {
            sink.line(start, Level::Warn, "flood");
        }
        assert_eq!(memory.text().lines().count(), WARNINGS_PER_SECOND as usize);
        sink.line(start + Duration::from_millis(999), Level::Info, "close: …");
        sink.line(start + Duration::from_secs(1), Level::Warn, "next");
        let text = memory.text();
        let last: Vec<_> = text.lines().skip(WARNINGS_PER_SECOND as usize).collect();
        assert_eq!(
            last,
            [
                "info close: …",
                "warn 7 lines suppressed: more than 50 a second",
                "warn next"
            ]
        );
    }

    #[test]
    fn close_lines_are_never_suppressed() {
        let (mut sink, memory) = to_stderr();
        let now = Instant::now();
        for _ in 0..2000 {
            sink.line(now, Level::Info, "close: …");
            sink.line(now, Level::Debug, "detail");
            sink.line(now, Level::Error, "error");
        }
        let text = memory.text();
        let lines = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!((lines("info"), lines("error")), (2000, 2000));
        assert_eq!(lines("debug"), DEBUGS_PER_SECOND as usize);
    }

    #[test]
    fn a_flush_tells_of_what_was_suppressed_so_far() {
        let (mut sink, memory) = to_stderr();
        for _ in 0..WARNINGS_PER_SECOND + 1 {
            sink.line(Instant::now(), Level::Warn, "flood");
        }
        let logger = Logger::new(sink);
        log::Log::flush(&logger);
        assert!(
            memory
                .text()
                .ends_with("warn 1 lines suppressed: more than 50 a second\n")
        );
    }

    #[test]
    fn the_level_changes_at_run_time() {
        let (sink, memory) = to_stderr();
        let logger = Logger::new(sink);
        let say = |level| {
            log::Log::log(
                &logger,
                &Record::builder().level(level).args(format_args!("x")).build(),
            )
        };
        set_level(LevelFilter::Warn);
        say(Level::Info);
        set_level(LevelFilter::Debug);
        say(Level::Debug);
        assert_eq!(memory.text(), "debug x\n");
    }
}
