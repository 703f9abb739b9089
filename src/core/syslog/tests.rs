//! The logger against a syslogd of the tests, which starts, stops and stalls.

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

/// A directory for a socket, which is deleted with the test.
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

/// The text after `ident[pid]: `.
fn message(syslogd: &UnixDatagram) -> Option<String> {
    let line = received(syslogd)?;
    Some(line.split_once("]: ").unwrap().1.to_owned())
}

fn to_stderr() -> (LogWriter, Memory) {
    let memory = Memory::default();
    (LogWriter::new(None, Box::new(memory.clone())), memory)
}

fn to_syslog(directory: &Directory) -> (LogWriter, Memory) {
    let memory = Memory::default();
    (
        LogWriter::new(
            Some(Socket::new(&directory.socket(), "relay-test")),
            Box::new(memory.clone()),
        ),
        memory,
    )
}

#[test]
fn a_line_on_stderr_begins_with_its_level() {
    let (mut writer, memory) = to_stderr();
    let now = Instant::now();
    writer.line(now, Level::Info, "listening on 127.0.0.1:8443");
    writer.line(now, Level::Error, "no");
    assert_eq!(memory.text(), "info listening on 127.0.0.1:8443\nerror no\n");
}

#[test]
fn a_peer_cannot_forge_a_line() {
    let (mut writer, memory) = to_stderr();
    writer.line(
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
    LogWriter::new(None, Box::new(Closed)).line(Instant::now(), Level::Info, "a");
}

#[test]
fn syslogd_gets_lines_of_rfc_3164() {
    let directory = Directory::new();
    let syslogd = directory.syslogd();
    let (mut writer, memory) = to_syslog(&directory);
    for (level, priority) in [
        (Level::Error, 27),
        (Level::Warn, 28),
        (Level::Info, 30),
        (Level::Debug, 31),
        (Level::Trace, 31),
    ] {
        writer.line(Instant::now(), level, "a\nb");
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
        let date = Date::of_unix(day * 86_400);
        assert_eq!((date.month_name(), date.day()), expected, "{day}");
    }
}

#[test]
fn stderr_serves_until_syslogd_appears() {
    let directory = Directory::new();
    let (mut writer, memory) = to_syslog(&directory);
    writer.line(Instant::now(), Level::Info, "early");
    assert_eq!(memory.text(), "info early\n");
    let syslogd = directory.syslogd();
    writer.line(Instant::now(), Level::Info, "later");
    assert_eq!(message(&syslogd).as_deref(), Some("later"));
    assert_eq!(message(&syslogd), None);
    assert_eq!(memory.text(), "info early\n");
}

#[test]
fn a_restarted_syslogd_hears_how_many_lines_it_missed() {
    let directory = Directory::new();
    let (mut writer, memory) = to_syslog(&directory);
    let now = Instant::now();
    let first = directory.syslogd();
    writer.line(now, Level::Info, "one");
    assert_eq!(message(&first).as_deref(), Some("one"));
    drop(first);
    writer.line(now, Level::Info, "nobody listens on the socket");
    fs::remove_file(directory.socket()).unwrap();
    writer.line(now, Level::Info, "no socket");
    let second = directory.syslogd();
    writer.line(now, Level::Info, "two");
    assert_eq!(
        message(&second).as_deref(),
        Some("2 lines lost: syslogd did not read them")
    );
    assert_eq!(message(&second).as_deref(), Some("two"));
    writer.line(now, Level::Info, "three");
    assert_eq!(message(&second).as_deref(), Some("three"));
    assert_eq!(memory.text(), "");
}

#[test]
fn a_stuck_syslogd_costs_lines_and_nothing_else() {
    const LINES: u64 = 20_000;
    let directory = Directory::new();
    let syslogd = directory.syslogd();
    let (mut writer, memory) = to_syslog(&directory);
    // Every call returns although no reader empties the socket.
    for n in 0..LINES {
        writer.line(Instant::now(), Level::Info, &format!("line {n}"));
    }
    let lost = writer.socket.as_ref().unwrap().lost;
    assert!(lost > 0, "the socket took {LINES} lines");
    let mut kept = 0;
    while let Some(line) = message(&syslogd) {
        assert_eq!(line, format!("line {kept}"));
        kept += 1;
    }
    assert_eq!(kept + lost, LINES);
    writer.line(Instant::now(), Level::Info, "again");
    assert_eq!(
        message(&syslogd),
        Some(format!("{lost} lines lost: syslogd did not read them"))
    );
    assert_eq!(message(&syslogd).as_deref(), Some("again"));
    assert_eq!(memory.text(), "");
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let directory = Directory::new();
    let syslogd = directory.syslogd();
    let (mut writer, _) = to_syslog(&directory);
    for prefix in ["", "a"] {
        writer.line(
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
    let (mut writer, memory) = to_stderr();
    let start = Instant::now();
    for _ in 0..WARNINGS_PER_SECOND + 7 {
        writer.line(start, Level::Warn, "flood");
    }
    assert_eq!(memory.text().lines().count(), WARNINGS_PER_SECOND as usize);
    writer.line(start + Duration::from_millis(999), Level::Info, "close: …");
    writer.line(start + Duration::from_secs(1), Level::Warn, "next");
    let text = memory.text();
    let last: Vec<_> = text.lines().skip(WARNINGS_PER_SECOND as usize).collect();
    assert_eq!(
        last,
        [
            "info close: …",
            "warn 7 lines suppressed: more than 50 per second",
            "warn next"
        ]
    );
}

#[test]
fn close_lines_are_never_suppressed() {
    let (mut writer, memory) = to_stderr();
    let now = Instant::now();
    for _ in 0..2000 {
        writer.line(now, Level::Info, "close: …");
        writer.line(now, Level::Debug, "detail");
        writer.line(now, Level::Error, "error");
    }
    let text = memory.text();
    let lines = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!((lines("info"), lines("error")), (2000, 2000));
    assert_eq!(lines("debug"), DEBUGS_PER_SECOND as usize);
}

#[test]
fn a_flush_tells_of_what_was_suppressed_so_far() {
    let (mut writer, memory) = to_stderr();
    for _ in 0..WARNINGS_PER_SECOND + 1 {
        writer.line(Instant::now(), Level::Warn, "flood");
    }
    let logger = Logger::new(writer);
    log::Log::flush(&logger);
    assert!(
        memory
            .text()
            .ends_with("warn 1 lines suppressed: more than 50 per second\n")
    );
}

#[test]
fn the_level_changes_at_run_time() {
    let (writer, memory) = to_stderr();
    let logger = Logger::new(writer);
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
