//! What the commands print, and the codes they exit with.

use super::args::{LinkArgs, parse};
use super::status::reachable;
use super::*;
use std::cell::RefCell;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

const KEY: &str = "6ab1f50c3e9d27884fd2b0179ce35a61";
const OTHER: &str = "c2049be67d13f85aa0412e9f36d7580b";

#[derive(Clone, Default)]
struct Captured(Rc<RefCell<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that fails with this error.
struct Broken(io::ErrorKind);

impl io::Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

struct Done {
    code: u8,
    out: String,
    err: String,
}

fn mtrelay(arguments: &[&str]) -> Done {
    let (out, err) = (Captured::default(), Captured::default());
    let mut terminal = Terminal {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
    };
    let code = dispatch(arguments.iter().map(Into::into).collect(), &mut terminal);
    let text = |captured: Captured| String::from_utf8(captured.0.take()).unwrap();
    Done {
        code,
        out: text(out),
        err: text(err),
    }
}

/// A file that is deleted with the test.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> File {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "mtrelay-cli-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        File(path)
    }

    fn with_relay(lines: &str) -> File {
        File::new(&format!(
            "config relay\n{lines}\nconfig user\noption name family\noption secret {KEY}\n\
             config user\noption name guest\noption secret {OTHER}\n\
             config user\noption name old\noption secret {KEY}\noption enabled 0\n"
        ))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn two_users(lines: &str) -> File {
    File::new(&format!(
        "config relay\n{lines}\nconfig user\noption name family\noption secret {KEY}\n\
         config user\noption name old\noption secret {OTHER}\noption enabled 0\n"
    ))
}

#[test]
fn the_version_stands_alone() {
    let done = mtrelay(&["--version"]);
    assert_eq!((done.code, done.out.trim_end()), (0, env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_exits_with_0() {
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["run", "--help"],
        &["link", "-h"],
        &["check", "help"],
    ] {
        let done = mtrelay(arguments);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{arguments:?}");
        assert!(done.out.contains("Usage: mtrelay"), "{}", done.out);
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let lines: [&[&str]; 10] = [
        &[],
        &["start"],
        &["--verbose"],
        &["run", "-x"],
        &["run", "-c"],
        &["run", "file"],
        &["link", "--user"],
        &["secret", "a.example"],
        &["check", "-c", "a", "-c", "b"],
        &["status", "--version"],
    ];
    for arguments in lines {
        let done = mtrelay(arguments);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{arguments:?}");
        assert!(done.err.starts_with("mtrelay: "), "{arguments:?}: {}", done.err);
    }
}

#[test]
fn arguments_are_read_in_their_usual_forms() {
    let command = |arguments: &[&str]| {
        parse(arguments.iter().map(Into::into).collect())
            .unwrap()
            .command
            .unwrap()
    };
    let run = RunArgs {
        config: Some("a=b".into()),
        verbose: 3,
        syslog: true,
        user: Some("nobody".into()),
        state: None,
    };
    let line = ["run", "-c", "a=b", "-vv", "-v", "--syslog", "--user=nobody"];
    assert_eq!(command(&line), Command::Run(run));
    let link = LinkArgs {
        config: None,
        user: None,
        host: Some("a.example".into()),
        qr: true,
    };
    assert_eq!(
        command(&["link", "--qr", "--host=a.example"]),
        Command::Link(link)
    );
}

#[test]
fn check_accepts_a_valid_file() {
    let file = two_users("");
    let done = mtrelay(&["check", "-c", file.path()]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert_eq!(
        done.out,
        format!("{}: good (1 enabled user, 1 listener)\n", file.path())
    );
}

#[test]
fn check_names_every_error_with_its_line() {
    let file = File::with_relay("option buffers 0\noption colour red");
    let done = mtrelay(&["check", "-c", file.path()]);
    let lines: Vec<&str> = done.err.lines().collect();
    assert_eq!((done.code, done.out.as_str(), lines.len()), (2, "", 3));
    assert!(
        lines[0].starts_with(&format!(
            "mtrelay: {}:2: buffers '0' is out of bounds (1",
            file.path()
        )),
        "{}",
        lines[0]
    );
    assert!(lines[1].starts_with(&format!(
        "mtrelay: {}:3: warning: unknown option 'colour'",
        file.path()
    )));
    assert!(
        lines[2].starts_with(&format!(
            "mtrelay: {}:12: secret is the same as on line 6",
            file.path()
        )),
        "{}",
        lines[2]
    );
}

#[test]
fn warnings_alone_are_a_success() {
    let file = File::new("");
    let done = mtrelay(&["check", "-c", file.path()]);
    assert_eq!(done.code, 0);
    assert!(done.err.contains(":1: warning: no user"), "{}", done.err);
    assert!(done.out.contains("1 warning"), "{}", done.out);
}

#[test]
fn a_missing_file_is_an_invalid_configuration() {
    let done = mtrelay(&["check", "-c", "/nonexistent/mtrelay"]);
    assert_eq!(done.code, 2);
    assert!(
        done.err.starts_with("mtrelay: /nonexistent/mtrelay: "),
        "{}",
        done.err
    );
    assert_eq!(mtrelay(&["link", "-c", "/nonexistent/mtrelay"]).code, 1);
}

#[test]
fn check_answers_in_json() {
    let file = two_users("option colour \"a\\\"b\"\noption fast_mode '\"\\'");
    let done = mtrelay(&["check", "--json", "-c", file.path()]);
    assert_eq!(done.code, 2);
    let expected = format!(
        "{{\"file\":\"{}\",\"good\":false,\"problems\":[\
         {{\"line\":2,\"severity\":\"warning\",\"text\":\"unknown option 'colour' (relay has none of this name)\"}},\
         {{\"line\":3,\"severity\":\"error\",\"text\":\"fast_mode '\\\"\\\\' is neither yes nor no (1 or 0)\"}}]}}\n",
        file.path()
    );
    assert_eq!(done.out, expected);
}

#[test]
fn links_are_one_a_line() {
    let file = two_users("option link_host home.example\noption front_domain a.example");
    let done = mtrelay(&["link", "-c", file.path()]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let lines: Vec<&str> = done.out.lines().collect();
    let parameters = |secret: &str| format!("proxy?server=home.example&port=8443&secret={secret}");
    let (ee, dd) = (
        parameters(&format!("ee{KEY}612e6578616d706c65")),
        parameters(&format!("dd{KEY}")),
    );
    let expected = [
        format!("tg://{ee}"),
        format!("https://t.me/{ee}"),
        format!("tg://{dd}"),
        format!("https://t.me/{dd}"),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn links_are_of_one_user_and_host_if_asked_so() {
    let file = File::new(&format!(
        "config user\noption name a\noption secret {KEY}\nconfig user\noption name b\noption secret {OTHER}\n"
    ));
    let done = mtrelay(&[
        "link",
        "-c",
        file.path(),
        "--user",
        "b",
        "--host",
        "2001:db8::1",
        "--qr",
    ]);
    assert_eq!(done.code, 0);
    assert!(done.out.starts_with(&format!(
        "tg://proxy?server=2001:db8::1&port=8443&secret=dd{OTHER}\nhttps://"
    )));
    assert!(!done.out.contains(KEY) && done.out.contains('▀'));
}

#[test]
fn no_link_is_an_error_that_says_what_to_set() {
    let cases: [(&str, &[&str], &str); 6] = [
        ("", &[], "link_host"),
        (
            "option link_host a.example",
            &["--user", "nobody"],
            "no user 'nobody'",
        ),
        ("option link_host a.example", &["--user", "old"], "not enabled"),
        ("", &["--host", "a.example:443"], "without a port"),
        ("option link_host a.example\noption modes ee", &[], "front_domain"),
        ("option buffers 0", &[], ":2: buffers"),
    ];
    for (lines, arguments, expected) in cases {
        let file = two_users(lines);
        let line: Vec<&str> = [&["link", "-c", file.path()][..], arguments].concat();
        let done = mtrelay(&line);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{lines} {arguments:?}");
        assert!(
            done.err.starts_with("mtrelay: ") && done.err.contains(expected),
            "{}",
            done.err
        );
    }
}

#[test]
fn a_secret_is_32_digits_and_new_each_time() {
    let (one, two) = (mtrelay(&["secret"]), mtrelay(&["secret"]));
    assert_eq!(one.code, 0);
    let hex = one.out.strip_suffix('\n').unwrap();
    assert!(
        hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "{hex}"
    );
    assert_ne!(one.out, two.out);
}

#[test]
fn a_tls_secret_carries_its_domain() {
    let done = mtrelay(&["secret", "--tls", "a.example"]);
    let hex = done.out.strip_suffix('\n').unwrap();
    assert!(
        hex.len() == 2 + 32 + 18 && hex.starts_with("ee") && hex.ends_with("612e6578616d706c65"),
        "{hex}"
    );
    let done = mtrelay(&["secret", "--tls", "https://a.example/"]);
    assert_eq!((done.code, done.out.as_str()), (2, ""));
    assert!(done.err.contains("only its host name"), "{}", done.err);
}

#[test]
fn a_closed_pipe_is_a_success_and_a_full_disk_a_failure() {
    let code = |kind| {
        let mut terminal = Terminal {
            out: Box::new(Broken(kind)),
            err: Box::new(Broken(kind)),
        };
        dispatch(vec!["secret".into()], &mut terminal)
    };
    assert_eq!(code(io::ErrorKind::BrokenPipe), 0);
    assert_eq!(code(io::ErrorKind::StorageFull), 1);
}

/// A server that sends this answer to one request. Returns its address.
fn one_answer(answer: &'static str) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let len = io::Read::read(&mut client, &mut request).unwrap();
        assert!(request[..len].starts_with(b"GET /status"));
        client.write_all(answer.as_bytes()).unwrap();
    });
    address
}

#[test]
fn status_shows_what_the_relay_answers() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{..}", (0, "{..}\n")),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", (1, "")),
    ] {
        let file = two_users(&format!("option stats_listen {}", one_answer(answer)));
        let done = mtrelay(&["status", "--json", "-c", file.path()]);
        assert_eq!((done.code, done.out.as_str()), expected, "{}", done.err);
    }
}

#[test]
fn status_of_no_relay_is_an_error() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let cases = [
        (format!("option stats_listen {closed}"), "is it running?"),
        ("option stats_listen ''".into(), "statistics are off"),
        ("option stats_listen 127.0.0.1:0".into(), "no fixed port"),
        ("option buffers 0".into(), "buffers"),
    ];
    for (lines, expected) in cases {
        let file = two_users(&lines);
        let done = mtrelay(&["status", "-c", file.path()]);
        assert_eq!((done.code, done.out.as_str()), (1, ""));
        assert!(done.err.contains(expected), "{}", done.err);
    }
}

#[test]
fn a_listener_on_all_addresses_is_reached_by_loopback() {
    for (listener, reached) in [
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("[::]:1", "[::1]:1"),
        ("192.0.2.1:1", "192.0.2.1:1"),
    ] {
        assert_eq!(reachable(listener.parse().unwrap()), reached.parse().unwrap());
    }
}
